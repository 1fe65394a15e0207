"""The matrix: which pairs are trained, with which budget; its tables and what they test."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml

from raymark.config import matrix
from raymark.config.method import Method
from raymark.config.project import Config, Project, project_of
from raymark.config.results import Matrix
from raymark.core.errors import InputError
from raymark.datasets.available import Absence
from raymark.evaluation.errors import MEAN_POSITION
from raymark.evaluation.results import SEEN, UNSEEN, Results
from raymark.figures.matrix import _stands_on
from raymark.figures.matrix import matrix as draw_matrix
from raymark.metrics.permutation import holm
from raymark.tables import comparisons, write_table
from raymark.tables import matrix as matrix_table
from raymark.tables._matrix import comparison_rows
from raymark.training.train import _with_epochs
from tests.unit.evaluation.examples import LANDMARKS, METHODS, errors_of, project_of_examples

PATIENTS = tuple(f"P{n}" for n in range(1, 13))


def method(name, **values):
    return Method(name=name, title=name, module="unet", **values)


# what is trained, and for how long


def test_every_method_on_every_data_set_but_what_cannot_be_trained():
    methods = {
        "plain": method("plain"),
        "posed": method("posed", needs_3d=True),
        "tuned": method("tuned", start_from="plain"),
    }
    settings = Matrix(datasets={"drr": ["a", "b"], "xrays": ["test"]}, views_seen=100)
    found = [
        (e.dataset, e.method, e.evaluate)
        for e in matrix.experiments_of(settings, methods, {"xrays"})
    ]
    assert found == [
        ("drr", "plain", ["a", "b"]),
        ("drr", "posed", ["a", "b"]),
        ("xrays", "plain", ["test"]),
    ]
    without_budget = settings.model_copy(update={"views_seen": None})
    assert len(matrix.experiments_of(without_budget, methods, {"xrays"})) == 5


@pytest.mark.parametrize(
    ("wanted", "views", "epochs"),
    [(3000, 300, 10), (3000, 400, 8), (3000, 360, 8), (10, 300, 1), (None, 300, 30)],
)
def test_a_budget_is_the_nearest_number_of_whole_epochs(wanted, views, epochs):
    settings = Method.model_validate(
        {"name": "m", "title": "M", "module": "unet", "training": {"patience": 3}}
    )
    settings = matrix.with_budget(settings, Matrix(views_seen=wanted))
    assert _with_epochs(settings, views).training.epochs == epochs
    assert settings.training.patience == (3 if wanted is None else None)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Write a main file with two data sets and three methods."""
    monkeypatch.chdir(tmp_path)
    views = {
        name: {"of": "train", "role": role, "sampling": {"kind": "sphere", "count": 4}}
        for name, role in (("train", "train"), ("novel", "evaluate"))
    }
    for name in ("one", "two"):
        dataset = {"name": name, "title": name, "subjects": ["s"], "landmarks": "l.yaml"}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(dataset | {"view_sets": views}))
    for name, start in (("plain", None), ("other", None), ("tuned", "plain")):
        values = {"name": name, "title": name, "module": "unet", "start_from": start}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(values))
    return {
        "datasets": ["one.yaml", "two.yaml"],
        "methods": ["plain.yaml", "other.yaml", "tuned.yaml"],
        "experiments": [{"dataset": "elsewhere", "method": "plain", "evaluate": ["novel"]}],
        "matrix": {"datasets": {"one": ["novel"], "two": ["novel"]}, "views_seen": 12},
    }


def test_the_matrix_takes_the_place_of_the_experiments(files):
    project = project_of(files, "main")
    pairs = [(e.dataset, e.method) for e in project.config.experiments]
    assert pairs == [("one", "plain"), ("one", "other"), ("two", "plain"), ("two", "other")]
    assert {m.training.views_seen for m in project.methods.values()} == {12}
    again = project_of(project.config.model_dump(mode="json"), "frozen")
    assert again.config == project.config


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"matrix": {"datasets": {"three": ["novel"]}}}, ["three", "one", "two"]),
        ({"matrix": {"datasets": {"one": ["nowhere"]}}}, ["nowhere", "train", "novel"]),
        ({"matrix": {"datasets": {"one": ["novel"]}, "baseline": "best"}}, ["best", "plain"]),
        (
            {"matrix": {"views_seen": 9},
             "experiments": [{"dataset": "one", "method": "tuned", "evaluate": ["novel"]}]},
            ["tuned", "model of plain", "Leave"],
        ),
    ],
)  # fmt: skip
def test_mistakes_are_refused(files, change, parts):
    with pytest.raises(InputError) as error:
        project_of(files | change, "main")
    for part in parts:
        assert part in str(error.value)


# the tables


def results_of(*tables, diverged=(), **matrix_values):
    project = project_of_examples()
    values = project.config.model_dump() | {"matrix": matrix_values}
    values["evaluation"]["permutations"] = 999
    project = Project(Config.model_validate(values), project.datasets, project.methods)
    errors = pd.concat(tables or [errors_of(name) for name in METHODS], ignore_index=True)
    seen = {("pelvis", "cpm"): 400, ("pelvis", "unet"): 400}
    return Results(project, errors, {"pelvis": LANDMARKS}, frozenset(diverged), views_seen=seen)


def of_patients(name, **values):
    return errors_of(name, patients=PATIENTS, **values)


def rows_of(results):
    return comparison_rows(results).set_index("method")


def test_means_and_differences_are_of_the_same_points():
    """The baseline lacks every other point, the method two: both are measured on what is left."""
    mine, base = errors_of("cpm"), errors_of(MEAN_POSITION)
    gone = ["error_isocentre_mm"]
    base.loc[base.index[::2], gone] = np.nan
    mine.loc[mine.index[[1, 3]], gone] = np.nan
    row = rows_of(results_of(mine, base)).loc["cpm"]
    keys = ["view", "landmark"]
    both = mine.merge(base, on=keys, suffixes=("", "_base")).query("visible and visible_base")
    both = both.dropna(subset=["error_isocentre_mm", "error_isocentre_mm_base"])
    assert row["paired_landmarks"] == len(both) > 10
    assert row["mre_isocentre_mm"] == pytest.approx(both["error_isocentre_mm"].mean())
    apart = both["error_isocentre_mm"] - both["error_isocentre_mm_base"]
    assert row["difference_isocentre_mm"] == pytest.approx(apart.mean())
    assert (
        row["difference_isocentre_mm_low"]
        < row["difference_isocentre_mm"]
        < row["difference_isocentre_mm_high"]
    )


def test_detecting_less_gains_nothing():
    shy = errors_of("cpm").assign(detected=False)
    usual, silent = (
        rows_of(results_of(t, errors_of(MEAN_POSITION))).loc["cpm"] for t in (errors_of("cpm"), shy)
    )
    assert silent["paired_detection_rate"] == 0 < usual["paired_detection_rate"]
    assert silent["mre_isocentre_mm"] == usual["mre_isocentre_mm"]
    assert silent["p"] == usual["p"]


def test_p_is_over_patients_and_says_so():
    """Twelve patients, a method better on all of them: exactly two ways of 4096 are as large."""
    rows = rows_of(results_of(*(of_patients(name) for name in METHODS)))
    assert rows.loc["cpm", ["p", "ci_over", "clusters"]].tolist() == [2 / 4096, "patients", 12]
    assert rows.loc["cpm", "change"] == "↓"
    one = rows_of(results_of()).loc["cpm"]
    assert (one["p"], one["ci_over"]) == (1 / 1000, "views (one patient)")


def of_copies(name, count=6):
    """Errors of a patient and deformed copies of it, view by view in turn."""
    table = errors_of(name)
    return table.assign(
        subject=(table.groupby("view").ngroup() % count).map("pelvis-v{:03d}".format)
    )


def test_of_one_patient_p_is_over_its_deformed_copies():
    """Better on all of six copies: exactly two of their 64 ways are as large, however many views."""
    results = results_of(*(of_copies(name) for name in METHODS))
    row = rows_of(results).loc["cpm"]
    assert (row["p"], row["clusters"]) == (2 / 64, 6)
    assert row["ci_over"] == "subjects of one patient (6)"
    assert row["change"] == ""  # 2 / 64 for two comparisons: nothing is shown
    [note] = [n for n in matrix_table.table(results).notes if "Pelvis: grid: " in n]
    assert "1 patient (6 subjects)" in note
    assert "over subjects of one patient (6), so that p ≥ 0.031" in note


def test_a_method_with_fewer_points_than_its_baseline_is_named():
    mine, base = errors_of("cpm"), errors_of(MEAN_POSITION)
    missed = mine.index[mine["visible"]][:3]
    mine.loc[missed, ["error_px", "error_isocentre_mm"]] = np.nan
    every = base["visible"].copy()
    every[missed] = True
    base["visible"] = mine["visible"] = every
    count = int(every.sum())
    results = results_of(mine, base, errors_of("unet").assign(visible=every))
    [note] = [n for n in matrix_table.table(results).notes if n.startswith("Pelvis: grid: ")]
    assert f"{count} points (Pose machine {count - 3});" in note
    assert _stands_on(rows_of(results).reset_index()).endswith(f"{count - 3:,}–{count:,} points")
    said = "\n".join(comparisons.table(results).notes)
    assert f"(Pose machine, Pelvis, grid: 3 of {count})" in said


def test_holm_is_over_the_whole_table():
    tables = [of_patients(name, view_set=v) for name in METHODS for v in ("grid", "train")]
    frame = comparison_rows(results_of(*tables))
    assert frame["p"].notna().sum() == 4
    np.testing.assert_allclose(frame["p_holm"], holm(frame["p"]))
    assert (frame["p_holm"].dropna() >= frame["p"].dropna()).all()


def test_seeds_are_averaged_before_they_are_paired():
    first, second = of_patients("cpm"), of_patients("cpm", seed=1)
    second["visible"] = first["visible"]
    mean = first.assign(
        error_isocentre_mm=(first.error_isocentre_mm + second.error_isocentre_mm) / 2
    )
    base = of_patients(MEAN_POSITION)
    pooled, averaged = (rows_of(results_of(*t, base)).loc["cpm"] for t in ([first, second], [mean]))
    for name in ("mre_isocentre_mm", "difference_isocentre_mm", "p", "paired_landmarks"):
        assert pooled[name] == pytest.approx(averaged[name])


def test_another_method_is_the_baseline_where_it_was_trained_and_did_not_diverge():
    rows = rows_of(results_of(baseline="unet"))
    assert set(rows["baseline"]) == {"unet"}
    assert rows.loc["unet", "change"] == "baseline"
    assert np.isnan(rows.loc["unet", "p"])
    assert rows.loc[MEAN_POSITION, "change"] == "↑"
    gone = rows_of(results_of(baseline="unet", diverged={("pelvis", "unet", 0)}))
    assert set(gone["baseline"]) == {MEAN_POSITION}
    assert np.isnan(gone.loc["unet", "p"])
    assert gone.loc["unet", "change"] == ""


def test_the_same_results_give_the_same_rows():
    pd.testing.assert_frame_equal(rows_of(results_of()), rows_of(results_of()))


def test_matrix_has_a_column_for_each_question_and_says_what_is_missing(tmp_path):
    """U-Net was not run on unseen patients; a pose loss cannot be trained with this budget."""
    tables = [errors_of(name) for name in METHODS]
    tables += [errors_of(name, seen=False) for name in ("cpm", MEAN_POSITION)]
    results = results_of(*tables, diverged={("pelvis", "cpm", 0)}, views_seen=400)
    results.project.methods["tuned"] = method("tuned", start_from="unet")
    table = matrix_table.table(results)
    cells = pd.DataFrame(table.cells(), columns=[c.title for c in table.columns])
    cells = cells.set_index("Method")
    seen, unseen = cells.columns
    assert seen == "Pelvis: grid"
    assert unseen == "Pelvis: grid, unseen patients"
    assert cells.loc["U-Net", unseen] == "–"
    assert cells.loc["Pose machine"].tolist() == ["DIV", "DIV"]
    assert cells.loc["U-Net", seen].endswith(" ↓")
    assert table.title == "Methods and data sets of this run, one budget: MRE at isocentre"
    notes = "\n".join(table.notes)
    for part in (SEEN, UNSEEN, "all 1 comparisons", "tuned on Pelvis: it starts from", "400"):
        assert part in notes
    write_table(table, tmp_path / "matrix")
    assert r"\downarrow" in (tmp_path / "matrix.tex").read_text()


def test_a_second_stage_is_said_to_see_the_budget_once_more():
    results = results_of(views_seen=400)
    results.project.methods["unet"] = method("unet", refines="cpm")
    told = next(note for note in matrix_table.table(results).notes if "second stage" in note)
    assert "a second stage after Pose machine" in told
    assert not any("second stage" in note for note in matrix_table.table(results_of()).notes)


def test_only_a_matrix_of_its_own_calls_itself_every_method_on_every_data_set():
    own = matrix_table.table(results_of())
    assert own.title == "Methods and data sets of this run: MRE at isocentre"
    assert "own experiments" in own.notes[0]
    every = matrix_table.table(results_of(datasets={"pelvis": ["grid"]}, views_seen=400))
    assert every.title == "Every method on every data set, one budget: MRE at isocentre"
    assert not any("own experiments" in note for note in every.notes)


def test_what_has_no_data_is_a_row_and_a_note():
    absent = (Absence("pelvis", "unet", "grid", "no patients"),)
    results = replace(results_of(errors_of("cpm"), errors_of(MEAN_POSITION)), absences=absent)
    table = comparisons.table(results)
    row = dict(zip([c.key for c in table.columns], table.cells()[-1], strict=True))
    assert (row["mre_isocentre_mm"], row["p"], row["ci_over"]) == ("–", "–", "data not present")
    for text in (table.notes, matrix_table.table(results).notes):
        assert any("Data not present: Pelvis, grid: no patients" in note for note in text)


def test_long_form_prints_tests_and_budget():
    table = comparisons.table(results_of())
    cells = pd.DataFrame(table.cells(), columns=[c.key for c in table.columns])
    assert cells["p"].tolist() == ["0.0010", "0.0010", "–"]
    assert cells["p_holm"].tolist() == ["0.0020", "0.0020", "–"]
    assert cells["change"].tolist() == ["↓", "↓", "baseline"]
    assert cells["views_seen"].tolist() == ["400", "400", "–"]


@pytest.mark.parametrize(("panels", "methods"), [(1, 2), (5, 4)])
def test_figure_has_a_panel_for_each_data_set(tmp_path, panels, methods):
    rows = rows_of(results_of(diverged={("pelvis", "cpm", 0)})).reset_index()
    many = [
        rows.assign(place_title=f"Data set {n}", method_title=rows["method_title"] + f" {k}")
        for n in range(panels)
        for k in range(methods - n % 2)
    ]
    rows = pd.concat(many)
    for name in ("m", "again"):
        draw_matrix(rows, list(dict.fromkeys(rows["method_title"])), tmp_path / name)
    assert (tmp_path / "m.svg").read_bytes() == (tmp_path / "again.svg").read_bytes()
