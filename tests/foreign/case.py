"""One input of a kind that went wrong in some tool, and what raymark should make of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """`run` makes the input in an empty folder, gives it to raymark and says in a few words what came out."""

    kind: str  # a row's first column: "labels", "3D points", "CT values", "X-ray geometry", ...
    given: str  # what is peculiar about the input, in a user's words
    expected: str  # what is right: a value, "refused, naming the level", "read, with a warning"
    run: Callable[[Path], str]
    right: Callable[[str], bool]
