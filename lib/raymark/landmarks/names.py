"""What the words of a landmark's name say."""

import re

VERTEBRA = re.compile(r"^([ctls]\d+)_")
ACRONYMS = {"asis", "aiis", "psis", "piis"}


def side_of(landmark: str) -> str:
    """Tell a landmark's side from the words of its name: left, right or neither."""
    return next((word for word in landmark.split("_") if word in ("left", "right")), "")


def readable(landmark: str) -> str:
    """Write a landmark's name as people do: `left_asis` is "left ASIS"."""
    return " ".join(
        w.upper() if w in ACRONYMS or VERTEBRA.match(f"{w}_") else w for w in landmark.split("_")
    )
