"""What cannot be known from a file, and may be wrong: told at once, and kept beside what follows from it."""

import sys
from collections.abc import Iterable
from pathlib import Path

DOUBT = "Warning: "  # how the line of a doubt begins


def warn(source: str | Path, doubts: Iterable[str]) -> None:
    """Print a line for each doubt about what `source` holds; a run repeats these lines (workflow/run_log.py).

    A reader returns its doubts with what it read, so that a table can keep them; a step tells them here.
    """
    for doubt in doubts:
        print(f"{DOUBT}{source}: {' '.join(doubt.split())}", file=sys.stderr)
