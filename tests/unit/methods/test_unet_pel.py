import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from raymark.config.method import Method, Training
from raymark.config.project import project_of
from raymark.core.errors import InputError
from raymark.geometry.belief_maps import belief_maps
from raymark.methods import unet, unet_pel
from raymark.methods._pose_loss import pose_estimation_loss
from raymark.methods.base import build
from raymark.training.model_files import load_model, read_tensors
from raymark.training.train import train
from tests.unit.methods.examples import example, tiny
from tests.unit.training.examples import TINY, Blobs, method

POSE_ONLY = TINY["unet_pel"] | {"segmentation_weight": 0, "pose_weight": 1}


def logits_at(points, stride=1, shape_yx=(52, 60)):
    """Logits whose softmax is a Gaussian of 2 px about each of `points`."""
    shown = torch.ones(points.shape[:2], dtype=torch.bool)
    return belief_maps(points, shown, shape_yx, stride, 2.0).clamp_min(1e-30).log()


def test_the_network_is_the_baselines():
    plain, trained = tiny("unet"), tiny("unet_pel")
    assert trained.forward.__func__ is unet.Network.forward
    assert trained.decode.__func__ is unet.Network.decode
    assert all(
        torch.equal(weight, trained.state_dict()[name])
        for name, weight in plain.state_dict().items()
    )


def test_the_loss_is_the_weighted_sum_of_its_two_parts():
    batch = example(2)
    config = unet_pel.Config(
        **{**TINY["unet_pel"], "segmentation_weight": 0.5, "pose_weight": 0.25, "stride": 2}
    )
    network = unet_pel.Network(config, 3)
    moved = batch.landmarks + torch.tensor([[[3.0, 1.0], [-2.0, 0.5], [0.0, -4.0]]])
    output = logits_at(moved, stride=2)
    cross_entropy, _ = unet.Network(unet.Config(depth=3, radius_px=3, stride=2), 3).loss(
        output, batch
    )
    distance = pose_estimation_loss(moved, batch, config.pose)
    assert distance > 1
    loss, parts = network.loss(output, batch)
    assert parts["segmentation"].item() == pytest.approx(0.5 * cross_entropy.item(), rel=1e-6)
    assert parts["pose"].item() == pytest.approx(0.25 * distance.item(), rel=1e-2)
    assert loss.item() == pytest.approx(sum(parts.values()).item())
    alone, parts = build("unet_pel", POSE_ONLY | {"stride": 2}, 3, 0, "test").loss(output, batch)
    assert list(parts) == ["pose"]
    assert alone.item() == pytest.approx(distance.item(), rel=1e-2)


def test_the_temperature_sharpens_the_points():
    batch = example(2)
    flat = 0.02 * logits_at(batch.landmarks)
    losses = [
        build("unet_pel", POSE_ONLY | {"pose": pose}, 3, 0, "test").loss(flat, batch)[0].item()
        for pose in (
            {"least_landmarks": 3},
            {"least_landmarks": 3, "temperature": 0.02},
        )
    ]
    assert losses[1] < 0.1 < losses[0]


def test_the_pose_loss_alone_moves_logits_to_the_landmarks():
    batch = example(4)
    network = build("unet_pel", POSE_ONLY, 3, 0, "test")
    moved = (batch.landmarks + 5.0).requires_grad_()
    optimizer = torch.optim.Adam([moved], lr=0.3)
    for _ in range(40):
        loss, _ = network.loss(logits_at(moved), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (moved - batch.landmarks).norm(dim=-1).max() < 1.5


def test_gradients_are_finite_in_and_out_of_half_precision():
    network, batch = build("unet_pel", POSE_ONLY, 3, 0, "test"), example()
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = network.loss(network(batch.image), batch)
    loss.backward()
    assert loss.dtype == torch.float32
    grads = [p.grad for p in network.parameters()]
    assert all(g.isfinite().all() for g in grads)
    assert sum(g.abs().sum() for g in grads) > 0


def test_weights_of_nothing_are_refused():
    wrong = TINY["unet_pel"] | {"segmentation_weight": 0, "pose_weight": 0}
    with pytest.raises(InputError, match="must not both be 0"):
        build("unet_pel", wrong, 3, 0, "test")


def finetuned(**training) -> Method:
    settings = {"epochs": 1, "batch": 4, "learning_rate": 1e-3} | training
    return Method(
        name="finetuned",
        title="fine-tuned",
        module="unet_pel",
        network=POSE_ONLY,
        start_from="unet",
        training=Training(**settings),
    )


@pytest.fixture(scope="module")
def baseline(tmp_path_factory) -> Path:
    """A baseline that has learned eight images."""
    recipe = method("unet", epochs=40, learning_rate=1e-2, schedule="cosine")
    return train(recipe, Blobs(8), Blobs(8), tmp_path_factory.mktemp("baseline"), 0)


def test_fine_tuning_starts_from_the_baselines_weights(baseline, tmp_path):
    recipe = finetuned(learning_rate=1e-12)
    path = train(recipe, Blobs(8), Blobs(8), tmp_path, 0, start_from=baseline)
    first, weights = read_tensors(baseline)[1], read_tensors(path)[1]
    assert all(torch.allclose(first[name], w, atol=1e-6) for name, w in weights.items())
    before = pd.read_csv(baseline.parent / "losses.csv").validation_rmse_px.min()
    after = pd.read_csv(tmp_path / "losses.csv").validation_rmse_px.iloc[0]
    assert after == pytest.approx(before, rel=1e-3)
    assert load_model(path)[1].module == "unet_pel"


def test_fine_tuning_lowers_the_pose_loss(baseline, tmp_path):
    recipe = finetuned(epochs=6)
    train(recipe, Blobs(8), Blobs(8), tmp_path, 0, start_from=baseline)
    losses = pd.read_csv(tmp_path / "losses.csv")
    assert losses.validation_loss.iloc[-1] < 0.8 * losses.train_loss.iloc[0]
    assert losses.validation_rmse_px.iloc[-1] < 4


class Failing(Blobs):
    """Views whose storage breaks down after so many reads."""

    reads_left = 3

    def read(self, indices):
        self.reads_left -= 1
        if self.reads_left < 0:
            raise OSError("the disk is gone")
        return super().read(indices)


def test_interrupted_fine_tuning_resumes_to_the_same_bytes(baseline, tmp_path):
    recipe = finetuned(epochs=3)
    whole = train(recipe, Blobs(8), Blobs(4), tmp_path / "a", 0, start_from=baseline)
    with pytest.raises(OSError, match="the disk is gone"):
        train(recipe, Failing(8), Blobs(4), tmp_path / "b", 0, start_from=baseline)
    assert len(pd.read_csv(tmp_path / "b" / "losses.csv")) == 1
    resumed = train(recipe, Blobs(8), Blobs(4), tmp_path / "b", 0, start_from=baseline)
    assert resumed.read_bytes() == whole.read_bytes()


def test_a_checkpoint_of_another_first_model_is_not_resumed(baseline, tmp_path):
    recipe = finetuned(epochs=2)
    with pytest.raises(OSError, match="the disk is gone"):
        train(recipe, Failing(8), Blobs(4), tmp_path, 0, start_from=baseline)
    other = train(method("unet", epochs=1), Blobs(4), Blobs(4), tmp_path / "other", 5)
    resumed = train(recipe, Blobs(8), Blobs(4), tmp_path, 0, start_from=other)
    fresh = train(recipe, Blobs(8), Blobs(4), tmp_path / "fresh", 0, start_from=other)
    assert resumed.read_bytes() == fresh.read_bytes()
    from_baseline = train(recipe, Blobs(8), Blobs(4), tmp_path / "b", 0, start_from=baseline)
    assert load_model(from_baseline)[1].provenance != load_model(fresh)[1].provenance


def test_a_first_model_that_does_not_fit_is_refused(baseline, tmp_path):
    views = Blobs(4)
    with pytest.raises(InputError, match="start_from is 'unet', and the model given is None"):
        train(finetuned(), views, views, tmp_path, 0)
    with pytest.raises(InputError, match="start_from is None"):
        train(method("unet"), views, views, tmp_path, 0, start_from=baseline)
    wide = finetuned().model_copy(update={"network": POSE_ONLY | {"channels": 16}})
    with pytest.raises(InputError, match="'unet' has other layers"):
        train(wide, views, views, tmp_path, 0, start_from=baseline)
    views.landmarks = ["left_blob", "right_blob", "nose"]
    with pytest.raises(InputError, match="is for the landmarks left_blob, right_blob, hole, not"):
        train(finetuned(), views, views, tmp_path, 0, start_from=baseline)
    with pytest.raises(InputError, match=r"none\.safetensors: is missing"):
        train(finetuned(), views, views, tmp_path, 0, start_from=tmp_path / "none.safetensors")


def project(tmp_path, starts: dict[str, str | None]):
    files = []
    for name, start in starts.items():
        values = {"name": name, "title": name, "module": "unet", "start_from": start}
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(values))
        files.append(str(path))
    first = next(iter(starts))
    experiment = {"dataset": "pelvis", "method": first, "evaluate": ["grid"]}
    return project_of(
        {
            "datasets": ["config/datasets/pelvis.yaml"],
            "methods": files,
            "experiments": [experiment],
        },
        "main.yaml",
    )


def test_starts_must_be_configured_and_end(tmp_path):
    assert project(tmp_path, {"a": "b", "b": "c", "c": None}).methods["a"].start_from == "b"
    with pytest.raises(InputError, match=r"main\.yaml: the method 'a' starts from 'b', which is"):
        project(tmp_path, {"a": "b"})
    with pytest.raises(InputError, match="start from each other: a from b from a"):
        project(tmp_path, {"a": "b", "b": "a"})


def test_the_error_is_told_as_a_share_of_the_diagonal(tmp_path):
    train(method("unet", epochs=2), Blobs(4), Blobs(4), tmp_path, 0)
    losses = pd.read_csv(tmp_path / "losses.csv")
    share = losses.validation_rmse_px / math.hypot(52, 60)
    np.testing.assert_allclose(losses.validation_rmse_share, share, rtol=1e-5)
    assert not losses.diverged.any()


def test_a_loss_that_is_not_finite_ends_the_run_and_is_named(tmp_path):
    recipe = method("unet", epochs=5, learning_rate=1e30)
    _, model = load_model(train(recipe, Blobs(8), Blobs(4), tmp_path, 0))
    assert model.diverged
    assert model.epochs < 5
    assert model.diverged_because.endswith("is not finite")
