"""Every figure's record keeps its word: it is drawn from what it needs, all of which it reads."""

import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import jinja2
import matplotlib.figure
import numpy as np
import pytest
from docutils.core import publish_doctree
from PIL import Image

from raymark import figures
from raymark.config.project import read_project
from raymark.core import digests
from raymark.core.drawing import DPI
from raymark.core.errors import InputError

ROOT = Path(__file__).parents[3]
CONFIGURED = ("*.yaml", "subjects.tsv", "points.csv", "images")  # what a project is read from
LANDMARKS = "corners.yaml"  # which figures read themselves


def only_with(files: list[str], folder: Path, to: Path) -> None:
    """Copy what a project is read from and, of all else, only some files."""
    for path in [path for pattern in CONFIGURED for path in folder.glob(pattern)]:
        if path.name != LANDMARKS:
            copy = shutil.copytree if path.is_dir() else shutil.copy
            copy(path, to / path.name)
    for file in files:
        (to / file).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (folder / file).is_dir() else shutil.copy
        copy(folder / file, to / file)


@pytest.fixture(params=figures.kinds())
def names(request, small, monkeypatch):
    """The small project, in the working folder, and its figures of a kind."""
    monkeypatch.chdir(small)
    project = read_project("config.yaml")
    found = [n for n in figures.figure_names(project) if figures.parts_of(n)[0] == request.param]
    assert found
    return project, found


def test_a_figure_is_drawn_from_what_it_needs_alone(names, small, tmp_path, monkeypatch):
    project, found = names
    for number, name in enumerate(found):
        folder = tmp_path / str(number)
        folder.mkdir()
        only_with(figures.needs(name, project), small, folder)
        monkeypatch.chdir(folder)
        figures.make_figure(name, project, "out/picture")
        assert ElementTree.parse("out/picture.svg").getroot().tag.endswith("svg")
        with Image.open("out/picture.png") as picture:
            assert picture.info["dpi"][0] == pytest.approx(DPI, abs=1)
            assert np.asarray(picture.convert("L")).std() > 5  # something is drawn
        assert sorted(p.suffix for p in Path("out").iterdir()) == [".png", ".svg"]  # nothing else
        monkeypatch.chdir(small)


class Drawn(Exception):
    """Everything has been read."""


def test_every_file_that_a_figure_needs_is_read(names, small, monkeypatch):
    def begin(*_, **__):
        raise Drawn

    monkeypatch.setattr(matplotlib.figure, "Figure", begin)
    project, found = names
    for name in found:
        with pytest.raises(Drawn):
            figures.make_figure(name, project, "out")
        for file in map(Path, figures.needs(name, project)):
            hidden = file.rename(f"{file}.hidden")
            try:
                with pytest.raises((InputError, FileNotFoundError)):
                    figures.make_figure(name, project, "out")
            finally:
                hidden.rename(file)


@pytest.mark.parametrize("name", ["matrix", "dataset_samples-spine"])
def test_same_results_give_same_bytes(name, small, tmp_path, monkeypatch):
    monkeypatch.chdir(small)
    project = read_project("config.yaml")
    for stem in ("one", "two"):
        figures.make_figure(name, project, tmp_path / stem)
    for ending in ("svg", "png"):
        one, two = (tmp_path / f"{stem}.{ending}" for stem in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_figures_of_a_project_are_named_once_and_kinds_by_their_modules():
    names = figures.figure_names(read_project("config/config.yaml"))
    assert len(names) == len(set(names))
    kinds = {path.stem for path in (ROOT / "lib/raymark/figures").glob("[a-z]*.py")} - {"base"}
    assert {figures.parts_of(name)[0] for name in names} == set(figures.kinds()) == kinds
    agreement = [name for name in names if name.startswith("cobb_agreement")]
    assert "cobb_agreement-spine_drr-novel_view" in agreement  # and none of a chest or a pelvis
    assert all("-spine_" in name for name in agreement)


def test_the_page_of_figures_lists_every_kind():
    page = (ROOT / "docs/figures.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \| (.+?) \| .+ \|$", page, re.M)
    assert listed == [(kind, figures.record(kind).about) for kind in figures.kinds()]


@pytest.mark.parametrize(
    ("name", "chapter"),
    [
        ("matrix", "Tables"),
        ("overlays-pelvis-cpm-grid", "Paper – Bier 2018"),
        ("training_curves-pelvis", "Data set – Pelvis, view-invariant"),
        ("keypoint_accuracy-landmarknet", "Paper – LandmarkNet"),
        ("contrast-chest_mv", "Paper – LandmarkNet"),
        ("correspondence-overlays", "Paper – Grewal 2020"),
    ],
)
def test_figures_are_in_the_chapter_of_their_paper_or_data_set(name, chapter):
    assert figures.chapter_of(name, read_project("config/config.yaml")) == chapter


@pytest.mark.parametrize("kind", figures.kinds())
def test_every_kind_has_a_caption_of_its_own(kind):
    template = jinja2.Template((ROOT / "workflow/report/figure.rst").read_text())
    project = read_project("config/config.yaml")
    caption = figures.caption_of(f"{kind}-pelvis-cpm-grid", project)
    alone = kind in ("matrix", "keypoint_accuracy")  # one such figure is all there is
    assert ("pelvis, cpm, grid" in caption) != alone
    page = template.render(snakemake={"params": {"caption": caption}})
    publish_doctree(page, settings_overrides={"halt_level": 2})  # warnings are errors
    others = [figures.record(other).caption for other in figures.kinds() if other != kind]
    assert figures.record(kind).caption not in others


def test_a_paper_is_named_only_where_an_experiment_is_compared_with_it():
    demo, name = read_project("config/config.yaml"), "overlays-pelvis-cpm-grid"
    assert figures.caption_of(name, demo).endswith(" Compare with Fig. 3 of Bier 2018.")
    assert "Bier" not in figures.caption_of(name, read_project("config/own.yaml"))


OVERLAYS = r"Known: overlays-pelvis-cpm-grid, overlays-[^ ]*(, overlays-[^ ]*)*$"


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("overlays-chest", OVERLAYS),
        ("overlays-pelvis-cpm-nowhere", OVERLAYS),
        ("matrix-pelvis", "Known: matrix$"),
        ("picture", r"Known: .*belief_error"),
    ],
)
def test_unknown_figures_are_refused_with_those_of_their_kind(name, known, tmp_path):
    project = read_project("config/config.yaml")
    for ask in (figures.needs, figures.chapter_of):
        with pytest.raises(InputError, match=known):
            ask(name, project)
    with pytest.raises(InputError, match=known):
        figures.make_figure(name, project, tmp_path / "x")


def test_a_kind_that_the_configuration_does_not_call_for_says_so():
    with pytest.raises(InputError, match="calls for none"):
        figures.needs("cobb_agreement-spine", read_project("config/own.yaml"))


@pytest.mark.parametrize("kind", figures.kinds())
def test_a_changed_module_draws_no_other_figure_again(kind):
    used = digests.modules_of(f"raymark.figures.{kind}")
    assert used & {f"raymark.figures.{other}" for other in figures.kinds()} == {
        f"raymark.figures.{kind}"
    }


def test_records_are_read_without_what_draws():
    """Snakemake reads them all, in every job."""
    code = (
        "import sys; from raymark import figures; [figures.record(k) for k in figures.kinds()]; "
        "print([m for m in ('matplotlib', 'torch', 'numba', 'SimpleITK') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
