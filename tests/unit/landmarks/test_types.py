"""Landmark types: what shares a channel, how instances are found in it, named and counted."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raymark.config.method import ByType as Finding
from raymark.core.errors import InputError
from raymark.detection.on_views import found, located, predict
from raymark.evaluation.errors import errors_table, measured, views_alike
from raymark.geometry.belief_maps import belief_maps, cell_to_px
from raymark.landmarks.table import LandmarkSet
from raymark.landmarks.types import assigned, channels_of
from raymark.methods.base import squared_errors, target_maps
from raymark.metrics.detection import correct_keypoints
from raymark.metrics.instances import counted, image_pck, of_images
from raymark.training.batches import ByType, batches
from raymark.training.model_files import load_model
from raymark.training.train import train
from tests.unit.training.examples import Blobs, method

TYPES = {"blob": ["left_blob", "right_blob"]}
HEAT_MAPS = ["deeplabv3", "landmarknet", "prm"]


def batch_of(samples, count=2):
    return next(batches(samples, [np.arange(count)], torch.device("cpu")))


# declared


def test_types_name_landmarks_once():
    marks = [{"name": name} for name in ("tip_a", "tip_b", "carina")]
    declared = LandmarkSet(name="x", landmarks=marks, types={"tip": ["tip_a", "tip_b"]})
    assert declared.types == {"tip": ["tip_a", "tip_b"]}
    for types, problem in (
        ({"tip": ["tip_c"]}, "not among the landmarks"),
        ({"tip": ["tip_a"], "end": ["tip_a"]}, "two types"),
        ({"carina": ["tip_a"]}, "name of a landmark"),
    ):
        with pytest.raises(ValueError, match=problem):
            LandmarkSet(name="x", landmarks=marks, types=types)


def test_channels_keep_the_landmarks_order():
    channels = channels_of(["a1", "carina", "a2"], {"a": ["a0", "a1", "a2"]})
    assert channels == {"a": ["a1", "a2"], "carina": ["carina"]}
    assert channels_of(["x", "y"], {}) == {"x": ["x"], "y": ["y"]}


# in a network


def test_the_target_is_the_highest_gaussian_of_the_visible():
    batch = batch_of(ByType(Blobs(2), TYPES))
    visible = batch.visible.clone()
    visible[0, 1] = False
    batch = replace(batch, visible=visible)
    maps = target_maps(batch, 4, 5.0)
    assert maps.shape[1] == 2
    cells = cell_to_px(np.indices(maps.shape[-2:]).astype(float), 4)  # (y, x)
    points = batch.landmarks.numpy()
    for view, members in ((0, [0]), (1, [0, 1])):
        squares = [
            (cells[1] - points[view, m, 0]) ** 2 + (cells[0] - points[view, m, 1]) ** 2
            for m in members
        ]
        expected = np.exp(-np.min(squares, axis=0) / 50)
        np.testing.assert_allclose(maps[view, 0], expected, atol=1e-5)
    alone = replace(batch, channels=None)
    np.testing.assert_array_equal(maps[:, 1], target_maps(alone, 4, 5.0)[:, 2])


def test_a_shared_channels_point_is_measured_from_the_nearest_visible():
    batch = batch_of(ByType(Blobs(1), TYPES), 1)
    points = torch.stack(
        [batch.landmarks[:, 1] + torch.tensor([3.0, 4.0]), batch.landmarks[:, 2]], 1
    )
    near = (points[0, 0] - batch.landmarks[0, :2]).square().sum(-1)
    assert squared_errors(points, batch).tolist() == pytest.approx([near.min().item(), 0.0])
    hidden = replace(batch, visible=torch.tensor([[True, False, False]]))
    assert squared_errors(points, hidden).tolist() == pytest.approx([near[0].item()])


class Exact(torch.nn.Module):
    """A network that knows where the landmarks are: its maps are their true ones."""

    stride = 2

    def __init__(self, points_px, members, shape_yx):
        super().__init__()
        points = torch.tensor(points_px, dtype=torch.float32)[None]
        visible = torch.ones(1, len(points_px), dtype=torch.bool)
        maps = belief_maps(points, visible, shape_yx, self.stride, 4.0)
        self.belief = torch.stack([maps[:, m].amax(1) for m in members], 1)

    def forward(self, image):
        return self.belief

    def maps(self, output):
        return output

    def decode(self, output):
        from raymark.geometry import decoding

        cell, value = decoding.maximum(output)
        return cell_to_px(decoding.refined_log_quadratic(output, cell), self.stride), value


def model_of(landmarks, **changes):
    from tests.unit.detection.test_on_files import model

    finding = Finding(at_most=4, distance_px=6)
    changes = {"by_type": finding, "types": ["tip"], "detection_threshold": 0.5} | changes
    return model(landmarks=landmarks, flip_pairs=[], **changes)


def test_every_gaussian_is_found_where_it_is():
    points = [(20.3, 30.8), (52.1, 31.4), (36.0, 70.6), (64.5, 12.2)]
    network = Exact(points, [[0, 1, 2], [3]], (96, 96))
    xy, confidence = found(network, model_of(["tip", "carina"]), torch.rand(1, 1, 96, 96))
    assert xy.shape == (1, 2, 4, 2)
    tips = xy[0, 0].numpy()
    assert np.isnan(tips[3]).all()
    order, true = assigned(tips[:3], np.array(points[:3]))
    np.testing.assert_allclose(tips[:3][order], np.array(points[:3])[true], atol=0.05)
    assert (confidence[0, 0, :3] > 0.9).all()
    np.testing.assert_allclose(xy[0, 1, 0], points[3], atol=0.05)
    assert torch.isnan(xy[0, 1, 1:]).all()  # the carina is one


def test_no_more_than_allowed_and_none_near_another():
    points = [(20.0, 30.0), (20.0, 42.0), (60.0, 60.0), (5.0, 70.0)]
    network = Exact(points, [[0, 1, 2], [3]], (96, 96))
    image = torch.rand(1, 1, 96, 96)
    apart = model_of(["tip", "carina"], by_type=Finding(at_most=4, distance_px=20))
    assert torch.isfinite(found(network, apart, image)[0][0, 0, :, 0]).sum() == 2
    few = model_of(["tip", "carina"], by_type=Finding(at_most=2, distance_px=6))
    assert found(network, few, image)[0].shape[2] == 2


def test_below_the_threshold_the_surest_point_is_kept_undetected():
    network = Exact([(20.0, 30.0), (5.0, 70.0)], [[0], [1]], (96, 96))
    strict = model_of(["tip", "carina"], detection_threshold=1.5)
    xy, confidence = found(network, strict, torch.rand(1, 1, 96, 96))
    np.testing.assert_allclose(xy[0, 0, 0], [20.0, 30.0], atol=0.1)
    assert confidence[0, 0, 0] < 1.5
    assert torch.isnan(xy[0, :, 1:]).all()


@pytest.mark.parametrize("module", HEAT_MAPS)
def test_from_training_to_predictions_both_blobs_share_a_channel(module, tmp_path):
    samples = Blobs(8)
    typed = method(module, epochs=1)
    typed = typed.model_copy(update={"by_type": Finding(at_most=3, distance_px=4)})
    path = train(typed, samples, samples, tmp_path, seed=0, types=TYPES)
    network, model = load_model(path)
    assert model.landmarks == ["blob", "hole"]
    assert model.types == ["blob"]
    points, _ = located(network, model, samples)
    assert points.shape == (8, 2, 3, 2)
    assert np.isfinite(points[:, :, 0]).all()
    predict(path, samples, tmp_path / "p.parquet", "d", "v")
    table = pd.read_parquet(tmp_path / "p.parquet")
    assert set(table["landmark"]) == {"blob", "hole"}
    assert table[table["instance"] > 0]["detected"].all()
    assert (table[table["landmark"] == "hole"]["instance"] == 0).all()


def test_a_method_without_belief_maps_refuses(tmp_path):
    typed = method("dsnt").model_copy(update={"by_type": Finding()})
    with pytest.raises(InputError, match="by_type: the module 'dsnt' has no belief maps"):
        train(typed, Blobs(2), Blobs(2), tmp_path, seed=0, types=TYPES)


# paired with the truth

points_px = st.lists(st.tuples(*[st.integers(0, 60)] * 2), min_size=0, max_size=5)


@settings(max_examples=100, deadline=None)
@given(points_px, points_px)
def test_pairs_add_up_to_the_least_of_all_pairings(first, second):
    found_px, true_px = (np.array(p, float).reshape(-1, 2) for p in (first, second))
    rows, columns = assigned(found_px, true_px)
    assert len(set(rows)) == len(set(columns)) == min(len(first), len(second))
    total = np.linalg.norm(found_px[rows] - true_px[columns], axis=1).sum()
    few, many = sorted((found_px, true_px), key=len)
    every = (
        np.linalg.norm(few - many[list(chosen)], axis=1).sum()
        for chosen in itertools.permutations(range(len(many)), len(few))
    )
    assert total == pytest.approx(min(every))


VIEWS = pd.DataFrame(
    {"dataset": "d", "view_set": "s", "view": ["v0", "v1"], "subject": "p", "patient": ["P", "Q"],
     "primary_deg": 0.0, "secondary_deg": 0.0, "source_to_isocentre_mm": 750.0,
     "source_to_detector_mm": 1500.0, "seen_in_training": True}
)  # fmt: skip
TIPS = {"tip": ["t1", "t2", "t3"]}


def truth_table():
    """Three tips in a column and a carina; in v1 the third tip is outside the image."""
    rows = [(v, n, x, y) for v in ("v0", "v1")
            for n, x, y in (("t1", 10, 10), ("t2", 10, 30), ("t3", 10, 50), ("carina", 40, 30))]  # fmt: skip
    table = pd.DataFrame(rows, columns=["view", "landmark", "x_true_px", "y_true_px"])
    return table.assign(visible=~((table["view"] == "v1") & (table["landmark"] == "t3")))


def predictions_of(instances):
    """Rows of (view, landmark, x, y, confidence); instances are numbered as they come."""
    table = pd.DataFrame(instances, columns=["view", "landmark", "x_px", "y_px", "confidence"])
    table["instance"] = table.groupby(["view", "landmark"]).cumcount()
    return table.assign(
        dataset="d", method="m", seed=0, view_set="s", subject="p",
        detected=table["confidence"] >= 0.5,
    )  # fmt: skip


FOUND = [
    # v0: the third tip is 3 px off, the first 1 px off, the second missed
    ("v0", "tip", 10, 53, 0.9), ("v0", "tip", 11, 10, 0.8), ("v0", "carina", 40, 34, 0.9),
    # v1: both tips, and one that is not there
    ("v1", "tip", 10, 30, 0.9), ("v1", "tip", 10, 10, 0.8), ("v1", "tip", 50, 5, 0.7),
    ("v1", "carina", 40, 30, 0.9),
]  # fmt: skip


def errors_of(found_rows=FOUND):
    return errors_table(predictions_of(found_rows), truth_table(), VIEWS, 0.5, types=TIPS)


def test_instances_get_the_names_of_what_they_are_nearest():
    errors = errors_of().set_index(["view", "landmark"])
    assert errors.loc[("v0", "t1"), "error_px"] == 1.0
    assert errors.loc[("v0", "t3"), "error_px"] == 3.0
    missed = errors.loc[("v0", "t2")]
    assert (missed["visible"], missed["detected"]) == (True, False)
    assert np.isnan(missed["error_px"])
    false = errors.loc[("v1", "tip")]
    assert (false["visible"], false["detected"], false["instance"]) == (False, True, 2)
    assert not errors.loc[("v1", "t3"), "detected"]
    assert errors.loc[("v0", "carina"), "error_px"] == 4.0
    assert len(errors) == 9
    assert len(measured(errors_of())) == 9


def test_an_undetected_point_is_paired_with_nothing():
    errors = errors_of([("v0", "tip", 10, 10, 0.1), *FOUND[2:]]).set_index(["view", "landmark"])
    assert not errors.loc["v0"].loc[["t1", "t2", "t3", "tip"], "detected"].any()
    assert errors.loc[("v0", "t1"), "visible"]


def test_a_view_without_predictions_of_a_type_is_refused():
    with pytest.raises(InputError, match="no prediction for landmark 't1' of view 'v0'"):
        errors_of([row for row in FOUND if row[:2] != ("v0", "tip")])
    with pytest.raises(InputError, match="do not hold"):
        errors_of([*FOUND, ("v9", "tip", 1, 1, 0.9)])


# counted


def test_by_landmark_by_image_and_how_many():
    errors = errors_of()
    tips = errors[errors["landmark"] != "carina"]
    seen = tips[tips["visible"]]
    columns = [seen[key].to_numpy() for key in ("error_px", "visible", "detected")]
    assert correct_keypoints(*columns, 2.0).value == pytest.approx(3 / 5)
    images = of_images(tips, 2.0)
    assert images["shown"].tolist() == [3, 2]
    assert images["found"].tolist() == [2, 3]
    assert image_pck(images).value == 1.0
    assert image_pck(of_images(tips, 0.5)).value == 0.5
    assert counted(images).value == 0.0
    carina = errors[errors["landmark"] == "carina"]
    assert counted(of_images(carina, 2.0)).value == 1.0


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=12))
def test_with_one_landmark_in_every_image_both_pcks_agree(rows):
    """And with several of equal number in every image, by image is never the lower."""
    error, detected = (np.array(column) for column in zip(*rows, strict=True))
    table = pd.DataFrame({"seed": 0, "patient": "P", "subject": "p", "error_px": error.astype(float),
                          "visible": True, "detected": detected})  # fmt: skip
    by_landmark = correct_keypoints(error, np.full(len(error), True), detected, 8.0).value
    alone = table.assign(view=[f"v{i}" for i in range(len(table))])
    assert image_pck(of_images(alone, 8.0)).value == pytest.approx(by_landmark)
    together = table.assign(view="v")
    assert image_pck(of_images(together, 8.0)).value >= by_landmark


def test_the_mean_position_is_of_training_views_of_that_direction():
    views = pd.DataFrame(
        {
            "view": ["a0", "a90", "n0", "n90"],
            "view_set": ["train_0", "train_90", "novel_0", "novel_90"],
            "primary_deg": [3.0, 88.0, -2.0, 91.0],
            "secondary_deg": 0.0,
        }
    )
    assert views_alike(views, ["a0", "a90"], ["n0"]) == {"a0"}
    assert views_alike(views, ["a0", "a90"], ["n90"]) == {"a90"}
    unknown = views.assign(primary_deg=np.nan, secondary_deg=np.nan)
    assert views_alike(unknown, ["a0", "a90"], ["n0"]) == {"a0", "a90"}
