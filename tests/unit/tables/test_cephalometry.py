"""Tables of cephalograms: known errors in the X-ray's mm, known classes, every published row."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from raymark.config.imports import read_import
from raymark.config.method import Method
from raymark.config.papers import read_paper
from raymark.config.project import Config, Project
from raymark.datasets.available import Absence
from raymark.evaluation.errors import ERROR_COLUMNS, MEAN_POSITION
from raymark.evaluation.results import Results
from raymark.metrics.cephalometry import LANDMARKS, MEASURES
from raymark.tables import cephalometric_classes, cephalometry, cobb, record, sdr, table_names
from raymark.tables._formats import markdown
from tests.unit.imports.examples import ROOT
from tests.unit.metrics.test_cephalometry import head

PAPER = read_paper("appearance_context", ROOT / "config/papers")
NAME, METHOD = "cephalometric_2015", "appearance_context"
STRETCHED = np.array([[0.2, 0.05], [0.0, 0.4]])  # mm per px of a registered image
TEST_SETS = {"test1": ["test1-000000", "test1-000001", "test1-000002"], "test2": ["test2-000003"]}


def project_of_cephalograms() -> Project:
    experiment = {"dataset": NAME, "method": METHOD, "evaluate": list(TEST_SETS)}
    config = Config.model_validate(
        {
            "datasets": ["none.yaml"],
            "imports": [f"{NAME}.yaml"],
            "methods": [f"{METHOD}.yaml"],
            "experiments": [experiment | {"paper": "appearance_context"}],
            "evaluation": {"bootstrap": 200},
        }
    )
    method = Method(name=METHOD, title="Ours", module="appearance_context")
    imports = {NAME: read_import(ROOT / f"config/import/{NAME}.yaml")}
    return Project(config, {}, {METHOD: method}, imports)


def errors_of(method: str, view_set: str, off_mm: float, found: np.ndarray) -> pd.DataFrame:
    """Every landmark of every view lies `off_mm` below `found`, a head in mm; the truth is `head()`."""
    to_px = np.linalg.inv(STRETCHED)
    rows = []
    for view in TEST_SETS[view_set]:
        true_px, found_px = head() @ to_px.T, (found + np.array([0, off_mm])) @ to_px.T
        for number in np.argsort(LANDMARKS):
            mm = float(np.linalg.norm(found[number] + [0, off_mm] - head()[number]))
            rows.append(
                {
                    "dataset": NAME, "method": method, "seed": 0, "view_set": view_set, "view": view,
                    "subject": view, "patient": view, "landmark": LANDMARKS[number], "instance": 0,
                    "x_px": found_px[number, 0], "y_px": found_px[number, 1],
                    "x_true_px": true_px[number, 0], "y_true_px": true_px[number, 1],
                    "confidence": 1.0, "detected": True, "visible": number > 0,
                    "error_px": np.linalg.norm(found_px[number] - true_px[number]),
                    "error_detector_mm": 99.0, "error_isocentre_mm": mm,
                    "primary_deg": 90.0, "secondary_deg": 0.0, "seen_in_training": False,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)[ERROR_COLUMNS]


@pytest.fixture
def results(monkeypatch):
    """Ours are 1 mm off in test1 and 3.5 mm in test2; the mean position has another overjet."""
    tables = [
        errors_of(METHOD, "test1", 1.0, head()),
        errors_of(METHOD, "test2", 3.5, head()),
        errors_of(MEAN_POSITION, "test1", 0.0, head(overjet=8, sna=75)),
        errors_of(MEAN_POSITION, "test2", 0.0, head(overjet=8, sna=75)),
    ]
    matrices = {view: STRETCHED for views in TEST_SETS.values() for view in views}
    imported = SimpleNamespace(
        detector=SimpleNamespace(pixel_mm=0.3)
    )  # of shards that are not there
    monkeypatch.setattr("raymark.tables._rows.dataset_of", lambda *_: imported)
    return Results(
        project_of_cephalograms(),
        pd.concat(tables, ignore_index=True),
        {NAME: list(LANDMARKS)},
        papers={"appearance_context": PAPER},
        mm_per_px={NAME: matrices},
    )


def of_ours(frame: pd.DataFrame, method: str = METHOD) -> pd.DataFrame:
    return frame[(frame["dataset"] == NAME) & (frame["method"] == method)].set_index("view_set")


def test_errors_are_in_the_x_ray_s_mm_for_each_set_and_for_both(results):
    rows = of_ours(cephalometry.table(results).frame)
    assert rows.index.tolist() == ["test1 + test2", "test1", "test2"]
    np.testing.assert_allclose(rows["mre_isocentre_mm"], [(3 * 1 + 3.5) / 4, 1, 3.5])
    np.testing.assert_allclose(rows["sd_isocentre_mm"], [np.std([1, 1, 1, 3.5]), 0, 0], atol=1e-12)
    assert rows["sdr_2_isocentre_mm"].tolist() == [0.75, 1, 0]
    assert rows["sdr_4_isocentre_mm"].tolist() == [1, 1, 1]
    assert rows["views"].tolist() == [4, 3, 1]
    assert rows["all_landmarks"].tolist() == [
        4 * 19,
        3 * 19,
        19,
    ]  # those that are cut off count too
    assert rows["outside"].tolist() == [4, 3, 1]


def test_classes_are_those_of_the_points_in_mm(results):
    """A shift changes no measure; an overjet of 8 mm and an SNA of 75° change those that hold them."""
    frame = cephalometric_classes.table(results).frame
    assert (of_ours(frame)[[*MEASURES, "scr", "mean_class_scr"]] == 1).all(axis=None)
    baseline = of_ours(frame, MEAN_POSITION).loc["test1"]
    wrong = [name for name in MEASURES if baseline[name] == 0]
    assert {"mw_mm", "sna_deg"} <= set(wrong)
    assert "fma_deg" not in wrong
    assert baseline["scr"] == pytest.approx(1 - len(wrong) / 8)


def test_every_published_row_stands_below_ours(results):
    modules = {"cephalometry": cephalometry, "cephalometric_classes": cephalometric_classes}
    for table, count in (("cephalometry", 10), ("cephalometric_classes", 5)):
        made = modules[table].table(results)
        frame = made.frame
        published = frame[frame["scale"] == "published"]
        assert len(published) == count == sum(row.table == table for row in PAPER.rows)
        for _, rows in frame.groupby("view_set"):
            is_ours = (rows["dataset"] == NAME).tolist()
            assert is_ours == sorted(is_ours, reverse=True)
        assert "Lindner et al." in markdown(made)


def test_published_cells_are_printed_as_in_the_paper(results):
    """Spot checks against the paper's text, in every table; and its own averages."""
    lines = markdown(cephalometry.table(results)).splitlines()
    proposed = [line for line in lines if "Proposed" in line]
    assert "| 1.26 | 81.85 | 87.73 | 92.06 | 96.51 |" in proposed[0]
    assert "| 1.14 | 86.28 | 91.12 | 94.81 | 97.58 |" in proposed[1]
    assert "| 1.44 | 75.21 | 82.65 | 87.95 | 94.89 |" in proposed[2]
    assert any("| – | 73.33 | 78.76 | 83.24 | 89.75 |" in line for line in lines)
    for row in PAPER.rows:
        if row.table == "cephalometric_classes" and "anb_deg" in row.values:
            mean = np.mean([row.values[name] for name in MEASURES])
            assert mean == pytest.approx(row.values["scr"], abs=2e-4), row.title


def test_the_spine_s_tables_have_their_published_rows_and_no_cephalograms(results):
    landmarks, angles = sdr.table(results).frame, cobb.table(results).frame
    assert landmarks["method_title"].tolist() == ["Payer et al.", "Proposed"]
    assert landmarks["sdr_3_isocentre_mm"].tolist() == [0.5428, 0.4835]
    assert angles["smape"].tolist() == [0.2569, 0.0784, 0.2344, 0.2359, 0.1585]


def test_without_the_data_ours_says_so_beside_what_was_published(results):
    absent = [Absence(NAME, METHOD, v, "data/x is not there; download it") for v in TEST_SETS]
    nothing = replace(results, errors=results.errors.iloc[:0], absences=tuple(absent), mm_per_px={})
    for table in (cephalometry.table(nothing), cephalometric_classes.table(nothing)):
        text = markdown(table)
        ours = [line for line in text.splitlines() if "| Ours |" in line]
        assert [line.split(" | ")[1] for line in ours] == ["test1 + test2", "test1", "test2"]
        assert all("data not present" in line for line in ours)
        assert [note for note in table.notes if "test1 + test2" in note] == []
        assert "data/x is not there" in text
        assert "Proposed" in text


def test_notes_stand_with_their_rows_alone(results):
    absent = [Absence(NAME, METHOD, v, "data/x is not there; download it") for v in TEST_SETS]
    nothing = replace(results, errors=results.errors.iloc[:0], absences=tuple(absent), mm_per_px={})
    own = replace(results, errors=results.errors.query("method == @METHOD"))
    for made, wanted in ((nothing, [0, 0]), (own, [1, 0]), (results, [1, 1])):
        for make in (cephalometry.table, cephalometric_classes.table):
            notes = make(made).notes
            starts = ("[low, high]", "Mean position")
            assert [sum(n.startswith(start) for n in notes) for start in starts] == wanted


def test_one_test_set_that_is_not_there_leaves_nothing_to_pool(results):
    half = results.errors.query("method == @METHOD and view_set == 'test1'")
    absent = (Absence(NAME, METHOD, "test2", "data/x is not there; download it"),)
    rows = of_ours(cephalometry.table(replace(results, errors=half, absences=absent)).frame)
    assert rows["missing"].astype(bool).to_dict() == {
        "test1 + test2": True, "test1": False, "test2": True,
    }  # fmt: skip


def test_seeds_of_the_same_images_are_pooled(results):
    twice = pd.concat([results.errors, results.errors.assign(seed=1)], ignore_index=True)
    for make in (cephalometry.table, cephalometric_classes.table):
        one, two = (of_ours(make(r).frame) for r in (results, replace(results, errors=twice)))
        key = "mre_isocentre_mm" if "mre_isocentre_mm" in one else "scr"
        assert two[key].tolist() == pytest.approx(one[key].tolist())


def test_the_tables_are_made_where_that_paper_is_compared(monkeypatch):
    monkeypatch.chdir(ROOT)
    named = table_names(project_of_cephalograms())
    assert {"cephalometry", "cephalometric_classes", "sdr", "cobb"} <= set(named)
    assert "pck" not in named
    assert {name for name in named if record(name).publishes} == {
        "cephalometry",
        "cephalometric_classes",
        "sdr",
        "cobb",
    }
