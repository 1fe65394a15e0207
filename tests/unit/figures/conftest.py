"""What the tests of figures share: a small project with all its results, and pages to look at."""

from contextlib import contextmanager

import pytest
from matplotlib.figure import Figure

from tests.unit.evaluation.examples import errors_of
from tests.unit.figures.examples import small_project


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """The folder of a small project with every result that figures are drawn from."""
    folder = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        small_project()
    return folder


@pytest.fixture
def errors():
    return errors_of("cpm")


@pytest.fixture
def pages(request, monkeypatch):
    """The pages that the figure of a test's file (`test_<kind>.py`) draws on, in the order of drawing."""
    drawn = []

    @contextmanager
    def kept(width_in, height_in, stem):
        drawn.append(Figure(figsize=(width_in, height_in), layout="constrained"))
        yield drawn[-1]
        drawn[-1].draw_without_rendering()

    kind = request.path.stem.removeprefix("test_")
    monkeypatch.setattr(f"raymark.figures.{kind}.figure", kept)
    return drawn
