"""Writing files so that a half-written one never carries the final name, and naming their content."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends without error.

    The temporary name keeps the suffixes of `path`, because many writers choose their format by
    them. The block may write a file or make a folder at the temporary path. Its content is on the
    disk before the name is, so that no power loss leaves an empty file under that name.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        partial = scratch / path.name
        yield partial
        for folder, _, names in os.walk(partial):
            for name in names:
                _to_disk(Path(folder, name))
            _to_disk(Path(folder))
        if not partial.is_dir():
            _to_disk(partial)
        os.replace(partial, path)
        _to_disk(path.parent)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _to_disk(path: Path) -> None:
    """Have the operating system write out what it still holds of a file, or of a folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError) if path.is_dir() else nullcontext():  # not on every file system
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
