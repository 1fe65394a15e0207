"""Fixtures that several test files share."""

import pytest

from tests.unit.imports.examples import write_images


@pytest.fixture
def project_folder(tmp_path, monkeypatch):
    """Twelve images of six patients, of several sizes, in a spreadsheet's layout."""
    monkeypatch.chdir(tmp_path)
    write_images()
    return tmp_path
