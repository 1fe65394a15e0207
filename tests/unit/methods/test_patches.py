"""Patches: what they show, what is learned from them, and how exactly two stages find drawn beads."""

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
import yaml
from pydantic import ValidationError

from raymark import layout
from raymark.config.method import Augmentation, Method, Training
from raymark.config.project import project_of
from raymark.core.errors import InputError
from raymark.detection.on_files import find_landmarks
from raymark.detection.on_views import located
from raymark.detection.onnx_file import export_onnx
from raymark.imports.stored_image import Xray
from raymark.methods.base import build
from raymark.methods.patches import STRIDE
from raymark.training.model_files import load_model, read_tensors, write_model
from raymark.training.train import train
from raymark.workflow import inputs
from tests.unit.methods.examples import example, tiny
from tests.unit.training.examples import TINY, Blobs, method

SHAPE_YX = (104, 120)
TRIANGLE = np.array([[-18.0, -12.0], [20.0, -6.0], [-2.0, 16.0]])
SECOND = {"size": 32, "pitches_px": [1.0, 0.5], "neighbours": 2, "channels": 8}


WIDTHS_PX, HEIGHTS = (1.5, 3.0, 2.0), (1.0, 0.7, -1.0)


def beads(points_px, shape_yx, size=1.0) -> np.ndarray:
    """Draw beads, each of its own width and height, at points (l, 2), `size` times as large."""
    y, x = np.mgrid[: shape_yx[0], : shape_yx[1]]
    image = np.zeros(shape_yx)
    for (to_x, to_y), width, height in zip(points_px, WIDTHS_PX, HEIGHTS, strict=False):
        away = (x - to_x) ** 2 + (y - to_y) ** 2
        image += height * np.exp(-away / (2 * (size * width) ** 2))
    return image


def triangles(count: int, random: np.random.Generator) -> np.ndarray:
    """Points (count, 3, 2) px of a triangle, turned, scaled and shifted."""
    turn = np.exp(random.uniform(-0.4, 0.4, count) + 1j * random.uniform(-0.4, 0.4, count))
    middle = random.uniform([42, 38], [78, 66], (count, 2))
    points = turn[:, None] * (TRIANGLE @ [1, 1j])
    return np.stack([points.real, points.imag], axis=-1) + middle[:, None]


class Beads(Blobs):
    """Three beads per view, the corners of a triangle."""

    def __init__(self, count: int, seed: int = 0):
        super().__init__(count, SHAPE_YX, seed)
        points = triangles(count, np.random.default_rng([seed, 7]))
        images = np.array([beads(each, SHAPE_YX) for each in points])
        self.arrays |= {"image": images.astype(np.float16), "landmarks": points.astype(np.float32)}


def second(refines: str | None = "unet", **training) -> Method:
    settings = {"epochs": 20, "batch": 4, "learning_rate": 5e-3, "schedule": "cosine", "threads": 1}
    return Method(
        name="second",
        title="second",
        module="patches",
        refines=refines,
        network=SECOND,
        training=Training(**settings | training),
        detection_threshold=0.2,
    )


@pytest.fixture(scope="module")
def coarse(tmp_path_factory):
    """A first stage that sees a quarter of the resolution."""
    recipe = method("unet", epochs=12, learning_rate=1e-2, schedule="cosine", threads=1)
    recipe = recipe.model_copy(update={"reduced_height_px": 26})
    return train(recipe, Beads(48), Beads(8, seed=1), tmp_path_factory.mktemp("coarse"), 0)


@pytest.fixture(scope="module")
def fine(coarse, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fine")
    return train(second(), Beads(48), Beads(16, seed=1), folder, 0, refines=coarse)


def errors_px(path, views) -> np.ndarray:
    """The errors (view, l, 2) of a model file's points."""
    points, _ = located(*load_model(path), views)
    return points[:, :, 0] - views.arrays["landmarks"]


def test_the_second_stage_is_far_more_accurate_and_without_bias(coarse, fine):
    views = Beads(48, seed=2)
    before, after = errors_px(coarse, views), errors_px(fine, views)
    assert np.median(np.linalg.norm(before, axis=-1)) > 0.5
    assert np.median(np.linalg.norm(after, axis=-1)) < 0.15
    assert np.abs(after.mean((0, 1))).max() < 0.1


@pytest.mark.parametrize("size", [0.8, 1.0, 1.7, 2.5])
def test_points_of_a_file_are_exact_whatever_its_size(fine, size):
    """Drawn at other sizes, with pixel borders on borders, as a detector would see them."""
    shape_yx = tuple(round(size * extent) for extent in SHAPE_YX)
    network, model = load_model(fine)
    errors = []
    for points in triangles(16, np.random.default_rng(5)):
        in_file = (points + 0.5) * np.array(shape_yx[::-1]) / SHAPE_YX[::-1] - 0.5
        image = beads(in_file, shape_yx, size).astype(np.float32)
        table = find_landmarks(network, model, Xray(image, model.pixel_mm / size))[0]
        errors.append((table[["x_px", "y_px"]].to_numpy() - in_file) / size)
    assert np.abs(np.mean(errors, axis=(0, 1))).max() < 0.1
    assert np.median(np.linalg.norm(errors, axis=-1)) < 0.2


def test_one_file_holds_both_stages_and_the_first_as_it_was(coarse, fine):
    network, model = load_model(fine)
    assert (model.method, model.module) == ("second", "patches")
    assert (model.first.method, model.first.reduce) == ("unet", 4)
    own, first = read_tensors(fine)[1], read_tensors(coarse)[1]
    for name, weight in first.items():
        assert torch.equal(own[f"first.network.{name}"], weight)
    image = torch.tensor(Beads(2).arrays["image"], dtype=torch.float32)[:, None]
    alone, _ = load_model(coarse)
    expected, _ = alone.decode(alone(image))
    assert torch.equal(network.first_guess(image)[0], expected)


def test_a_first_stage_in_the_file_of_another_module_is_refused(coarse, fine, tmp_path):
    _, model = load_model(fine)
    changes = {"module": "unet", "network": TINY["unet"]}
    write_model(tmp_path / "m", model.model_copy(update=changes), read_tensors(coarse)[1])
    with pytest.raises(InputError, match="has a first stage, which the module 'unet' does not"):
        load_model(tmp_path / "m")


def test_equal_trainings_give_equal_bytes(coarse, tmp_path):
    augmentation = Augmentation(rotation_deg=5, shift_px=3, noise=0.05, flip_probability=0.5)
    recipe = second(epochs=2, augmentation=augmentation)
    paths = [
        train(recipe, Beads(6), Beads(4, seed=1), tmp_path / name, 0, refines=coarse)
        for name in ("a", "b")
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    losses = pd.read_csv(tmp_path / "a" / "losses.csv")
    assert {"train_look_0", "train_look_1"} <= set(losses.columns)


def test_two_processes_agree_with_one(coarse, tmp_path):
    """But for rounding, which Adam makes larger where a gradient is next to none."""
    recipe, views = second(epochs=2, batch=3, learning_rate=1e-3), (Blobs(7), Blobs(3))
    paths = [train(recipe, *views, tmp_path / str(n), 0, n, refines=coarse) for n in (1, 2)]
    single, double = (read_tensors(path)[1] for path in paths)
    for name, weight in single.items():
        torch.testing.assert_close(double[name], weight, atol=5e-4, rtol=1e-3)
    losses = [pd.read_csv(path.parent / "losses.csv").train_loss for path in paths]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)


class Failing(Beads):
    """Views whose storage breaks down after so many reads."""

    reads_left = 4

    def read(self, indices):
        self.reads_left -= 1
        if self.reads_left < 0:
            raise OSError("the disk is gone")
        return super().read(indices)


def test_an_interrupted_second_stage_resumes_to_the_same_bytes(coarse, tmp_path):
    recipe = second(epochs=3)
    whole = train(recipe, Beads(8), Beads(4, seed=1), tmp_path / "a", 0, refines=coarse)
    with pytest.raises(OSError, match="the disk is gone"):
        train(recipe, Failing(8), Beads(4, seed=1), tmp_path / "b", 0, refines=coarse)
    assert (tmp_path / "b" / "checkpoint.safetensors").exists()
    resumed = train(recipe, Beads(8), Beads(4, seed=1), tmp_path / "b", 0, refines=coarse)
    assert resumed.read_bytes() == whole.read_bytes()


def test_missing_landmarks_teach_nothing(coarse, tmp_path):
    """Images lack some landmarks (NaN); what stands in their place changes no weight."""
    paths = []
    for name in ("a", "b"):
        views = Beads(8)
        views.arrays["visible"] = views.arrays["visible"].copy()
        views.arrays["landmarks"][::2, 1] = np.nan if name == "a" else 0.0
        views.arrays["visible"][::2, 1] = name == "a"
        paths.append(train(second(epochs=2), views, views, tmp_path / name, 0, refines=coarse))
    first, other = (read_tensors(path)[1] for path in paths)
    assert all(torch.equal(first[key], other[key]) for key in first)
    assert all(torch.isfinite(value).all() for value in first.values())


def test_an_image_without_any_landmark_has_no_loss_and_no_gradient():
    network, batch = tiny("patches"), example(2)
    batch.visible[:] = False
    loss, _ = network.loss(network(batch.image), batch)
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is None or not p.grad.any() for p in network.parameters())


def test_a_patch_shows_the_image_turned_and_scaled_about_its_point():
    network = build("patches", TINY["patches"] | {"pitches_px": [1.0]}, 1, 0, "test")
    image = torch.tensor(beads([(40.0, 30.0)], (64, 80)), dtype=torch.float32)[None, None]
    angle, size = 0.5, network.config.size
    frame = 0.8 * torch.tensor([np.cos(angle), np.sin(angle)], dtype=torch.float32)
    patch = network.cut(image, torch.tensor([[[36.0, 33.0]]]), frame[None, None], 0.8)[0, 0]
    row, column = divmod(int(patch.argmax()), size)
    expected = (4 - 3j) / (0.8 * np.exp(1j * angle)) + (size - 1) / 2 * (1 + 1j)
    assert abs(column - expected.real) <= 0.5
    assert abs(row - expected.imag) <= 0.5


def test_an_image_smaller_than_the_coarsest_pixel_has_points_all_the_same():
    network = build("patches", TINY["patches"] | {"pitches_px": [9.0]}, 3, 0, "test")
    points, confidence = network.decode(network(torch.rand(1, 1, 16, 20)))
    assert torch.isfinite(points).all()
    assert torch.isfinite(confidence).all()


def test_truth_in_a_map_and_the_point_read_from_it_agree():
    """The least loss there can be is at maps that decode to the truth, frames and all."""
    network, batch = tiny("patches"), example(2)
    network.set_shape(batch.landmarks[0])
    looks = network(batch.image, batch.landmarks + 3.3, torch.ones(2, 3, dtype=torch.bool))
    cells = network.config.size // STRIDE
    at = torch.arange(cells, dtype=torch.float32)
    offset = torch.tensor([4.3, 9.7])
    peak = -((at - offset[1])[:, None].square() + (at - offset[0]).square()) / 2
    looks = looks._replace(logits=peak.expand_as(looks.logits))
    points, confidence = network.decode(looks)
    here = batch.__class__(**vars(batch) | {"landmarks": points})
    least, _ = network.loss(
        looks._replace(
            centres=looks.centres[-1:], frames=looks.frames[-1:], logits=looks.logits[-1:]
        ),
        here,
    )
    chances = torch.distributions.Categorical(logits=peak.flatten())
    assert least.item() == pytest.approx(chances.entropy().item(), rel=1e-3)
    assert (confidence > 0.9).all()


def test_what_the_first_stage_does_not_detect_is_not_detected():
    network, batch = tiny("patches"), example(2)
    seen = torch.tensor([[True, False, True]] * 2)
    _, confidence = network.decode(network(batch.image, batch.landmarks, seen))
    assert (confidence[:, 1] == 0).all()
    assert (confidence[:, [0, 2]] > 0).all()


def test_onnxruntime_refines_as_torch_does(fine, tmp_path):
    words = export_onnx(fine, tmp_path / "m.onnx")
    assert words == "any number of images of any size"
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    network, _ = load_model(fine)
    for count, extra in ((1, 0), (3, 9)):
        image = np.pad(Beads(count).arrays["image"], ((0, 0), (0, extra), (0, 0)))
        image = 40 * image.astype(np.float32)[:, None] + 7
        found = session.run(None, {"image": image})
        with torch.inference_mode():
            expected = network.decode(network(torch.from_numpy(image)))
        np.testing.assert_allclose(found[0], expected[0], atol=0.01)
        np.testing.assert_allclose(found[1], expected[1], atol=1e-3)


def test_what_does_not_fit_together_is_refused(coarse, fine, tmp_path):
    views = Beads(4)
    with pytest.raises(InputError, match="refines is 'unet', and the model given is None"):
        train(second(), views, views, tmp_path, 0)
    with pytest.raises(InputError, match="refines is None"):
        train(second(None), views, views, tmp_path, 0, refines=coarse)
    with pytest.raises(InputError, match="has two stages already: 'second' refines 'unet'"):
        train(second(), views, views, tmp_path, 0, refines=fine)
    plain = second().model_copy(update={"module": "unet", "network": TINY["unet"]})
    with pytest.raises(InputError, match="refines: the module 'unet' is no second stage"):
        train(plain, views, views, tmp_path, 0, refines=coarse)
    views.landmarks = ["left_blob", "right_blob", "nose"]
    with pytest.raises(InputError, match="is for the landmarks left_blob, right_blob, hole, not"):
        train(second(), views, views, tmp_path, 0, refines=coarse)
    with pytest.raises(ValidationError, match="`refines` goes with none of"):
        Method(**second().model_dump() | {"reduced_height_px": 32})


def project(tmp_path, **refined):
    """A project of two methods, `two` and `one`, of which the first has the keys `refined`."""
    for name, module, keys in (("two", "patches", refined), ("one", "unet", {})):
        values = {"name": name, "title": name, "module": module} | keys
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(values))
    files = [str(tmp_path / f"{name}.yaml") for name in ("two", "one")]
    experiment = {"dataset": "pelvis", "method": "two", "evaluate": ["grid"]}
    values = {"methods": files, "experiments": [experiment]}
    return project_of(values | {"datasets": ["config/datasets/pelvis.yaml"]}, "main.yaml")


def test_the_workflow_trains_what_is_refined_first(tmp_path):
    needed = inputs.train(project(tmp_path, refines="one"), "pelvis", "two", 3)
    assert needed["first"] == [layout.MODEL.format(dataset="pelvis", method="one", seed=3)]
    with pytest.raises(InputError, match=r"'two' refines 'none', which is not configured"):
        project(tmp_path, refines="none")
    with pytest.raises(
        InputError, match=r"methods start from each other: two from two.*`refines: "
    ):
        project(tmp_path, refines="two")
