"""docs/adding-a-figure.md keeps its word: its file, as printed, is a figure that is found and drawn."""

import re
import sys
from pathlib import Path

import pytest
from PIL import Image

from raymark import figures
from raymark.config.project import read_project

PAGE = Path(__file__).parents[3] / "docs/adding-a-figure.md"
NAME = "landmark_errors-spine-tuned-grid"


@pytest.fixture
def module(small, tmp_path, monkeypatch):
    """The page's file, found like those of the package; the small project is the working folder."""
    path = tmp_path / "landmark_errors.py"
    path.write_text(re.search(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.S)[1])
    monkeypatch.setattr(figures, "__path__", [*figures.__path__, str(tmp_path)])
    monkeypatch.chdir(small)
    yield
    sys.modules.pop("raymark.figures.landmark_errors", None)


def test_the_pages_figure_is_found_and_drawn(module, tmp_path):
    project = read_project("config.yaml")
    assert NAME in figures.figure_names(project)
    errors = "results/errors/spine/tuned/{}/grid.parquet"
    assert figures.needs(NAME, project) == [errors.format(0), errors.format(1)]
    assert figures.chapter_of(NAME, project) == "Data set – Spine"
    assert "**spine, tuned, grid**" in figures.caption_of(NAME, project)
    figures.make_figure(NAME, project, tmp_path / "drawn")
    assert (tmp_path / "drawn.svg").stat().st_size > 1000
    with Image.open(tmp_path / "drawn.png") as picture:
        assert picture.width > picture.height / 2
