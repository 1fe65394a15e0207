"""Poses of a whole view set: from a CT, rendered views and made-up predictions to the tables."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raymark.config.dataset import Dataset
from raymark.config.results import Pose
from raymark.config.subjects import Subject
from raymark.core.errors import InputError
from raymark.ct import Volume, write_volume
from raymark.datasets.shards import Shards
from raymark.detection.on_views import SCHEMA as PREDICTIONS
from raymark.metrics.bootstrap import wilson_interval
from raymark.metrics.pose import mtre_mm
from raymark.pose.estimate import (
    BINS_MM,
    estimate_poses,
    measure_capture_range,
)
from raymark.pose.pose_table import CAPTURE_SCHEMA, SCHEMA, read_poses
from raymark.rendering.scene import render_shard
from raymark.tables import capture_range, pose
from raymark.views.plan import plan_views, read_views, with_seen_in_training, write_views
from tests.oracles import Ellipsoid, grid
from tests.unit.evaluation.examples import project_of_examples

SHAPE_XYZ = (36, 34, 34)
AFFINE = grid("RAS", SHAPE_XYZ, (4.0, 4.0, 4.0), np.zeros(3))
NAMES = [f"point_{i}" for i in range(9)]
WORLD_MM = np.random.default_rng(3).uniform(-45, 45, (9, 3))
SETTINGS = Pose(refined_views=3, capture_starts=1)
DATASET = Dataset.model_validate(
    {
        "name": "pelvis",
        "title": "Pelvis",
        "subjects": ["balls"],
        "landmarks": "none",
        "detector": {"height_px": 64, "width_px": 72, "pixel_mm": 3.6},
        "physics": {"spectrum": "mono", "photons_per_px": 1e6},
        "view_sets": {
            "train": {"of": "train", "role": "train", "sampling": {"kind": "sphere", "count": 2}},
            "grid": {
                "of": "train",
                "role": "evaluate",
                "flip_probability": 0.5,
                "sampling": {"kind": "grid", "primary_deg": [-40, 40], "secondary_deg": [-10, 10],
                             "step_deg": 20},
            },
        },
    }
)  # fmt: skip


def ct() -> Volume:
    """Soft tissue with a ball of bone around every landmark."""
    bodies = [Ellipsoid(np.zeros(3), np.diag([65.0, 60, 58]), 1.0)]
    bodies += [Ellipsoid(point, np.eye(3) * 8, 0.8) for point in WORLD_MM]
    density = sum(body.voxelised(SHAPE_XYZ, AFFINE, 2) for body in bodies)
    return Volume(np.rint(1000 * density - 1000).astype(np.int16), AFFINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with CT, views, one shard and predictions; view 2 has five landmarks above 0.7."""
    folder = tmp_path_factory.mktemp("poses")
    volume = ct()
    write_volume(folder / "ct.nii.gz", volume)
    sheet = {"balls": Subject("balls", "p1", "ct", "landmarks", "", "train")}
    views = plan_views(DATASET, sheet, {"balls": np.zeros(3)}, 0)
    write_views(folder / "views.parquet", views)
    views = views[views["view_set"] == "grid"]
    render_shard(volume, WORLD_MM, NAMES, [], views, DATASET, folder / "shard.zarr.zip", "digest")
    shards = Shards([folder / "shard.zarr.zip"])
    rng = np.random.default_rng(0)
    rows = [
        {"dataset": "pelvis", "method": "cpm", "seed": 0, "view_set": "grid", "view": view,
         "subject": "balls", "landmark": name, "instance": 0,
         "x_px": xy[0], "y_px": xy[1], "confidence": belief, "detected": True}
        for number, view in enumerate(shards.views)
        for name, xy, belief in zip(
            NAMES,
            shards.small["landmarks"][number] + rng.normal(0, 0.7, (9, 2)),
            [0.9] * 5 + [0.6 if number == 2 else 0.8] * 4,
            strict=True,
        )
    ]  # fmt: skip
    table = pa.Table.from_pandas(pd.DataFrame(rows), PREDICTIONS, preserve_index=False)
    pq.write_table(table, folder / "predictions.parquet")
    return folder


def seen(path) -> pd.DataFrame:
    return with_seen_in_training(read_views(path), DATASET.view_sets)


def estimated(folder, monkeypatch, out="poses.parquet") -> pd.DataFrame:
    monkeypatch.chdir(folder)
    paths = "predictions.parquet", ["shard.zarr.zip"]
    estimate_poses(
        *paths, seen("views.parquet"), {"balls": folder / "ct.nii.gz"}, DATASET, SETTINGS, out
    )
    return read_poses([out])


def test_every_view_and_solution_has_a_row(folder, monkeypatch):
    poses = estimated(folder, monkeypatch)
    by_solution = {solution: rows.set_index("view") for solution, rows in poses.groupby("solution")}
    views = Shards([folder / "shard.zarr.zip"]).views
    assert list(by_solution["closed_form"].index) == list(by_solution["robust"].index) == views
    assert len(by_solution["refined"]) == SETTINGS.refined_views
    few = by_solution["robust"].loc[views[2]]
    assert few["reason"] == "5 landmarks, 6 needed above 0.7"
    assert few["world_to_camera"] is None
    assert np.isnan(few["mtre_mm"])
    assert views[2] not in by_solution["refined"].index
    solved = by_solution["robust"].drop(views[2])
    assert (solved["reason"] == "").all()
    assert (solved["landmarks"] == 9).all()
    assert (solved["mtre_mm"] < 40).all()


def test_refinement_is_nearer_than_landmarks_off_by_a_pixel(folder, monkeypatch):
    poses = estimated(folder, monkeypatch).set_index(["solution", "view"])
    refined = poses.loc["refined"]
    before = poses.loc["robust"].loc[refined.index]
    assert (refined["mtre_mm"] < 2).all()
    assert refined["mtre_mm"].median() < before["mtre_mm"].median() / 2
    assert (refined["reprojection_px"] < 0.3).all()


def test_the_stored_pose_has_the_stored_error(folder, monkeypatch):
    poses = estimated(folder, monkeypatch)
    shards = Shards([folder / "shard.zarr.zip"])
    row = poses[poses["solution"] == "refined"].iloc[0]
    number = shards.views.index(row["view"])
    world = shards.small["landmarks_world"][number]
    stored = np.reshape(row["world_to_camera"], (4, 4))
    true = shards.small["world_to_camera"][number]
    assert mtre_mm(stored, true, world) == pytest.approx(row["mtre_mm"])


def test_cores_change_no_byte(folder, monkeypatch):
    for threads in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        estimated(folder, monkeypatch, f"{threads}.parquet")
    assert (folder / "1.parquet").read_bytes() == (folder / "3.parquet").read_bytes()


def starts(count: int, *failed: int) -> pd.DataFrame:
    """`count` starts of the capture range in each of the first intervals, of which `failed` failed."""
    rows = [
        (*BINS_MM[number], 40.0 if k < failures else 0.5)
        for number, failures in enumerate(failed)
        for k in range(count)
    ]
    table = pd.DataFrame(rows, columns=["from_mm", "to_mm", "mtre_mm"])
    return table.assign(
        dataset="pelvis", view_set="grid", view="v", subject="balls", start_mtre_mm=1.0
    )


def test_table_of_poses(folder, monkeypatch):
    table = pose.table(project_of_examples(), estimated(folder, monkeypatch))
    assert table.label == "demo scale"
    rows = table.frame.set_index("solution")
    assert rows["poses"].to_dict() == {
        "closed_form": 10, "robust": 10, "robust_same": 3, "refined": 3
    }  # fmt: skip
    assert rows.loc["robust", "share"] == pytest.approx(0.9)
    assert rows.loc["refined", "mtre_mm"] < rows.loc["robust_same", "mtre_mm"]
    assert (rows["mtre_mm_low"] <= rows["mtre_mm_high"]).all()
    assert len(table.cells()) == 4
    assert rows.loc["refined", "captured"] == 1.0
    ends = ["captured_low", "captured_high"]
    assert tuple(rows.loc["refined", ends]) == wilson_interval(3, 3, 0.95)
    ends = ["share_low", "share_high"]
    assert tuple(rows.loc["robust", ends]) == wilson_interval(9, 10, 0.95)
    cells = [dict(zip([c.key for c in table.columns], row, strict=True)) for row in table.cells()]
    assert [(c["patients"], c["captured"]) for c in cells][-1] == ("1", "100.0 [43.9, 100.0]")
    assert not table.bold()[2:].any()  # three poses
    assert table.bold()[:2].any()


@pytest.mark.parametrize(
    ("count", "failed", "told"),
    [
        (6, (0, 0, 1, 1, 1), "not decided by 6 starts a row"),
        (6, (0, 0, 4, 0, 0), "at most 10 mm"),
        (100, (0, 0, 0, 0, 0), "at least 40 mm"),
        (100, (0, 0, 2, 20, 0), "at least 10 mm, at most 20 mm"),
        (100, (0, 0, 20, 0, 0), "10 mm"),
        (100, (50, 0, 0, 0, 0), "0 mm"),
    ],
)
def test_the_capture_range_is_told_as_far_as_the_starts_decide_it(count, failed, told):
    table = capture_range.table(project_of_examples(), starts(count, *failed))
    assert table.frame["captured"].tolist() == pytest.approx([1 - n / count for n in failed])
    assert f"Capture range of Pelvis, grid: {told}." in table.notes


def test_no_pose_at_all_is_a_table_too():
    table = pose.table(project_of_examples(), read_poses([]))
    assert table.cells() == []


def test_nothing_detected_is_a_table_too(folder, monkeypatch):
    monkeypatch.chdir(folder)
    predictions = pd.read_parquet("predictions.parquet").assign(confidence=0.1)
    predictions.to_parquet("unsure.parquet")
    estimate_poses(
        "unsure.parquet",
        ["shard.zarr.zip"],
        seen("views.parquet"),
        {"balls": "ct.nii.gz"},
        DATASET,
        SETTINGS,
        "none.parquet",
    )
    table = pose.table(project_of_examples(), read_poses(["none.parquet"]))
    assert table.frame["share"].tolist() == [0.0, 0.0]
    columns = [column.key for column in table.columns]
    cells = [dict(zip(columns, row, strict=True)) for row in table.cells()]
    assert [(c["mtre_mm"], c["captured"]) for c in cells] == [("–", "0.0 [0.0, 27.8]")] * 2


def test_capture_range(folder, monkeypatch):
    monkeypatch.chdir(folder)
    measure_capture_range(
        ["shard.zarr.zip"], {"balls": "ct.nii.gz"}, DATASET, "grid", SETTINGS, "capture.parquet"
    )
    starts = read_poses(["capture.parquet"], CAPTURE_SCHEMA)
    assert len(starts) == len(BINS_MM)
    assert (starts["start_mtre_mm"].between(starts["from_mm"], starts["to_mm"])).all()
    assert starts["mtre_mm"].iloc[0] < 2
    table = capture_range.table(project_of_examples(), starts)
    assert table.frame["captured"].iloc[0] == 1.0
    assert table.frame["start"].tolist()[:2] == ["0 to 5", "5 to 10"]


def test_other_files_are_refused(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(folder)
    with pytest.raises(InputError, match="has other columns"):
        read_poses(["views.parquet"])
    (tmp_path / "x.parquet").write_text("x")
    with pytest.raises(InputError, match="is not a table of poses"):
        read_poses([tmp_path / "x.parquet"])
    assert SCHEMA.names[0] == "dataset"
