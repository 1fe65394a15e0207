"""The one error that users meet: what is wrong, where, and what to do about it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

Thing = TypeVar("Thing")


class InputError(Exception):
    """Something a user handed in cannot be used.

    The message names the source (a file, or a file and a field), the problem and the remedy, so
    that the command line can print it without a traceback.
    """

    def __init__(self, source: str | Path, problem: str, remedy: str):
        # Libraries say much in several lines, and names inside an archive may hold anything.
        self.source, self.remedy = _printable(str(source)), remedy
        self.problem = " ".join(_printable(problem).split())
        super().__init__(f"{self.source}: {self.problem}. {remedy}")

    def __reduce__(self) -> tuple[type["InputError"], tuple[str, str, str]]:
        return type(self), (self.source, self.problem, self.remedy)


def named(table: Mapping[str, Thing], name: str, kind: str) -> Thing:
    """Look up what a user has named; `kind` says in the InputError what it should be a name of."""
    if name not in table:
        raise InputError(f"{kind} {name!r}", "is not known", f"Known: {', '.join(table)}")
    return table[name]


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
