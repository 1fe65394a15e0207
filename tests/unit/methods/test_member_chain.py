"""Chains of members that look alike: named rightly, whatever else is in the image."""

import numpy as np
import onnxruntime
import pytest
import torch

from raymark.core.errors import InputError
from raymark.detection.on_views import located
from raymark.detection.onnx_file import export_onnx
from raymark.geometry.belief_maps import belief_maps
from raymark.landmarks.types import chain_of
from raymark.methods.base import build
from raymark.training.model_files import load_model
from raymark.training.train import train
from tests.unit.methods.examples import example, tiny
from tests.unit.training.examples import Blobs, method

SHAPE_YX = (168, 96)
MEMBERS = 5
TYPES = {
    "right": [f"m{number}_right" for number in range(MEMBERS)],
    "left": [f"m{number}_left" for number in range(MEMBERS)],
}


class Ladder(Blobs):
    """Rungs one below the other, all alike; above the first a bright spot, which tells where they begin.

    Every image shows `more` rungs that are not annotated, below the last of the chain; a `hidden` one it lacks.
    """

    def __init__(self, count: int, seed: int = 0, more: int = 1, hidden: int | None = None):
        super().__init__(count, SHAPE_YX, seed)
        self.landmarks = [f"m{n}_{side}" for n in range(MEMBERS) for side in ("right", "left")]
        self.flip_pairs = [(f"m{n}_left", f"m{n}_right") for n in range(MEMBERS)]
        random = np.random.default_rng([seed, 9])
        spacing = random.uniform(19, 23, (count, 1)) * np.arange(MEMBERS + more)
        tilt = random.uniform(-0.2, 0.2, (count, 1))
        y = random.uniform(26, 34, (count, 1)) + spacing
        x = random.uniform(40, 56, (count, 1)) + tilt * spacing
        half = np.stack([np.ones_like(tilt), -tilt], axis=-1) * 12
        rungs = np.stack([x, y], axis=-1)
        ends = np.stack([rungs - half, rungs + half], axis=2)
        shown = np.arange(MEMBERS + more) != hidden
        image = np.stack([_drawn(points[shown]) for points in ends])
        points = ends[:, :MEMBERS].reshape(count, 2 * MEMBERS, 2)
        visible = np.ones(points.shape[:2], bool)
        self.arrays |= {"image": image, "landmarks": points.astype(np.float32), "visible": visible}
        self.arrays["landmarks_world"] = np.zeros((*visible.shape, 3), np.float32)


def _drawn(ends: np.ndarray) -> np.ndarray:
    """Draw rungs with ends (rung, 2, 2) px, and a spot above the first."""
    y, x = np.mgrid[: SHAPE_YX[0], : SHAPE_YX[1]]
    image = np.zeros(SHAPE_YX)
    for share in np.linspace(0, 1, 13):
        for at_x, at_y in (1 - share) * ends[:, 0] + share * ends[:, 1]:
            image += np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / (2 * 2.0**2))
    top = ends[0].mean(0) - [0, 14]
    return image + 3 * np.exp(-((x - top[0]) ** 2 + (y - top[1]) ** 2) / (2 * 3.0**2))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    recipe = method("member_chain", epochs=40, batch=4, learning_rate=5e-3, schedule="cosine")
    out = tmp_path_factory.mktemp("chain")
    return train(recipe, Ladder(24), Ladder(8, seed=1), out, 0, types=TYPES)


def errors_px(path, samples) -> np.ndarray:
    network, model = load_model(path)
    points, _ = located(network, model, samples)
    return np.linalg.norm(points[:, :, 0] - samples.arrays["landmarks"], axis=-1)


def test_every_member_is_found_under_its_own_name(trained):
    away = errors_px(trained, Ladder(12, seed=2))
    assert np.median(away) < 1.5
    assert (away < 8).mean() > 0.95  # less than half a rung: the right one


def test_further_rungs_do_not_move_the_names(trained):
    assert (errors_px(trained, Ladder(12, seed=3, more=2)) < 8).mean() > 0.9


def test_a_hidden_member_is_placed_by_the_others_and_said_to_be_missing(trained):
    views = Ladder(6, seed=4, hidden=2)
    network, model = load_model(trained)
    points, confidence = located(network, model, views)
    away = np.linalg.norm(points[:, :, 0] - views.arrays["landmarks"], axis=-1)
    hidden = np.isin(np.arange(2 * MEMBERS), (4, 5))
    assert (away[:, ~hidden] < 8).mean() > 0.85
    assert np.median(away[:, hidden]) < 8
    assert confidence[:, hidden].max() < confidence[:, ~hidden].min() + 0.3
    assert np.median(confidence[:, hidden]) < 0.2


def test_onnx_gives_the_same_points(trained, tmp_path):
    images = export_onnx(trained, tmp_path / "m.onnx")
    assert images.startswith("any number of images")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    image = Ladder(3, seed=5).arrays["image"].astype(np.float32)[:, None]
    points, confidence = session.run(None, {"image": image})
    network, model = load_model(trained)
    expected = located(network, model, Ladder(3, seed=5))
    np.testing.assert_allclose(points, expected[0][:, :, 0], atol=0.01)
    np.testing.assert_allclose(confidence, expected[1][:, :, 0], atol=1e-4)


def test_members_are_what_the_types_list_at_the_same_place():
    names = ["b1", "a0", "b0", "a1", "other", "b2"]
    types = {"a": ["a0", "a1", "a2"], "b": ["b0", "b1", "b2"], "unused": ["c0"]}
    assert chain_of(names, types) == [[1, 2], [3, 0], [None, 5]]
    assert chain_of(names, {}) == []
    assert chain_of(names, {"a": ["a0", "a1"], "b": ["b0"]}) == []


@pytest.mark.parametrize(
    ("types", "name"), [({}, "m0_right"), ({"right": TYPES["right"]}, "m0_left"),
                        ({"right": TYPES["right"], "left": TYPES["left"][1:]}, "m0_right")]
)  # fmt: skip
def test_landmarks_of_no_chain_are_refused(types, name, tmp_path):
    with pytest.raises(InputError, match=f"'{name}' is in none.*`types`"):
        train(method("member_chain"), Ladder(4), Ladder(4), tmp_path, 0, types=types)


def test_a_member_lacks_a_part_and_decodes_all_the_same():
    network = build("member_chain", {"channels": 8, "chain": [[0, 2], [None, 1]]}, 3, 0, "test")
    network.learn_from(torch.rand(9, 3, 2) * 50)
    points, confidence = network.eval().decode(network(example().image))
    assert points.shape == (2, 3, 2)
    # Landmarks 0 and 2 are of one member, 1 of the other.
    assert torch.equal(confidence[:, 0], confidence[:, 2])


def test_the_loss_is_least_where_the_output_is_the_truth():
    network, batch = tiny("member_chain"), example()
    output = network(batch.image)
    rows, columns = output.logits.shape[-2:]
    near = belief_maps(batch.landmarks, batch.visible, batch.image.shape[-2:], 4, 4.0)
    beliefs = torch.cat([near, (1 - near.sum(1, keepdim=True)).clamp_min(0)], dim=1)
    y, x = 4 * torch.arange(rows)[:, None] + 1.5, 4 * torch.arange(columns) + 1.5
    nearest = near.argmax(1)
    to_x = batch.landmarks[..., 0].gather(1, nearest.flatten(1)).view_as(nearest) - x
    to_y = batch.landmarks[..., 1].gather(1, nearest.flatten(1)).view_as(nearest) - y
    true = type(output)(beliefs.clamp_min(1e-6).log(), torch.stack([to_x, to_y], dim=1)[:, None])
    _, parts = network.loss(true, batch)
    assert parts["vectors"] < 1e-4
    assert parts["members"] < network.loss(output, batch)[1]["members"]
    for change in torch.randn(5, *true.logits.shape, generator=torch.manual_seed(0)):
        other = network.loss(type(output)(true.logits + 0.1 * change, true.vectors), batch)[1]
        assert other["members"] > parts["members"]
    network.learn_from(60 * torch.rand(40, 3, 2))
    points, confidence = network.decode(true)
    away = (points - batch.landmarks).norm(dim=-1)
    assert away.median() < 0.01
    assert away.max() < 4.0  # where two members are near each other, cells between look to either
    assert confidence.min() > 0.5
