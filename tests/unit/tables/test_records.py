"""What is known of every table: what it is made from, where it belongs, and when it is made."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import jinja2
import pandas as pd
import pytest
from docutils.core import publish_doctree

from raymark import tables
from raymark.core import digests
from raymark.core.errors import InputError
from raymark.tables._latex import latex
from tests.unit.imports.examples import ROOT
from tests.unit.tables.examples import project_of_everything, without_papers, write_everything
from tests.unit.tables.tex import complaints, needs_tex

CONFIGURATION = ["config/subjects.tsv", "correspondence.yaml", "images", "points.csv"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run that has everything, and the project."""
    folder, start = tmp_path_factory.mktemp("finished"), Path.cwd()
    os.chdir(folder)
    write_everything(project_of_everything())
    os.chdir(start)
    return folder, project_of_everything()


def copied(paths, source):
    for path in map(Path, paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (source / path).is_dir() else shutil.copyfile)(source / path, path)


@pytest.mark.parametrize("name", tables.names())
def test_a_table_is_made_from_all_that_it_needs_and_nothing_else(
    name, finished, tmp_path, monkeypatch
):
    """In a folder that holds its needs alone it is the same table; without any of them, none."""
    folder, project = finished
    monkeypatch.chdir(folder)
    needs = tables.record(name).needs(project)
    expected = tables.make_table(name, project)
    monkeypatch.chdir(tmp_path)
    copied([*CONFIGURATION, *needs], folder)
    table = tables.make_table(name, project)
    pd.testing.assert_frame_equal(table.frame, expected.frame)
    assert (table.notes, len(table.cells())) == (expected.notes, len(expected.frame))
    assert len(needs) == len(set(needs))
    for path in map(Path, needs):
        path.rename("hidden")
        with pytest.raises((InputError, OSError)):
            tables.make_table(name, project)
        Path("hidden").rename(path)


@needs_tex
def test_every_table_sets_on_a_page(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(finished[0])
    made = {name: latex(tables.make_table(name, finished[1]), name) for name in tables.names()}
    assert complaints("\n\\clearpage\n".join(made.values()), tmp_path) == []


def test_a_table_beside_a_paper_needs_that_papers_experiments_alone(finished, monkeypatch):
    monkeypatch.chdir(finished[0])
    needs = {name: " ".join(tables.record(name).needs(finished[1])) for name in tables.names()}
    assert "results/errors/pelvis/cpm/0/grid.parquet" in needs["detection"]
    for other in ("unet", "chest", "spine", "heads"):
        assert f"/{other}" not in needs["detection"].replace("config/papers", "")
    assert "results/models/pelvis/unet/0/losses.csv" in needs["rmse"]  # what it started from
    made = tables.make_table("detection", finished[1]).frame
    assert set(made["method"]) == {"cpm", "mean_position"}
    assert "config/papers" in needs["cobb"]
    assert "config/papers" not in needs["methods"]


def test_tables_are_called_for_by_the_configuration(finished, monkeypatch):
    monkeypatch.chdir(finished[0])
    project = finished[1]
    assert tables.table_names(project) == tables.names()
    always = [
        "comparisons",
        "cts",
        "data",
        "decoder_bias",
        "landmarks",
        "matrix",
        "members",
        "methods",
    ]
    assert tables.table_names(without_papers(project)) == always


def test_a_table_is_in_the_chapter_of_its_paper(finished, monkeypatch):
    monkeypatch.chdir(finished[0])
    chapters = {name: tables.chapter_of(name, finished[1]) for name in tables.names()}
    of_papers = {
        "Bier 2018": {"detection"},
        "Registration-loss paper": {"rmse"},
        "LandmarkNet": {"pck", "instances", "setup", "contrast"},
        "Appearance-context paper": {"sdr", "cobb", "cephalometry", "cephalometric_classes"},
        "Grewal 2020": {"correspondence"},
    }
    for short, names in of_papers.items():
        assert {n for n, chapter in chapters.items() if chapter == f"Paper – {short}"} == names
    rest = set(chapters) - set().union(*of_papers.values())
    assert {chapters[name] for name in rest} == {"Tables"}


def test_every_table_has_words_of_its_own():
    records = [tables.record(name) for name in tables.names()]
    template = jinja2.Template((ROOT / "workflow/report/table.rst").read_text())
    captions = [template.render(snakemake={"params": {"caption": r.caption}}) for r in records]
    for caption, record in zip(captions, records, strict=True):
        assert caption.startswith(record.caption)
        publish_doctree(caption, settings_overrides={"halt_level": 2})  # warnings are errors
    for words in ([r.about for r in records], captions):
        assert len(set(words)) == len(records)


def test_whoever_lists_the_tables_imports_no_heavy_library():
    """Snakemake reads every record whenever it starts."""
    code = (
        "import sys; from raymark import tables; [tables.record(n) for n in tables.names()];"
        "print({'torch', 'matplotlib', 'SimpleITK'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_changed_table_changes_no_other_ones_digest():
    """Its module is part of its own digest alone, so that the workflow makes no other anew."""
    found = {}
    for name in tables.names():
        modules = digests.modules_of(f"raymark.tables.{name}")
        found[name] = modules & {f"raymark.tables.{other}" for other in tables.names()}
    assert {name: {f"raymark.tables.{name}"} for name in found} == found


def test_unknown_tables_are_refused():
    with pytest.raises(InputError, match="Known: capture_range, "):
        tables.record("detections")
