"""The one error that users meet: what is wrong, where, and what to do about it."""

from pathlib import Path


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

    def __reduce__(self):
        return type(self), (self.source, self.problem, self.remedy)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
