import json
import math
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from lightning_fabric import Fabric
from rich.console import Console

from raymark import methods
from raymark.config.method import Augmentation, Training
from raymark.core.errors import InputError
from raymark.training.model_files import load_model, read_tensors
from raymark.training.run import Run, learning_rate, part_of
from raymark.training.state import TrainingState
from raymark.training.train import train
from tests.unit.training.examples import LEARNING, Blobs, method

AUGMENTATION = Augmentation(rotation_deg=5, shift_px=3, contrast=(0.8, 1.2), noise=0.05)


class Failing(Blobs):
    """Views whose storage breaks down after so many reads."""

    def __init__(self, count: int, reads: int, seed: int = 0):
        super().__init__(count, seed=seed)
        self.reads_left = reads

    def read(self, indices):
        self.reads_left -= 1
        if self.reads_left < 0:
            raise OSError("the disk is gone")
        return super().read(indices)


# Blobs lie anywhere and make no chain: test_member_chain.py has one to learn.
@pytest.mark.parametrize("name", [name for name in methods.names() if name != "member_chain"])
def test_every_method_learns_a_few_images_to_two_px(name, tmp_path):
    views = Blobs(8)
    settings = {"epochs": 60, "learning_rate": 1e-2, "schedule": "cosine"} | LEARNING.get(name, {})
    train(method(name, **settings), views, views, tmp_path, 0)
    losses = pd.read_csv(tmp_path / "losses.csv")
    assert losses.validation_rmse_px.iloc[-1] <= 2.0
    assert losses.validation_rmse_px.iloc[0] > 5.0


@pytest.mark.parametrize("module", ["cpm", "scn"])  # scn has dropout
@pytest.mark.parametrize(
    ("every_seconds", "fails", "step"), [(600.0, "train", 1), (0.0, "train", 2), (0.0, "valid", 4)]
)
def test_an_interrupted_run_resumes_to_the_same_bytes(
    module, every_seconds, fails, step, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("raymark.training.run.CHECKPOINT_SECONDS", every_seconds)
    settings = {"augmentation": AUGMENTATION, "schedule": "cosine", "gradient_clip": 10.0}
    recipe = method(module, epochs=4, **settings)
    if module == "scn":
        recipe = recipe.model_copy(update={"network": recipe.network | {"dropout": 0.5}})
    whole = train(recipe, Blobs(10), Blobs(4, seed=1), tmp_path / "whole", 3)
    # Three batches an epoch: the storage fails in the middle of the third, or at its validation.
    views = Failing(10, reads=7 if fails == "train" else 99)
    with pytest.raises(OSError, match="the disk is gone"):
        train(recipe, views, Failing(4, reads=2, seed=1), tmp_path / "resumed", 3)
    assert len(pd.read_csv(tmp_path / "resumed" / "losses.csv")) == 2
    assert not (tmp_path / "resumed" / "model.safetensors").exists()
    resumed = train(recipe, Blobs(10), Blobs(4, seed=1), tmp_path / "resumed", 3)
    assert f"resumed at step {step} of epoch 3" in capsys.readouterr().err
    assert resumed.read_bytes() == whole.read_bytes()
    drop = ["seconds", "waiting_share"]
    first, second = (
        pd.read_csv(p.parent / "losses.csv").drop(columns=drop) for p in (whole, resumed)
    )
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_more_epochs_go_on_to_the_bytes_of_asking_for_them_at_once(tmp_path, capsys):
    """After the end, from within an epoch, and back to fewer, which begins anew and loses nothing."""
    views, watched = Blobs(10), Blobs(4, seed=1)
    recipes = {n: method("scn", epochs=n, augmentation=AUGMENTATION) for n in (2, 4)}
    at_once = {n: train(r, views, watched, tmp_path / str(n), 3) for n, r in recipes.items()}
    train(recipes[2], views, watched, tmp_path / "on", 3)
    capsys.readouterr()
    on = train(recipes[4], views, watched, tmp_path / "on", 3)
    assert "resumed at step 1 of epoch 3" in capsys.readouterr().err
    assert on.read_bytes() == at_once[4].read_bytes()
    assert len(pd.read_csv(on.parent / "losses.csv")) == 4
    with pytest.raises(OSError, match="the disk is gone"):
        train(recipes[2], Failing(10, reads=4), watched, tmp_path / "cut", 3)
    cut = train(recipes[4], views, watched, tmp_path / "cut", 3)
    assert "resumed at step 1 of epoch 2" in capsys.readouterr().err
    assert cut.read_bytes() == at_once[4].read_bytes()
    with pytest.raises(OSError, match="the disk is gone"):
        train(recipes[2], Failing(10, reads=4), watched, on.parent, 3)
    told = capsys.readouterr().err
    assert "begins anew: training.epochs was 4 and is 2; what was trained before is kept" in told
    assert train(recipes[4], views, watched, on.parent, 3).read_bytes() == at_once[4].read_bytes()
    assert train(recipes[2], views, watched, on.parent, 3).read_bytes() == at_once[2].read_bytes()
    assert not (on.parent / "previous.safetensors").exists()


def test_a_schedule_that_goes_by_the_number_of_epochs_begins_anew_and_says_so(tmp_path, capsys):
    recipes = [method(epochs=n, schedule="cosine") for n in (1, 2)]
    fresh = train(recipes[1], Blobs(8), Blobs(4), tmp_path / "fresh", 0)
    first = train(recipes[0], Blobs(8), Blobs(4), tmp_path / "b", 0)
    state = (first.parent / "checkpoint.safetensors").read_bytes()
    with pytest.raises(OSError, match="the disk is gone"):
        train(recipes[1], Failing(8, reads=0), Blobs(4), first.parent, 0)
    assert (first.parent / "previous.safetensors").read_bytes() == state
    told = capsys.readouterr().err
    assert "training.epochs was 1 and is 2, and the cosine schedule goes by their number" in told
    second = train(recipes[1], Blobs(8), Blobs(4), first.parent, 0)
    assert second.read_bytes() == fresh.read_bytes()


def test_a_run_that_ended_before_its_files_were_kept_makes_them_of_its_checkpoint(tmp_path):
    """Snakemake removes the outputs of a job that was killed, if only at its very end."""
    made = train(method(epochs=2), Blobs(8), Blobs(4), tmp_path, 0)
    losses = tmp_path / "losses.csv"
    before = made.read_bytes(), losses.read_bytes()
    made.unlink()
    losses.unlink()
    train(method(epochs=2), Blobs(8), Blobs(4), tmp_path, 0)
    assert (made.read_bytes(), losses.read_bytes()) == before


def test_limits_by_which_results_are_read_train_nothing(tmp_path, capsys):
    recipe = method(epochs=1)
    train(recipe, Blobs(8), Blobs(4), tmp_path, 0)
    limits = {"training": recipe.training.model_copy(update={"diverged_above_share": 0.1})}
    other = recipe.model_copy(update={"detection_threshold": 0.9, **limits})
    _, model = load_model(train(other, Blobs(8), Blobs(4), tmp_path, 0))
    assert "nothing is left to train" in capsys.readouterr().err
    assert model.detection_threshold == 0.9


def test_a_checkpoint_of_another_configuration_is_not_resumed(tmp_path):
    with pytest.raises(OSError, match="the disk is gone"):
        train(method(epochs=3), Failing(8, reads=3), Blobs(4), tmp_path, 0)
    resumed = train(method(epochs=3, learning_rate=1e-4), Blobs(8), Blobs(4), tmp_path, 0)
    fresh = train(method(epochs=3, learning_rate=1e-4), Blobs(8), Blobs(4), tmp_path / "b", 0)
    assert resumed.read_bytes() == fresh.read_bytes()


def test_results_depend_on_the_seed(tmp_path):
    first, second = (
        train(method(epochs=1), Blobs(4), Blobs(4), tmp_path / str(seed), seed) for seed in (0, 1)
    )
    weights = [read_tensors(path)[1] for path in (first, second)]
    assert not torch.equal(weights[0]["later.0.0.weight"], weights[1]["later.0.0.weight"])


def test_a_diverged_run_ends_normally_and_says_so(tmp_path):
    path = train(method(epochs=5, learning_rate=1e18), Blobs(8), Blobs(4), tmp_path, 0)
    network, model = load_model(path)
    assert model.diverged
    losses = pd.read_csv(tmp_path / "losses.csv")
    assert losses.diverged.tolist()[-1]
    assert len(losses) == model.epochs < 5
    assert not losses.diverged.tolist()[:-1].count(True)
    assert all(torch.isfinite(weight).all() for weight in network.state_dict().values())


class NanFrom(Blobs):
    """Views that hold a NaN after so many reads."""

    def __init__(self, count, reads):
        super().__init__(count)
        self.reads_left = reads

    def read(self, indices):
        self.reads_left -= 1
        arrays = super().read(indices)
        if self.reads_left < 0:
            arrays["image"] = arrays["image"] * np.float16("nan")
        return arrays


def test_weights_from_before_the_divergence_are_kept(tmp_path):
    path = train(method(epochs=5), NanFrom(8, reads=5), Blobs(4), tmp_path, 0)
    _, model = load_model(path)
    assert model.diverged
    assert (model.epochs, model.best_epoch) in {(3, 1), (3, 2)}
    sound = train(method(epochs=model.best_epoch), Blobs(8), Blobs(4), tmp_path / "sound", 0)
    assert all(
        torch.equal(weight, read_tensors(path)[1][name])
        for name, weight in read_tensors(sound)[1].items()
    )


def row(epoch, loss, diverged=False):
    return {"epoch": epoch, "validation_loss": loss, "diverged": diverged}


def test_training_stops_when_validation_no_longer_improves():
    config = Training(epochs=10, patience=2)
    network = torch.nn.Linear(1, 1)
    state = TrainingState({})
    for epoch, loss in enumerate([5.0, 3.0, 3.5], start=1):
        state.add(row(epoch, loss), network)
        assert not state.finished(config)
    torch.nn.init.constant_(network.weight, 7.0)
    state.add(row(4, 3.0), network)
    assert state.finished(config)
    assert not state.finished(config.model_copy(update={"patience": None}))
    assert state.best_epoch == 2
    assert state.best["weight"].item() != 7.0
    state.add(row(5, math.nan, diverged=True), network)
    assert state.finished(Training(epochs=10))


def test_schedules():
    constant = Training(learning_rate=0.5)
    assert [learning_rate(constant, step, 10) for step in (0, 9)] == [0.5, 0.5]
    cosine = Training(learning_rate=0.5, schedule="cosine")
    assert learning_rate(cosine, 0, 10) == 0.5
    assert learning_rate(cosine, 5, 10) == pytest.approx(0.25)
    assert learning_rate(cosine, 9, 10) == pytest.approx(0.5 * 0.5 * (1 + math.cos(0.9 * math.pi)))


def run(**training):
    return Run(Fabric(accelerator="cpu", devices=1), method(**training), 3, seed=0)


def test_every_view_is_seen_once_an_epoch_in_another_order():
    def groups(batch, epoch):
        return [part.views for part in run(batch=batch)._parts(10, epoch)]

    assert [len(group) for group in groups(4, 1)] == [4, 4, 2]
    order = np.concatenate(groups(4, 1))
    assert sorted(order) == list(range(10))
    assert order.tolist() == np.concatenate(groups(3, 1)).tolist()
    assert order.tolist() != np.concatenate(groups(4, 2)).tolist()


@pytest.mark.parametrize("devices", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [1, 2, 5, 8, 9])
def test_devices_share_a_batch_without_duplicates_or_drops(devices, count):
    batch, losses = np.arange(100, 100 + count), np.arange(count) ** 2.0
    parts = [part_of(batch, devices, rank) for rank in range(devices)]
    assert all(len(part.views) for part in parts)  # each takes the step
    seen = np.concatenate([part.views for part in parts if part.weight])
    assert sorted(seen) == batch.tolist()
    means = [part.weight * losses[part.views - 100].mean() for part in parts]
    assert np.mean(means) == pytest.approx(losses.mean())


def test_validation_ignores_unseen_landmarks_and_batching(monkeypatch):
    views = Blobs(5)
    views.arrays["visible"][:, 2] = False
    state = run()
    reference = state._validate(views)
    views.arrays["landmarks"][:, 2] = 1e6
    monkeypatch.setattr("raymark.training.run.EVALUATION_BATCH", 2)
    again = state._validate(views)
    assert again["validation_rmse_px"] == pytest.approx(reference["validation_rmse_px"], rel=1e-5)
    assert again["validation_loss"] == pytest.approx(reference["validation_loss"], rel=1e-5)


def test_rmse_is_of_distances_in_px():
    views = Blobs(3)
    state = run()
    truth = torch.tensor(views.arrays["landmarks"])
    state.network.decode = lambda output: (
        truth + torch.tensor([3.0, 4.0]),
        torch.ones(truth.shape[:2]),
    )
    assert state._validate(views)["validation_rmse_px"] == pytest.approx(5.0, rel=1e-6)


def test_the_table_of_losses(tmp_path):
    train(method(epochs=2), Blobs(6), Blobs(4), tmp_path, 0)
    losses = pd.read_csv(tmp_path / "losses.csv")
    assert losses.epoch.tolist() == [1, 2]
    assert losses.steps.tolist() == [2, 4]
    parts = losses.train_stage1 + losses.train_stage2
    assert parts.tolist() == pytest.approx(losses.train_loss.tolist(), rel=1e-4)
    assert losses.train_loss.iloc[1] < losses.train_loss.iloc[0]
    assert losses.waiting_share.between(0, 1).all()
    assert not losses.diverged.any()


def test_gradients_are_clipped_to_their_norm():
    state = run(gradient_clip=1e-3)
    state.epoch(Blobs(4), Blobs(4), Console(quiet=True), keep=lambda: None)
    norm = math.sqrt(sum(p.grad.square().sum().item() for p in state.network.parameters()))
    assert norm == pytest.approx(1e-3, rel=1e-3)


def test_half_precision_trains_to_finite_weights(tmp_path):
    path = train(method(epochs=1, precision="bf16-mixed"), Blobs(4), Blobs(4), tmp_path, 0)
    weights = read_tensors(path)[1]
    assert all(w.dtype == torch.float32 and torch.isfinite(w).all() for w in weights.values())


def test_two_processes_agree_with_one(tmp_path):
    # Parts of 2 and 1 views, and at the end of each epoch of 1 and none: their weights differ.
    recipe = method(epochs=3, batch=3)
    views = Blobs(7), Blobs(3)  # an odd number to validate on
    single = train(recipe, *views, tmp_path / "one", 0, devices=1)
    double = train(recipe, *views, tmp_path / "two", 0, devices=2)
    agree(single, double, 1e-5)


def test_processes_that_srun_started_agree_with_one(tmp_path):
    single = train(method(epochs=1, batch=4), Blobs(8), Blobs(4), tmp_path / "one", 0, devices=1)
    script = (
        "from tests.unit.training.examples import Blobs, method\n"
        "from raymark.training.train import train\n"
        f"train(method(epochs=1, batch=4), Blobs(8), Blobs(4), {str(tmp_path / 'two')!r}, 0)\n"
    )
    step = {
        "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "1", "SLURM_NTASKS": "2",
        "SLURM_NODEID": "0", "SLURM_JOB_ID": str(os.getpid()), "MASTER_ADDR": "127.0.0.1",
    }  # fmt: skip
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")} | step
    tasks = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env=environment | {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)},
        )
        for rank in range(2)
    ]
    assert [running.wait(timeout=240) for running in tasks] == [0, 0]
    agree(single, tmp_path / "two/model.safetensors", 2e-3)


def test_an_allocation_of_many_tasks_may_train_once(tmp_path, monkeypatch):
    """As in a batch script of `sbatch --ntasks=2` that starts the workflow without `srun`."""
    for name, value in {"NTASKS": 2, "PROCID": 0, "NNODES": 1, "JOB_ID": 1, "LOCALID": 0}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    monkeypatch.delenv("SLURM_STEP_NUM_TASKS", raising=False)
    assert train(method(epochs=1), Blobs(4), Blobs(4), tmp_path, 0).exists()


def agree(first_path, second_path, tolerance):
    """Rounding apart: gradients are added in another order."""
    first, second = (read_tensors(path)[1] for path in (first_path, second_path))
    for name, weight in first.items():
        assert torch.allclose(weight, second[name], rtol=0, atol=tolerance), name
    first, second = (pd.read_csv(p.parent / "losses.csv") for p in (first_path, second_path))
    assert second.views.tolist() == first.views.tolist()
    assert second.train_loss.tolist() == pytest.approx(first.train_loss.tolist(), rel=1e-3)
    assert second.validation_loss.tolist() == pytest.approx(
        first.validation_loss.tolist(), rel=1e-2
    )


def test_the_model_file_tells_everything(tmp_path):
    path = train(method(epochs=2), Blobs(4), Blobs(4), tmp_path, 11)
    _, model = load_model(path)
    assert model.landmarks == ["left_blob", "right_blob", "hole"]
    assert model.flip_pairs == [("left_blob", "right_blob")]
    assert (model.image_height_px, model.image_width_px, model.pixel_mm) == (52, 60, 2.0)
    assert (model.method, model.module, model.seed, model.epochs) == ("cpm", "cpm", 11, 2)
    assert model.detection_threshold == 0.4
    assert json.loads(json.dumps(model.network)) == method().network


def test_no_views_are_refused(tmp_path):
    with pytest.raises(InputError, match="0 to validate on"):
        train(method(), Blobs(4), Blobs(0), tmp_path, 0)
