"""Compiled kernels are kept in a place that can be written, and that is the user's alone."""

import os
import stat
import tempfile
from pathlib import Path

import pytest

from raymark.core import kernel_cache
from raymark.core.kernel_cache import place_kernels


@pytest.fixture
def read_only(tmp_path, monkeypatch):
    """A library that may not be written to, and a folder for temporary files."""
    monkeypatch.setattr(kernel_cache.os, "access", lambda *_: False)  # root may write anywhere
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    return tmp_path


def test_a_writable_library_keeps_its_kernels(monkeypatch, tmp_path):
    monkeypatch.setattr(kernel_cache, "LIBRARY", tmp_path)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    place_kernels()
    assert "NUMBA_CACHE_DIR" not in os.environ


def test_a_read_only_library_keeps_them_in_a_folder_of_the_users_own(read_only):
    place_kernels()
    folder = Path(os.environ["NUMBA_CACHE_DIR"])
    assert folder.parent == read_only
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    del os.environ["NUMBA_CACHE_DIR"]
    place_kernels()
    assert os.environ["NUMBA_CACHE_DIR"] == str(folder)  # the next job finds them


def test_a_folder_that_another_made_is_not_used(read_only):
    (read_only / "elsewhere").mkdir()
    planted = read_only / f"raymark-kernels-{os.getuid()}"
    planted.symlink_to(read_only / "elsewhere")
    place_kernels()
    assert os.environ["NUMBA_CACHE_DIR"] != str(planted)


def test_what_is_asked_for_counts(read_only, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/asked/for")
    place_kernels()
    assert os.environ["NUMBA_CACHE_DIR"] == "/asked/for"
