"""Real X-rays in a shard: what a pixel shows stays where K says, and the table of views has their pose."""

import numpy as np
import pytest

from raymark.config.dataset import Dataset
from raymark.config.subjects import Subject
from raymark.core.errors import InputError
from raymark.datasets.shards import Shards
from raymark.geometry.camera import (
    Camera,
    Detector,
    carm_angles,
    carm_camera,
    carm_rotation,
    project,
)
from raymark.imports.calibrated import CalibratedXray
from raymark.imports.real_xrays import RealShard
from raymark.views.plan import camera_of, row_of_xray, split_in, subjects_of

REAL = {"of": "test", "role": "evaluate", "sampling": {"kind": "real"}}
SPHERE = {"kind": "sphere", "count": 2}
POINTS_MM = np.array([[-20.0, 5, 30], [25, -8, -12]])
NAMES = ["left_spot", "right_spot"]
# Of another height than the detector's, and wider than it.
CAMERA = carm_camera(
    Detector(120, 160, 1.0),
    primary_deg=-17,
    secondary_deg=11,
    roll_deg=170,
    isocentre_world_mm=np.array([3.0, -4, 6]),
    source_to_isocentre_mm=700,
    source_to_detector_mm=1000,
)


def dataset(**changes) -> Dataset:
    train = {"of": "train", "role": "train", "sampling": SPHERE}
    values = {
        "name": "demo",
        "title": "Demo",
        "subjects": ["a", "b"],
        "landmarks": "l.yaml",
        "detector": {"height_px": 60, "width_px": 60, "pixel_mm": 2.0},
        "cohort": {"count": 1},
        "view_sets": {"train": train, "real": REAL},
    }
    return Dataset.model_validate(values | changes)


def xray() -> CalibratedXray:
    """Spots at the projected points."""
    y, x = np.mgrid[:120, :160]
    at = CAMERA.project(POINTS_MM)
    spots = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / 18) for px, py in at)
    return CalibratedXray("007", np.asarray(spots), CAMERA.K, CAMERA.world_to_camera, 1.0)


def written(tmp_path, settings: Dataset) -> Shards:
    shard = RealShard(settings, "real", "a", NAMES, POINTS_MM, [("left_spot", "right_spot")])
    shard.write([xray()], "file.h5", tmp_path / "s.zarr.zip", "digest")
    return Shards([tmp_path / "s.zarr.zip"])


def test_spots_lie_where_the_shard_says(tmp_path):
    shards = written(tmp_path, dataset())
    assert shards.views == ["real-a-007"]
    image = shards.read(np.array([0]))["image"][0].astype(float)
    points = shards.small["landmarks"][0]
    seen = project(shards.small["K"][0], shards.small["world_to_camera"][0], POINTS_MM)
    np.testing.assert_allclose(points, seen, atol=1e-3)
    for px, py in points:
        rows, columns = (slice(round(v) - 4, round(v) + 5) for v in (py, px))
        window = image[rows, columns]
        y, x = np.mgrid[rows, columns]
        middle = np.array([(window * x).sum(), (window * y).sum()]) / window.sum()
        np.testing.assert_allclose(middle, [px, py], atol=0.15)


def test_another_pitch_than_the_detectors_is_refused(tmp_path):
    other = dataset(detector={"height_px": 60, "width_px": 60, "pixel_mm": 2.1})
    with pytest.raises(InputError, match="a/007: has pixels of 2 mm at 60 rows"):
        written(tmp_path, other)
    shard = RealShard(dataset(), "real", "a", NAMES, POINTS_MM, [])
    with pytest.raises(InputError, match="has no X-ray of a"):
        shard.write([], "file.h5", tmp_path / "none.zarr.zip", "digest")


def test_the_row_of_an_xray_leads_back_to_its_camera(tmp_path):
    settings = dataset(leave_out="A")
    shards = written(tmp_path, settings)
    K, pose = (shards.small[key][0] for key in ("K", "world_to_camera"))
    subject = Subject("a", "A", "", "", "", "train")
    row = row_of_xray(settings, "real", subject, "v", Camera(K, pose, 60, 60), POINTS_MM[0])
    assert row["split"] == "test"
    again = camera_of(type("Row", (), row), Detector(60, 60, 2.0))
    np.testing.assert_allclose(again.world_to_camera, pose, atol=1e-9)
    np.testing.assert_allclose(again.K, K, atol=1e-9)
    point_mm = again.world_to_camera @ [*POINTS_MM[0], 1]
    assert point_mm[2] == pytest.approx(row["source_to_isocentre_mm"])


@pytest.mark.parametrize("angles", [(0, 0, 0), (-120, 35, 60), (95, -70, -179)])
def test_angles_of_a_rotation(angles):
    np.testing.assert_allclose(carm_angles(carm_rotation(*angles)), angles, atol=1e-9)


def test_a_patient_left_out_is_test_whatever_the_sheet_says():
    sheet = {s: Subject(s, s.upper(), "", "", "", "train") for s in "ab"}
    left_out = dataset(leave_out="B")
    assert [split_in(left_out, row) for row in sheet.values()] == ["train", "test"]
    assert subjects_of(left_out, "train", sheet) == ["a", "a-v001"]
    assert subjects_of(left_out, "real", sheet) == ["b"]
    assert subjects_of(dataset(), "real", sheet) == []


@pytest.mark.parametrize("changed", [{"role": "train"}, {"translation_mm": [1, 1, 1]}])
def test_real_xrays_are_neither_trained_on_nor_varied(changed):
    with pytest.raises(ValueError, match="real X-rays"):
        dataset(view_sets={"real": REAL | changed})
