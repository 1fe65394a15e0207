"""Structures by name: what the ids of a label map mean, and which names mean the same structure.

The names are TotalSegmentator's, in any usual spelling: `vertebrae_L1`, "L1 vertebra" and "VB_L01" are one
structure, as are `hip_left` and "Left hip bone".
"""

import csv
import re
from collections.abc import Collection, Mapping
from importlib import resources
from pathlib import Path

from raymark.core.errors import InputError
from raymark.core.names import side_of

SCHEMES = (
    "totalsegmentator_v2",
    "totalsegmentator_v1",
    "totalsegmentator_v3",
    "verse",
    "ctpelvic1k",
)
ASSUMED = SCHEMES[0]  # where neither the file nor the subject sheet tells
LARGEST_ID = 32767

_LEVEL = re.compile(r"(c|t|th|d|l|s)0*(\d{1,2})")
_EXTREMES = {"c": (1, 7), "t": (1, 13), "l": (1, 6), "s": (1, 5)}
_SIDES = {"left", "right", "l", "r", "lft", "rgt", "lt", "rt", "sin", "dex"}
_FILLERS = {"bone", "vertebra", "vertebrae", "vertebral", "vb", "os", "the", "of"}
_SAME = {
    "pelvis": "hip",
    "hemipelvis": "hip",
    "innominate": "hip",
    "coxae": "hip",
    "coxa": "hip",
    "clavicle": "clavicula",
    "sacral": "sacrum",
    "femoral": "femur",
    "ribs": "rib",
    "windpipe": "trachea",
}


def key(name: str) -> str:
    """Return what all spellings of a structure's name share: a level such as ``l1``, or sorted words."""
    words = [_SAME.get(word, word) for word in re.findall(r"[a-z]+\d*|\d+", _spaced(name).lower())]
    levels = [level for word in words if (level := _level(word))]
    bare = [word for word in words if not _level(word)]
    side = side_of(name) or next(
        ("left" if word == "lt" else "right" for word in bare if word in ("lt", "rt")), ""
    )
    rest = sorted(word.lstrip("0") for word in bare if word not in _FILLERS and word not in _SIDES)
    if len(levels) == 1 and not rest:
        return levels[0]
    return " ".join([*levels, *rest, side]).strip()


def level_of(name: str) -> str:
    """Return a vertebra's level, such as ``L1``; empty for anything else."""
    found = key(name)
    return found.upper() if _level(found) and found[0] != "s" else ""


def read_scheme(scheme: str) -> dict[int, str]:
    """Return the names by id of a scheme that is known, or of a table (CSV with id and name) at a path."""
    if scheme in SCHEMES:
        text = resources.files("raymark.ct.labels").joinpath(f"schemes/{scheme}.csv").read_text()
    else:
        text = _own_table(Path(scheme))
    rows = list(csv.reader(text.splitlines()))
    if not rows or [cell.strip().lower() for cell in rows[0]] != ["id", "name"]:
        raise InputError(
            scheme, "does not begin with the line `id,name`", "Give a line for each id"
        )
    names: dict[int, str] = {}
    for line, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        cells = [cell.strip() for cell in row]
        if len(cells) != 2 or not cells[0].isdecimal() or not cells[1]:
            raise InputError(
                f"{scheme}, line {line}", "is no id and name", "Write e.g. `1,hip_left`"
            )
        if int(cells[0]) in names or not 0 < int(cells[0]) <= LARGEST_ID:
            problem = f"has the id {cells[0]}, which is there twice or is no label id"
            raise InputError(f"{scheme}, line {line}", problem, "Give every id from 1 up one name")
        names[int(cells[0])] = cells[1]
    return names


def contradiction(names: Mapping[int, str], scheme: str) -> str:
    """Tell an id that a file names otherwise than the scheme does; empty where there is none."""
    declared = read_scheme(scheme)
    for label, name in names.items():
        if label in declared and key(declared[label]) != key(name):
            return f"names the label {label} {name!r}, where {scheme} has {declared[label]!r}"
    return ""


def ids_of(structure: str | int, names: Mapping[int, str]) -> list[int]:
    """Return the ids of a structure in a label map with these `names`; a number is an id itself."""
    if isinstance(structure, int):
        return [structure]
    return [label for label, name in names.items() if key(name) == key(structure)]


def nearest(name: str, known: Collection[str]) -> list[str]:
    """Return the names among those `known` that share a word with `name`, at most six."""
    words = set(key(name).split())
    return [other for other in known if words & set(key(other).split())][:6]


def _own_table(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        remedy = f"Use one of {', '.join(SCHEMES)}, or the path of a CSV table with id and name"
        raise InputError(
            path, "is no label scheme, and no table that can be read", remedy
        ) from None


def _spaced(name: str) -> str:
    """Part the words of leftHip and ASISleft."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)


def _level(word: str) -> str:
    found = _LEVEL.fullmatch(word)
    if not found:
        return ""
    letter = {"th": "t", "d": "t"}.get(found[1], found[1])
    first, last = _EXTREMES[letter]
    return f"{letter}{int(found[2])}" if first <= int(found[2]) <= last else ""
