"""The shard rule: what is in a rendered shard agrees with itself and with the scene."""

import subprocess
import sys

import numpy as np
import pytest

from raymark.config.dataset import Dataset
from raymark.config.subjects import Subject
from raymark.ct import Volume
from raymark.datasets.shards import Shards, check_shard
from raymark.geometry.camera import project
from raymark.rendering.scene import mirror_order, render_shard
from raymark.views.plan import plan_views

NAMES = ["left_ball", "middle_ball", "right_ball"]
PAIRS = [("left_ball", "right_ball")]
POINTS_MM = np.array([[-30.0, 5.0, 20.0], [4.0, -8.0, -20.0], [30.0, 0.0, 10.0]])


def dataset(count: int = 6, **changes) -> Dataset:
    values = {
        "name": "balls",
        "title": "Balls",
        "subjects": ["a"],
        "landmarks": "balls.yaml",
        "detector": {"height_px": 90, "width_px": 120, "pixel_mm": 1.6},
        "physics": {"photons_per_px": None},
        "beliefs": {"stride": 4, "sigma_px": 5},
        "views_per_shard": 100,
        "view_sets": {
            "train": {
                "of": "train",
                "role": "train",
                "sampling": {"kind": "sphere", "count": count},
                "flip_probability": 0.5,
            }
        },
    }
    return Dataset.model_validate(values | changes)


@pytest.fixture(scope="module")
def volume() -> Volume:
    """Air with three dense balls, 2 mm voxels, each ball's voxels symmetric about its landmark."""
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-60, -50, -50)
    grid = np.stack(np.meshgrid(*(np.arange(n) * 2.0 for n in (61, 51, 51)), indexing="ij"), -1)
    world = grid + affine[:3, 3]
    hu = np.full(world.shape[:3], -1000)
    for point in np.round(POINTS_MM / 2) * 2:
        hu[np.linalg.norm(world - point, axis=-1) <= 4] = 1500
    return Volume(hu.astype(np.int16), affine)


def rendered(volume: Volume, settings: Dataset, path) -> tuple[Shards, dict]:
    sheet = {"a": Subject("a", "p", "ct", "points", "", "train")}
    views = plan_views(settings, sheet, {"a": np.zeros(3)}, 0)
    points = np.round(POINTS_MM / 2) * 2
    render_shard(volume, points, NAMES, PAIRS, views, settings, path, "digest")
    shards = Shards([path])
    return shards, shards.read(np.arange(len(shards))) | {"flip": views.flip.to_numpy()}


def test_balls_are_bright_where_their_landmarks_are(volume, tmp_path):
    path = tmp_path / "0.zarr.zip"
    _, arrays = rendered(volume, dataset(24), path)
    check_shard(path)
    assert arrays["flip"].any()
    assert not arrays["flip"].all()
    for image, points, visible in zip(
        arrays["image"], arrays["landmarks"], arrays["visible"], strict=True
    ):
        assert visible.all()
        for x, y in np.round(points).astype(int):
            assert image[y, x] > 0.5 * image.max()


def test_stored_matrices_project_the_stored_points(volume, tmp_path):
    _, arrays = rendered(volume, dataset(), tmp_path / "0.zarr.zip")
    for K, pose, world, pixels in zip(
        arrays["K"],
        arrays["world_to_camera"],
        arrays["landmarks_world"],
        arrays["landmarks"],
        strict=True,
    ):
        np.testing.assert_allclose(project(K, pose, world), pixels, atol=1e-3)


def test_left_names_stay_on_the_image_right_in_flipped_views(volume, tmp_path):
    settings = dataset(12)
    sampling = {"kind": "sphere", "count": 12, "primary_deg": (-5, 5), "secondary_deg": (-5, 5)}
    view_set = settings.view_sets["train"].model_dump() | {"sampling": sampling}
    settings = Dataset.model_validate(settings.model_dump() | {"view_sets": {"train": view_set}})
    _, arrays = rendered(volume, settings, tmp_path / "0.zarr.zip")
    assert arrays["flip"].any()
    assert (arrays["landmarks"][:, 0, 0] > arrays["landmarks"][:, 2, 0]).all()


def test_mirroring_twice_changes_nothing():
    order = mirror_order(NAMES, PAIRS)
    assert order.tolist() == [2, 1, 0]
    assert order[order].tolist() == [0, 1, 2]


def test_noise_belongs_to_the_view_not_to_the_shard(volume, tmp_path):
    noisy = dataset(physics={"photons_per_px": 500.0})
    sheet = {"a": Subject("a", "p", "ct", "points", "", "train")}
    views = plan_views(noisy, sheet, {"a": np.zeros(3)}, 0)
    arguments = (POINTS_MM, NAMES, PAIRS)
    render_shard(volume, *arguments, views, noisy, tmp_path / "all.zarr.zip", "d")
    render_shard(volume, *arguments, views[3:5], noisy, tmp_path / "some.zarr.zip", "d")
    whole = Shards([tmp_path / "all.zarr.zip"]).read(np.arange(6))["image"]
    part = Shards([tmp_path / "some.zarr.zip"]).read(np.arange(2))["image"]
    np.testing.assert_array_equal(whole[3:5], part)
    assert whole[3].std() > 0


MEMORY = """
import resource, sys
from tests.unit.rendering.test_scene import *
volume = Volume(np.full((20, 20, 20), 40, np.int16), np.diag([5.0, 5, 5, 1]))
sheet = {"a": Subject("a", "p", "ct", "points", "", "train")}
for count in (4, 400):
    settings = dataset(count, detector={"height_px": 200, "width_px": 200, "pixel_mm": 1})
    views = plan_views(settings, sheet, {"a": np.zeros(3)}, 0)
    path = f"{sys.argv[1]}/{count}.zarr.zip"
    render_shard(volume, POINTS_MM, NAMES, PAIRS, views, settings, path, "d")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_views(tmp_path):
    """396 more images of 80 kB, were they kept, would be 31 MB."""
    command = [sys.executable, "-c", MEMORY, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    few, many = map(int, done.stdout.split())
    assert (many - few) / 1024 < 20
