"""What has no data is left out and told; everything else is as if it had never been asked for."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from raymark.config.dataset import Dataset
from raymark.config.imports import read_import
from raymark.config.method import Method
from raymark.config.papers import Paper
from raymark.config.project import Config, Project, project_of, read_project
from raymark.config.subjects import Subject
from raymark.core.errors import InputError
from raymark.datasets.available import (
    Absence,
    absences,
    missing,
    only_present,
    present,
    present_imports,
)
from raymark.datasets.imported import Imported
from raymark.datasets.lookup import (
    dataset_of,
    shard_files,
    shard_files_with_role,
    shards_of,
    shards_with_role,
)
from raymark.evaluation.results import SEEN, UNSEEN, Results
from raymark.imports.write import import_2d
from raymark.landmarks.table import read_landmark_set
from raymark.tables import cobb, data, detection, landmarks, methods, pck, pose, rmse, sdr
from raymark.tables._landmarks import MEAN
from tests.unit.evaluation.examples import LANDMARKS, errors_of, project_of_examples
from tests.unit.imports.examples import NAMES, ROOT, blobs, settings, write_table

SAMPLING = {"kind": "sphere", "count": 2}
VIEW_SETS = {
    "train": {"of": "train", "role": "train", "sampling": SAMPLING},
    "novel": {"of": "train", "role": "evaluate", "sampling": SAMPLING},
    "novel_subject": {"of": "test", "role": "evaluate", "sampling": SAMPLING},
}
NOBODY = "no subject of this data set is in the split 'test'"


def sheet(**splits):
    return {name: Subject(name, name, "ct", "points", "", split) for name, split in splits.items()}


def project(folder, evaluate=("novel", "novel_subject"), poses=(), subjects=("a", "b")):
    """A rendered data set and an import whose files are, or are not, in `folder`."""
    dataset = Dataset(
        name="pelvis",
        title="Pelvis",
        subjects=list(subjects),
        landmarks="none",
        view_sets=VIEW_SETS,
    )
    method = Method(name="cpm", title="CPM", module="cpm")
    made = settings(
        images=f"{folder}/images", annotations={"layout": "csv", "file": f"{folder}/points.csv"}
    )
    experiments = [
        {"dataset": "pelvis", "method": "cpm", "evaluate": evaluate, "poses": poses},
        {"dataset": "made", "method": "cpm", "evaluate": ["test"]},
    ]
    values = {
        "datasets": ["pelvis.yaml"],
        "imports": ["made.yaml"],
        "methods": ["cpm.yaml"],
        "experiments": experiments,
    }
    config = Config.model_validate(values)
    return Project(config, {"pelvis": dataset}, {"cpm": method}, {"made": made})


@pytest.fixture
def images(tmp_path, monkeypatch):
    """Six annotated images in the working folder."""
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    rows = []
    for number in range(6):
        points = np.array([[40, 30], [20, 30], [30, 60]]) + number
        Image.fromarray(blobs(points, (80, 64))).save(f"images/{number}.png")
        rows += [[f"{number}.png", n, *p] for n, p in zip(NAMES, points, strict=True)]
    write_table("points.csv", ["image", "landmark", "x_px", "y_px"], rows)
    return tmp_path


# what is there


def test_view_sets_without_subjects_and_imports_without_files_are_left_out(tmp_path):
    asked = project(tmp_path, poses=["novel", "novel_subject"])
    people = sheet(a="train", b="train")
    [kept] = present(asked, people)
    assert (kept.dataset, kept.evaluate, kept.poses) == ("pelvis", ["novel"], ["novel"])
    found = [(a.dataset, a.method, a.view_set) for a in absences(asked, people)]
    assert found == [("pelvis", "cpm", "novel_subject"), ("made", "cpm", "test")]
    assert only_present(asked, people).config.experiments == [kept]
    assert present_imports(asked) == []


def test_with_data_nothing_is_absent(images):
    asked, people = project(images), sheet(a="train", b="test")
    assert present(asked, people) == asked.config.experiments
    assert absences(asked, people) == []
    assert present_imports(asked) == ["made"]


def test_a_subject_of_another_data_set_does_not_count(tmp_path):
    people = sheet(a="train", b="test")
    assert missing(project(tmp_path, subjects=["a"]), people, "pelvis", "novel_subject")
    assert not missing(project(tmp_path), people, "pelvis", "novel_subject")


def test_an_experiment_without_any_data_is_not_trained(tmp_path):
    asked = project(tmp_path, evaluate=["novel_subject"])
    assert present(asked, sheet(a="train", b="train")) == []


def test_every_file_of_an_import_is_looked_for(images):
    asked = project(images)
    Path("points.csv").unlink()
    assert "points.csv is not there" in missing(asked, {}, "made", "test")
    for name in ("spine_ap", "cephalometric_2015", "own_xrays"):
        files = read_import(ROOT / f"config/import/{name}.yaml").files
        text = (ROOT / f"config/import/{name}.yaml").read_text()
        assert set(files) == {word.strip(",}") for word in text.split() if word.startswith("data/")}


def test_an_absence_reads_as_one_line():
    text = str(Absence("pelvis", "cpm", "novel_subject", "nobody"))
    assert text == "pelvis, novel_subject: data not present: nobody"


# imports in the place of data sets


def test_an_import_is_found_as_a_data_set_is(images):
    asked = project(images)
    with pytest.raises(InputError, match=r"not been imported yet.*import-2d"):
        dataset_of(asked, "made")
    import_2d(settings(), "made.yaml")
    made = dataset_of(asked, "made")
    assert isinstance(made, Imported)
    assert (made.title, made.landmarks) == ("Made", NAMES)
    assert made.detector.model_dump(exclude={"principal_point_offset_px"}) == {
        "height_px": 80, "width_px": 64, "pixel_mm": 0.2,
    }  # fmt: skip
    assert shards_of(asked, "made", "test") == made.view_sets["test"].shards
    assert shards_with_role(asked, "made", "evaluate") == made.view_sets["test"].shards
    with pytest.raises(InputError, match=r"'valid' of made.*Known: test, train, validation"):
        shards_of(asked, "made", "valid")


def test_tables_stand_for_the_shards_of_an_import_before_it_is_imported(images, monkeypatch):
    asked = project(images)
    tables = ["results/views/made.parquet", "results/views/made.images.csv", "results/shards/made"]
    assert shard_files(asked, "made", "test") == tables
    assert shard_files_with_role(asked, "made", "train") == tables
    subjects = sheet(a="train", b="test")
    monkeypatch.setattr("raymark.config.project.read_subjects", lambda _: subjects)
    shards = ["results/shards/pelvis/train/a/00000.zarr.zip"]
    assert shard_files(asked, "pelvis", "train") == shards == shards_of(asked, "pelvis", "train")
    assert shard_files_with_role(asked, "pelvis", "train") == shards


def test_the_view_sets_that_imports_promise_are_those_they_make(images):
    table = import_2d(settings(), "made.yaml")
    assert set(table["view_set"]) == set(settings().split.view_sets)
    whole = settings(split={"kind": "whole", "view_set": "other"})
    assert set(import_2d(whole, "made.yaml")["view_set"]) == set(whole.split.view_sets)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"imports": ["made.yaml", "pelvis.yaml"]}, "two data sets or imports are called 'pelvis'"),
        ({"evaluate": ["test1"]}, "view set 'test1'.*'made'.*Known: train, validation, test"),
        ({"poses": ["test"]}, "poses of the import 'made'"),
        ({"method": {"needs_3d": True}}, "cannot be trained on 'made'.*3D landmarks"),
    ],
)
def test_what_imports_cannot_do_is_refused(images, change, problem):
    experiment = {"dataset": "made", "method": "cpm", "evaluate": ["test"]}
    experiment |= {key: change[key] for key in ("evaluate", "poses") if key in change}
    method = {"name": "cpm", "title": "CPM", "module": "cpm"} | change.get("method", {})
    values = {"datasets": ["pelvis.yaml"], "imports": change.get("imports", ["made.yaml"])}
    values |= {"methods": ["cpm.yaml"], "experiments": [experiment]}
    dataset = project(images).datasets["pelvis"].model_dump(mode="json")
    made = settings().model_dump(mode="json")
    for name, file in (("pelvis", dataset), ("cpm", method), ("made", made)):
        Path(f"{name}.yaml").write_text(yaml.safe_dump(file))
    with pytest.raises(InputError, match=problem):
        project_of(values, "config.yaml")


# tables

PEL = Paper.model_validate(
    {
        "name": "pel", "short": "PEL", "citation": "-",
        "landmarks": {"L1": "left_asis", "L2": "not_ours"},
        "rows": [
            {"method": "unet", "title": "-", "evaluated_on": SEEN, "source": "Table 1",
             "values": {"rmse_px": 8.58, "mre_found_px": 1.5}, "landmark_rmse_px": {"L1": 11.49, "L2": 4.71}},
            {"method": "unet", "title": "-", "evaluated_on": UNSEEN, "source": "Table 1",
             "values": {"rmse_px": 5.58, "mre_found_px": 9.25, "sdr_2_isocentre_mm": 0.125, "smape": 0.25,
                        "pck_8_paper_px": 0.75},
             "landmark_rmse_px": {"L1": 5.68, "L2": 8.33}},
        ],
    }
)  # fmt: skip


def results_with_an_absence(*tables):
    """The U-Net has no data for novel subjects; by default the seen patients' grid is there."""
    examples = project_of_examples()
    pelvis = examples.datasets["pelvis"]
    extra = VIEW_SETS["novel_subject"]
    dataset = Dataset.model_validate(
        pelvis.model_dump() | {"view_sets": pelvis.model_dump()["view_sets"] | {"novel": extra}}
    )
    experiments = [
        e.model_copy(update={"evaluate": ["grid", "novel"]}) if e.method == "unet" else e
        for e in examples.config.experiments
    ]
    config = examples.config.model_copy(update={"experiments": experiments})
    return Results(
        Project(config, {"pelvis": dataset}, examples.methods),
        pd.concat(tables or [errors_of(m) for m in ("cpm", "unet", "mean_position")]),
        {"pelvis": LANDMARKS},
        papers={"pel": PEL},
        absences=(Absence("pelvis", "unet", "novel", NOBODY),),
    )


def cells_of(table, **where):
    """The printed cells of the one row of the frame that holds `where`, by column key."""
    rows = table.frame.reset_index(drop=True)
    for key, value in where.items():
        rows = rows[rows[key] == value]
    [index] = rows.index
    return dict(zip([c.key for c in table.columns], table.cells()[index], strict=True))


@pytest.mark.parametrize(
    ("make", "published"),
    [
        (methods.table, {}),
        (detection.table, {"published_mre_found_px": "9.2"}),
        (pck.table, {}),
    ],
)
def test_a_row_without_data_has_dashes_the_published_figures_and_a_reason(make, published):
    table = make(results_with_an_absence())
    where = {"view_set": "novel"} | ({"which_landmarks": "all"} if make is pck.table else {})
    cells = cells_of(table, **where)
    named = {"dataset_title", "view_set_title", "evaluated_on", "method_title", "which_landmarks"}
    assert cells["evaluated_on"] == UNSEEN
    assert cells["ci_over"] == "data not present"
    numbers = {k: v for k, v in cells.items() if k not in named | {"ci_over", "source", *published}}
    assert set(numbers.values()) == {"–"}
    assert {key: cells[key] for key in published} == published
    assert any(n.startswith("Data not present: ") and NOBODY in n for n in table.notes)
    bold = table.bold()[table.frame["view_set"].to_numpy() == "novel"]
    assert not bold.any()


def test_numbers_of_other_rows_do_not_change():
    results = results_with_an_absence()
    without = Results(results.project, results.errors, results.landmarks, papers=results.papers)
    for make in (methods.table, detection.table):
        with_row = make(results).frame
        kept = with_row[with_row["missing"] == ""].drop(columns="missing").reset_index(drop=True)
        expected = make(without).frame.drop(columns="missing")
        pd.testing.assert_frame_equal(kept, expected, check_dtype=False)


def test_rmse_prints_every_published_cell_of_both_kinds_of_patients():
    frame = rmse.table(results_with_an_absence()).frame
    cells = frame.dropna(subset="unet_published_rmse_px").set_index(["evaluated_on", "landmark"])
    assert cells["unet_published_rmse_px"].to_dict() == {
        (SEEN, MEAN): 8.58, (SEEN, "left_asis"): 11.49, (SEEN, "not_ours"): 4.71,
        (UNSEEN, MEAN): 5.58, (UNSEEN, "left_asis"): 5.68, (UNSEEN, "not_ours"): 8.33,
    }  # fmt: skip
    assert frame.loc[frame["view_set"] == "novel", "unet_rmse_px"].isna().all()


def test_landmarks_say_once_what_is_missing():
    frame = landmarks.table(results_with_an_absence()).frame
    assert frame.loc[frame["view_set"] == "novel", "landmark"].tolist() == ["data not present"]


def test_tables_of_nothing_but_absences_can_be_made():
    results = results_with_an_absence(errors_of("cpm").iloc[:0])
    for make in (methods.table, sdr.table, cobb.table, rmse.table):
        table = make(results)
        assert len(table.cells()) == len(table.frame)
        assert not table.bold().any()


def test_data_lists_absent_imports_and_empty_view_sets(tmp_path):
    asked = project(tmp_path)
    plan = {"view": ["1", "2"], "view_set": ["train", "novel"], "subject": "a", "patient": "a"}
    views = pd.DataFrame(plan).assign(primary_deg=0.0, secondary_deg=0.0)
    absent = {("pelvis", "novel_subject"): NOBODY, ("made", ""): "no images"}
    table = data.table(asked, {"pelvis": views}, {"pelvis": 4}, absent)
    row = cells_of(table, view_set="novel_subject")
    assert (row["evaluated_on"], row["views"], row["angles"]) == ("data not present", "–", "–")
    assert set(cells_of(table, dataset="made").values()) == {"Made", "data not present", "–"}
    assert table.notes[-2:] == [
        f"Data not present: Pelvis, novel_subject: {NOBODY}.", "Data not present: Made: no images.",
    ]  # fmt: skip


def test_poses_say_what_is_missing():
    results = results_with_an_absence()
    columns = [
        "dataset",
        "view_set",
        "seen_in_training",
        "method",
        "solution",
        "reason",
        "seed",
        "view",
    ]
    none = pd.DataFrame(columns=columns)
    table = pose.table(results.project, none, results.absences)
    assert cells_of(table, view_set="novel")["solution_title"] == "data not present"
    assert NOBODY in table.notes[-1]


# the configuration that comes with the project


def test_every_rendered_data_set_can_be_evaluated_on_novel_subjects(monkeypatch):
    monkeypatch.chdir(ROOT)
    shipped = read_project("config/config.yaml")
    evaluated = {(e.dataset, v) for e in shipped.config.experiments for v in e.evaluate}
    for name, dataset in shipped.datasets.items():
        novel = {n for n, s in dataset.view_sets.items() if (s.of, s.role) == ("test", "evaluate")}
        assert any((name, view_set) in evaluated for view_set in novel), name
        assert read_landmark_set(dataset.landmarks).names
