"""The network learns, and a run that was interrupted ends as one that was not."""

import numpy as np
import pandas as pd
import pytest
import torch

from raymark.core.errors import InputError
from raymark.core.seeds import seed_of
from raymark.correspondence import training
from raymark.correspondence.config import Correspondence
from raymark.correspondence.evaluation import evaluate_network, evaluate_sift
from raymark.correspondence.network import build
from raymark.correspondence.training import Pairs, load_model, train
from raymark.tables.correspondence import summary
from raymark.training.model_files import read_tensors, write_tensors
from tests.unit.correspondence.examples import TINY, textured


def settings(**changes) -> Correspondence:
    return TINY.model_copy(update={"training": TINY.training.model_copy(update=changes)})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trained")
    train(TINY, [textured(6, seed=1)], folder, provenance="a")
    return load_model(folder / "model.safetensors")[1]


def test_it_learns(trained):
    """On textures it never saw: more matches that are right, and a larger share of them."""
    unseen = [textured(3, seed=2)]
    before = build(TINY.network, seed_of("weights", 0)).eval()
    moved = [evaluate_network(network, unseen, TINY) for network in (before, trained)]
    moved = [table[table["transformation"] != "intensity"] for table in moved]
    right = [(table["error_mm"] <= 2).sum() for table in moved]
    share = [n / table["error_mm"].count() for n, table in zip(right, moved, strict=True)]
    assert right[1] > 1.25 * right[0]
    assert share[1] > 1.25 * share[0]


def small(**changes):
    return settings(pairs_per_epoch=4, image_px=32, landmarks=9, batch=2, **changes)


def test_interrupted_run_ends_with_the_same_bytes(tmp_path, monkeypatch):
    stacks = [textured(3, side=48)]
    train(small(epochs=3), stacks, tmp_path / "whole", "a")
    epoch = training._epoch

    def stopping(network, optimizer, pairs, device):
        if pairs.epoch == 3:
            raise KeyboardInterrupt
        return epoch(network, optimizer, pairs, device)

    monkeypatch.setattr(training, "_epoch", stopping)
    with pytest.raises(KeyboardInterrupt):
        train(small(epochs=3), stacks, tmp_path / "cut", "a")
    monkeypatch.setattr(training, "_epoch", epoch)
    train(small(epochs=3), stacks, tmp_path / "cut", "a")
    whole, cut = (tmp_path / run / "model.safetensors" for run in ("whole", "cut"))
    assert whole.read_bytes() == cut.read_bytes()
    losses = [pd.read_csv(tmp_path / run / "losses.csv") for run in ("whole", "cut")]
    pd.testing.assert_frame_equal(*(table.drop(columns="seconds") for table in losses))
    assert not (tmp_path / "cut/checkpoint.safetensors").exists()


def test_checkpoint_of_another_run_is_not_taken_up(tmp_path):
    network = build(TINY.network, 0)
    optimizer = torch.optim.Adam(network.parameters())
    write_tensors(tmp_path / "c.safetensors", {}, {"provenance": "other", "history": [1]})
    assert training._resume(tmp_path / "c.safetensors", "mine", network, optimizer) == []


def test_processes_and_order_change_no_pair():
    pairs = Pairs([textured(3), textured(2, seed=1)], TINY, epoch=2)
    first, again = pairs[5], Pairs(pairs.stacks, TINY, epoch=2)[5]
    assert all(np.array_equal(first[name], again[name]) for name in first)
    other = Pairs(pairs.stacks, TINY, epoch=3)[5]
    assert not np.array_equal(first["image2"], other["image2"])
    shown = {place for place in Pairs(pairs.stacks, settings(pairs_per_epoch=5), epoch=1).chosen}
    assert len(shown) == 5  # every slice once


def test_loss_that_is_not_finite_ends_the_run(tmp_path):
    with pytest.raises(InputError, match="no longer finite"):
        train(small(epochs=5, learning_rate=1e30), [textured(3, side=48)], tmp_path, "a")


def test_no_slice_to_train_on_is_refused(tmp_path):
    with pytest.raises(InputError, match="no slice to train on"):
        train(TINY, [], tmp_path, "a")


def test_other_models_are_refused(tmp_path):
    write_tensors(tmp_path / "m.safetensors", {}, {"method": "cpm"})
    with pytest.raises(InputError, match="no model of slice correspondences"):
        load_model(tmp_path / "m.safetensors")
    train(small(epochs=1), [textured(1, side=48)], tmp_path, "a")
    record, _ = read_tensors(tmp_path / "model.safetensors")
    assert record["provenance"] == "a"
    write_tensors(tmp_path / "model.safetensors", {}, record)
    with pytest.raises(InputError, match="does not fit its own settings"):
        load_model(tmp_path / "model.safetensors")


def test_sift_is_evaluated_on_the_same_pairs():
    matches = evaluate_sift([textured(1, side=96)], TINY)
    table = summary(matches).set_index(["transformation", "method"])
    assert table.loc[("intensity", "sift_inverse"), "error_mm"] < 1
    assert table.loc[("intensity", "sift_inverse"), "within_2_mm"] > 0.9
    assert set(table.index.get_level_values("method")) == {"sift_inverse", "sift_ratio"}
