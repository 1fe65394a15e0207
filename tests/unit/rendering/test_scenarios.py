"""View sets that depart from the standard image: a collimator, tools."""

import numpy as np
import pandas as pd
import pytest

from raymark.config.dataset import Dataset, ViewSet
from raymark.config.method import Method
from raymark.config.project import Config, Project
from raymark.config.subjects import Subject
from raymark.core.seeds import generator
from raymark.ct import Volume
from raymark.datasets.shards import Shards, read_attributes
from raymark.evaluation.errors import evaluate_mean_position, read_errors
from raymark.figures import figure_names
from raymark.rendering.scene import Scene, render_shard, scenario_of
from raymark.views.plan import (
    camera_of,
    detector_of,
    plan_views,
    read_views,
    with_seen_in_training,
    write_views,
)
from tests.oracles import Ellipsoid, grid

SHAPE_XYZ = (30, 28, 26)
AFFINE = grid("RAS", SHAPE_XYZ, (5.0, 5.0, 5.0), np.zeros(3))
NAMES = ["middle", "left_end", "right_end"]
WORLD_MM = np.array([[0.0, 0, 0], [-45, 0, 0], [45, 0, 0]])
POSE = {"kind": "orbit", "count": 3, "primary_deg": (-20, 20)}
PLAIN = {"of": "train", "role": "evaluate", "sampling": POSE}
DATASET = Dataset.model_validate(
    {
        "name": "balls",
        "title": "Balls",
        "subjects": ["a"],
        "landmarks": "balls.yaml",
        "use_landmarks": NAMES,
        "detector": {"height_px": 61, "width_px": 81, "pixel_mm": 2.5},
        "physics": {"photons_per_px": 1e6},
        "view_sets": {
            "train": {"of": "train", "role": "train", "sampling": {"kind": "sphere", "count": 4}},
            "standard": PLAIN,
            "truncated": PLAIN | {"field_of_view_share": 0.5, "title": "truncated field of view"},
            "tool": PLAIN | {"tools": {"count": (2, 2), "diameter_mm": (6, 8)}},
        },
    }
)


@pytest.fixture(scope="module")
def volume() -> Volume:
    bodies = [Ellipsoid(np.zeros(3), np.diag([60.0, 55, 50]), 1.0)]
    bodies += [Ellipsoid(point, np.eye(3) * 7, 0.8) for point in WORLD_MM]
    density = sum(body.voxelised(SHAPE_XYZ, AFFINE, 2) for body in bodies)
    return Volume(np.rint(1000 * density - 1000).astype(np.int16), AFFINE)


@pytest.fixture(scope="module")
def views() -> pd.DataFrame:
    sheet = {"a": Subject("a", "p", "ct", "points", "", "train")}
    table = plan_views(DATASET, sheet, {"a": np.zeros(3)}, 0)
    standard = table[table["view_set"] == "standard"].reset_index()
    for name in ("truncated", "tool"):  # the same noise
        table.loc[table["view_set"] == name, "seed"] = standard["seed"].to_numpy()
    return table


@pytest.fixture(scope="module")
def folder(volume, views, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenarios")
    write_views(folder / "views.parquet", views)
    for name, rows in views.groupby("view_set"):
        path = folder / f"{name}.zarr.zip"
        render_shard(volume, WORLD_MM, NAMES, [], rows, DATASET, path, "digest")
    return folder


def read(folder, name) -> dict:
    shards = Shards([folder / f"{name}.zarr.zip"])
    return shards.read(np.arange(len(shards)))


def test_the_standard_image_is_rendered_as_ever(folder, volume, views):
    """Nothing but the projection, the detector and the view's noise."""
    scene = Scene(volume, WORLD_MM, NAMES, [], DATASET)
    rows = views[views["view_set"] == "standard"]
    for image, view in zip(read(folder, "standard")["image"], rows.itertuples(), strict=True):
        projected = scene.projector.project(camera_of(view, detector_of(DATASET.detector)))
        expected = scene.detection.log_image(projected, generator("noise", view.seed))
        assert (image == expected).all()
    assert "scenario" not in read_attributes(folder / "standard.zarr.zip")


def test_a_collimated_image_is_the_middle_of_the_whole_one(volume, views):
    quiet = DATASET.physics.model_copy(update={"photons_per_px": None})
    scene = Scene(volume, WORLD_MM, NAMES, [], DATASET.model_copy(update={"physics": quiet}))
    for row in range(3):
        whole, middle = (
            scene.render(views[views["view_set"] == name].iloc[row])
            for name in ("standard", "truncated")
        )
        assert middle["image"].shape == (31, 41)
        cut = whole["image"][15:-15, 20:-20].astype(float)
        np.testing.assert_allclose(middle["image"].astype(float), cut, atol=0.01 * cut.max())
        np.testing.assert_allclose(middle["landmarks"], whole["landmarks"] - [20, 15], atol=1e-4)


def test_what_the_collimator_covers_is_not_visible(folder):
    whole, middle = read(folder, "standard"), read(folder, "truncated")
    assert whole["visible"].all()
    assert middle["visible"][:, 0].all()
    assert not middle["visible"][:, 1:].any()
    shards = Shards([folder / "truncated.zarr.zip"])
    assert shards.shape_yx == (31, 41)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.61, 0.999, 1.0])
def test_blades_cover_as_much_on_either_side(share):
    whole, left = (detector_of(DATASET.detector, s) for s in (1.0, share))
    for side in ("height_px", "width_px"):
        size, rest = getattr(whole, side), getattr(left, side)
        assert (size - rest) % 2 == 0
        assert abs(rest - share * size) <= 1


def test_tools_darken_nothing_and_hide_no_landmark(folder):
    plain, tool = read(folder, "standard"), read(folder, "tool")
    added = tool["image"].astype(float) - plain["image"].astype(float)
    for image in added:  # −ln of the signal rises where metal is
        touched = np.abs(image) > 0
        assert 0.005 < touched.mean() < 0.4
        assert image[touched].min() > -0.1  # noise
        assert image.max() > 1
    for name in ("landmarks", "visible", "landmarks_world", "K", "world_to_camera"):
        assert (plain[name] == tool[name]).all()
    scenario = read_attributes(folder / "tool.zarr.zip")["scenario"]
    assert scenario["tools"]["metal"] == "steel"
    assert "field_of_view_share" not in scenario


def test_a_scenario_is_what_departs_from_the_standard(views):
    found = {name: scenario_of(DATASET, rows) for name, rows in views.groupby("view_set")}
    assert found["standard"] == found["train"] == {}
    assert found["truncated"] == {"field_of_view_share": 0.5}
    assert list(found["tool"]) == ["tools"]


def test_the_mean_position_counts_from_the_images_middle(folder):
    """Landmarks are seen at the same places; the baseline must not err by the covered border."""
    errors = {}
    for name in ("standard", "truncated"):
        paths = [folder / "train.zarr.zip"], [folder / f"{name}.zarr.zip"]
        out = folder / f"{name}.parquet"
        views = with_seen_in_training(read_views(folder / "views.parquet"), DATASET.view_sets)
        evaluate_mean_position(*paths, views, DATASET, out)
        errors[name] = read_errors([out])["error_px"].to_numpy()
    np.testing.assert_allclose(errors["truncated"], errors["standard"], atol=1e-3)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"field_of_view_share": 0}, "greater than 0"),
        ({"field_of_view_share": 1.2}, "less than or equal to 1"),
        ({"tools": {"count": (3, 1)}}, "fewest first"),
        ({"tools": {"diameter_mm": (0, 1)}}, "above 0"),
        ({"tools": {"metal": "lead"}}, "steel"),
    ],
)
def test_scenarios_that_cannot_be_are_refused(change, problem):
    with pytest.raises(ValueError, match=problem):
        ViewSet.model_validate(PLAIN | change)


def test_scenarios_have_titles_and_one_capture_range_is_measured():
    scenarios = ["standard", "truncated", "tool"]
    experiment = {
        "dataset": "balls",
        "method": "cpm",
        "evaluate": scenarios,
        "poses": scenarios,
        "capture_range": ["standard"],
    }
    config = Config(datasets=["balls.yaml"], methods=["cpm.yaml"], experiments=[experiment])
    method = Method(name="cpm", title="CPM", module="cpm")
    project = Project(config, {"balls": DATASET}, {"cpm": method})
    assert project.view_set_title("balls", "truncated") == "truncated field of view"
    assert project.view_set_title("balls", "standard") == "standard"
    assert len(project.pose_places()) == 3
    assert project.capture_places() == [{"dataset": "balls", "view_set": "standard"}]
    names = figure_names(project)
    assert [n for n in names if "stages" in n] == ["belief_stages-balls-cpm-standard"]
    assert "pose_verification-balls-cpm-tool" in names
    assert [n for n in names if "belief_error" in n] == ["belief_error-balls-cpm-standard"]
