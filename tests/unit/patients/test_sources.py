"""Declared data and code digests."""

import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

from raymark.config.sources import Source, read_sources
from raymark.core.errors import InputError
from raymark.core.files import atomic
from raymark.patients.fetch import fetch

ROOT = Path(__file__).parents[3]
LOCKS = ("torch-cpu.txt", "lock.txt")


def installed(sha256: str, version: str | None = None) -> Source:
    from importlib.metadata import version as version_of

    return Source(
        id="x",
        kind="installed",
        package="numpy",
        version=version or version_of("numpy"),
        member="numpy/version.py",
        sha256=sha256,
        licence="BSD",
        description="any file of an installed package",
    )


def true_digest() -> str:
    import numpy

    path = Path(numpy.__file__).parent / "version.py"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_declared_file_arrives_whole(tmp_path):
    fetch(installed(true_digest()), tmp_path / "sub" / "version.py")
    content = (tmp_path / "sub" / "version.py").read_bytes()
    assert hashlib.sha256(content).hexdigest() == true_digest()


@pytest.mark.parametrize(
    ("source", "part"),
    [(installed("0" * 64), "SHA-256"), (installed("0" * 64, "0.0.1"), "0.0.1 is not installed")],
)
def test_a_file_that_is_not_the_declared_one_leaves_nothing(tmp_path, source, part):
    with pytest.raises(InputError, match=part):
        fetch(source, tmp_path / "version.py")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def _downloaded(monkeypatch):
    """Have pip "download" an archive with the file a/data/file.txt."""

    def download(command, cwd, **_):
        (cwd / "archive").mkdir()
        with tarfile.open(cwd / "archive" / "a-1.tar.gz", "w:gz") as tar:
            folder = tarfile.TarInfo("a-1/data")
            folder.type = tarfile.DIRTYPE
            tar.addfile(folder)
            file = tarfile.TarInfo("a-1/data/file.txt")
            file.size = 4
            tar.addfile(file, io.BytesIO(b"text"))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", download)


def archived(member: str) -> Source:
    return Source(
        id="x",
        kind="archive",
        package="a",
        version="1",
        member=member,
        sha256=hashlib.sha256(b"text").hexdigest(),
        archive_sha256="0" * 64,
        licence="BSD",
        description="any file of a source archive",
    )


@pytest.mark.usefixtures("_downloaded")
def test_a_file_is_taken_out_of_its_archive(tmp_path):
    fetch(archived("data/file.txt"), tmp_path / "file.txt")
    assert (tmp_path / "file.txt").read_bytes() == b"text"


@pytest.mark.usefixtures("_downloaded")
@pytest.mark.parametrize("member", ["data/other.txt", "data"])
def test_an_archive_without_the_file_is_told(tmp_path, member):
    with pytest.raises(InputError, match=f"archive a==1 has no file '{member}'"):
        fetch(archived(member), tmp_path / "file.txt")
    assert list(tmp_path.iterdir()) == []


def test_the_shipped_table_reads_and_states_licences():
    sources = read_sources(ROOT / "config/sources.tsv")
    assert {"chest_ct", "chest_labels", "pelvis_ct", "pelvis_labels"} <= set(sources)
    assert all(source.licence for source in sources.values())


def test_a_damaged_table_is_refused_by_row(tmp_path):
    lines = (ROOT / "config/sources.tsv").read_text().splitlines()
    table = tmp_path / "sources.tsv"
    table.write_text("\n".join([lines[0], lines[1], lines[1]]))
    with pytest.raises(InputError, match="stands twice"):
        read_sources(table)
    table.write_text("\n".join([lines[0], lines[1].replace("installed", "somewhere")]))
    with pytest.raises(InputError, match="row 2: kind"):
        read_sources(table)


def test_atomic_leaves_nothing_behind_when_it_fails(tmp_path):
    def fail():
        with atomic(tmp_path / "a.txt") as partial:
            partial.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_the_conda_file_has_the_pins_of_the_locks():
    environment = yaml.safe_load((ROOT / "envs/environment.yaml").read_text())
    locks = [(ROOT / "envs" / name).read_text().splitlines() for name in LOCKS]
    pins = [line for lock in locks for line in lock if line and not line.startswith("#")]
    assert environment["dependencies"][-1]["pip"] == pins
