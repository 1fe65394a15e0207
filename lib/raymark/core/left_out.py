"""What lies in the place of a file that cannot be made, so that all others can: a line that says why."""

from pathlib import Path

from raymark.core.files import atomic

BEGINS = b"raymark: left out: "


def write_left_out(path: str | Path, reason: str) -> None:
    """Write such a line to `path`; no format of ours begins like it, so nobody takes it for data."""
    with atomic(path) as partial:
        partial.write_bytes(BEGINS + reason.encode() + b"\n")


def is_left_out(path: str | Path) -> bool:
    """Tell whether a file is such a line."""
    with open(path, "rb") as file:
        return file.read(len(BEGINS)) == BEGINS
