"""What the words of a landmark's name say: its side, in the usual spellings, and the other side's name."""

import re
from collections.abc import Sequence
from itertools import pairwise

VERTEBRA = re.compile(r"^([ctls]\d+)_")
ACRONYMS = {"asis", "aiis", "psis", "piis"}
# A name's words: a level such as L5 or T12, and the words of left_asis, Left ASIS, leftASIS, ASIS.L, hipL.
WORD = re.compile(r"[A-Za-z]\d+|[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
GLUED = re.compile(r"(?<=[A-Z\d])(?=(?:left|right)(?:$|[^a-z]))")  # ASISleft
WORDS = {"left": "right", "right": "left"}
SHORT = {"l": "r", "r": "l", "sin": "dex", "dex": "sin", "lft": "rgt", "rgt": "lft"}
LEFT = ("left", "l", "sin", "lft")


def side_of(landmark: str) -> str:
    """Tell a landmark's side from its name: left, right or neither.

    The words left and right come before short forms; an L before a number is a lumbar level.
    """
    for _, word in _side_words(landmark):
        return "left" if word.lower() in LEFT else "right"
    return ""


def mirrored(name: str) -> str:
    """Return the name of the same point on the other side, spelt alike; that of a midline point stays."""
    for start, word in reversed(_side_words(name)):
        other = (WORDS | SHORT)[word.lower()]
        if word.isupper():
            other = other.upper()
        elif word[0].isupper():
            other = other.capitalize()
        name = f"{name[:start]}{other}{name[start + len(word) :]}"
    return name


def flip_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs (left, right) of which both sides are among `names`, in their order.

    Names that begin or end in l and r and agree in the rest (lhip, rhip) are pairs where both are there.
    """
    known = set(names)
    right_of = {mirrored(name): name for name in names if side_of(name) == "right"}
    right_of |= {name: mirrored(name) for name in names if side_of(name) == "left"}
    right_of |= {
        name: _glued_partner(name, known) for name in names if not side_of(name)
    } | right_of
    return [(name, right_of[name]) for name in names if right_of.get(name) in known]


def unpaired(names: Sequence[str], pairs: Sequence[Sequence[str]]) -> list[str]:
    """Return the names of one side whose other side is in none of the `pairs`."""
    paired = {name for pair in pairs for name in pair}
    return [name for name in names if side_of(name) and name not in paired]


def readable(landmark: str) -> str:
    """Write a landmark's name as people do: `left_asis` is "left ASIS"."""
    return " ".join(
        w.upper() if w in ACRONYMS or VERTEBRA.match(f"{w}_") else w for w in landmark.split("_")
    )


def _side_words(name: str) -> list[tuple[int, str]]:
    """Return the words that tell the side, each with where it begins."""
    words = []
    for part in re.finditer(r"[^\s_.\-]+", name):
        cuts = [0, *(m.start() for m in GLUED.finditer(part[0])), len(part[0])]
        for begin, end in pairwise(cuts):
            piece = part[0][begin:end]
            words += [(part.start() + begin + m.start(), m[0]) for m in WORD.finditer(piece)]
    whole = [(start, word) for start, word in words if word.lower() in WORDS]
    if whole:
        return whole
    numbers = [word.isdecimal() for _, word in words[1:]] + [False]
    return [
        (start, word)
        for (start, word), before_number in zip(words, numbers, strict=False)
        if word.lower() in SHORT and not (word == "L" and before_number)
    ]


def _glued_partner(name: str, known: set[str]) -> str:
    """Return the right side of a name like lhip, LASIS or kneel where it is `known`, else nothing."""
    for left, right in (("l", "r"), ("L", "R")):
        if name.startswith(left) and f"{right}{name[1:]}" in known and name[1:].isalpha():
            return f"{right}{name[1:]}"
        if name.endswith(left) and f"{name[:-1]}{right}" in known and name[:-1].isalpha():
            return f"{name[:-1]}{right}"
    return ""
