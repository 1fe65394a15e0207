"""Every result of the report can be seen, of the demo and of the matrix."""

import pytest

from raymark import figures, tables
from raymark.config.project import read_project
from tests.workflow.conftest import ROOT
from tests.workflow.shown import shown


@pytest.mark.parametrize("name", ["config", "paper", "matrix", "own"])
def test_every_table_and_figure_has_a_label_of_its_own_in_its_chapter(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    project = read_project(f"config/{name}.yaml")
    made = [
        (tables.chapter_of(n, project), tables.labels_of(n)) for n in tables.table_names(project)
    ]
    made += [
        (figures.chapter_of(n, project), figures.labels_of(n))
        for n in figures.figure_names(project)
    ]
    assert shown(made) == len(made)
    assert all(len(labels) == 1 for _, labels in made)  # of one, none becomes a switch


def test_what_shares_its_labels_hides():
    one, other = {"figure": "overlays", "of": "kv"}, {"figure": "overlays", "of": "mv"}
    assert shown([("a", one), ("a", other)]) == 2
    assert shown([("a", one), ("b", one)]) == 2
    assert shown([("a", one), ("a", one)]) == 1
