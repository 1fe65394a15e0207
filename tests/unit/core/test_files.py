"""A file is on the disk before it has its final name, and its name is before `atomic` ends."""

import os
from pathlib import Path

import pytest

from raymark.core.files import atomic


@pytest.fixture
def calls(monkeypatch):
    """Record, in their order, what is brought to the disk and what is renamed."""
    made, fsync, replace = [], os.fsync, os.replace

    def recorded_fsync(descriptor):
        made.append(("fsync", Path(os.readlink(f"/proc/self/fd/{descriptor}")).name))
        fsync(descriptor)

    def recorded_replace(source, target):
        made.append(("replace", Path(target).name))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    return made


def test_a_file_is_on_the_disk_before_its_name(tmp_path, calls):
    with atomic(tmp_path / "table.csv") as partial:
        partial.write_text("a,b")
    assert calls == [("fsync", "table.csv"), ("replace", "table.csv"), ("fsync", tmp_path.name)]
    assert (tmp_path / "table.csv").read_text() == "a,b"


def test_every_file_of_a_folder_is_on_the_disk_before_its_name(tmp_path, calls):
    with atomic(tmp_path / "folder") as partial:
        (partial / "below").mkdir(parents=True)
        (partial / "below/one").write_text("1")
        (partial / "two").write_text("2")
    before = calls[: calls.index(("replace", "folder"))]
    assert {name for _, name in before} == {"one", "two", "below", "folder"}
    assert calls[-1] == ("fsync", tmp_path.name)


def test_a_file_system_that_cannot_bring_folders_to_the_disk_is_no_error(tmp_path, monkeypatch):
    fsync = os.fsync

    def files_only(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(22, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", files_only)
    with atomic(tmp_path / "table.csv") as partial:
        partial.write_text("a,b")
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
