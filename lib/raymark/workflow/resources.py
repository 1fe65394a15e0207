"""What a step asks of the machine it runs on: memory and time, by the size of its work and the attempt.

The functions return what Snakemake calls with a job's wildcards, its input files and the number of the
attempt. The figures in the rules are generous bounds: several times what docs/measurements has, and a
guess where it has none (registrations, matching, imports).
"""

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Work = Callable[[object, Iterable[str]], float]  # (wildcards, input files) -> minutes
Count = Callable[[object], float]  # wildcards -> views, images, registrations


def memory(
    base_mb: float,
    views: Count | None = None,
    mb_per_million_views: float = 0,
    mb_per_input_mb: float = 0,
    **mb_per_mb_of: float,
) -> Callable:
    """Ask for a base and more by views and by MB of input; twice as much at every further attempt.

    `mb_per_input_mb` is of all input together, `mb_per_mb_of` of the largest file of a named input:
    steps hold one CT at a time.
    """

    def of(wildcards: object, input: Any, attempt: int) -> int:
        asked = base_mb + mb_per_input_mb * sum(map(size_mb, input))
        asked += sum(mb * largest_mb(getattr(input, name)) for name, mb in mb_per_mb_of.items())
        if views:
            asked += mb_per_million_views * views(wildcards) / 1e6
        return round(asked) * 2 ** (attempt - 1)

    return of


def minutes(base: float, *work: Work, at_most: int = sys.maxsize) -> Callable:
    """Ask for a base and the minutes of some work; once more of all at every further attempt.

    No attempt asks for more than `at_most`: partitions limit the time of a job. It is for work that
    goes on where its time ended.
    """

    def of(wildcards: object, input: Any, attempt: int) -> int:
        asked = base + sum(part(wildcards, input) for part in work)
        return min(round(asked) * attempt, at_most)

    return of


def by_count(count: Count, per_minute: float) -> Work:
    """Work of which so much is done in a minute."""
    return lambda wildcards, input: count(wildcards) / per_minute


def by_size(mb_per_minute: float) -> Work:
    """Work of which so many MB of all input are done in a minute."""
    return lambda wildcards, input: sum(map(size_mb, input)) / mb_per_minute


def largest_mb(files: str | Iterable[str]) -> float:
    """Return the size of the largest of some files, or of the only one."""
    return max(map(size_mb, [files] if isinstance(files, str) else files), default=0.0)


def size_mb(path: str) -> float:
    """Return the size of a file or of all in a folder, such as a series of DICOM files."""
    files = filter(os.path.isfile, Path(path).rglob("*")) if os.path.isdir(path) else [path]
    return sum(map(os.path.getsize, files)) / 1e6
