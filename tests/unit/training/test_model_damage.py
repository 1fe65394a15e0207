"""A damaged model is named; a damaged checkpoint is as good as none."""

import json

import pytest
import torch
from safetensors.torch import save_file

from raymark.core.errors import InputError
from raymark.training.model_files import read_checkpoint, read_tensors, write_tensors
from raymark.training.train import train
from tests.unit.training.examples import Blobs, method
from tests.unit.training.test_train import Failing

TENSORS = {
    "half": torch.arange(5, dtype=torch.bfloat16),
    "step": torch.tensor(3.0),
    "none": torch.zeros(0, 2),
    "mask": torch.tensor([True, False]),
}
RECORD = {"provenance": "mine", "losses": [0.1, float("inf")], "threshold": 0.4}


@pytest.fixture
def stored(tmp_path):
    write_tensors(tmp_path / "t.safetensors", TENSORS, RECORD)
    return tmp_path / "t.safetensors"


def test_every_bit_counts(stored):
    whole = stored.read_bytes()
    for place in range(len(whole)):
        content = bytearray(whole)
        content[place] ^= 1 << place % 8
        stored.write_bytes(content)
        try:
            record, tensors = read_tensors(stored)
        except InputError:
            continue
        # What nobody reads, as a white space, or the name of the digest, without which none is checked.
        assert {name: record[name] for name in RECORD} == RECORD
        assert tensors.keys() == TENSORS.keys()
        assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


def test_a_changed_value_is_damage(stored):
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1
    stored.write_bytes(content)
    with pytest.raises(InputError, match="its checksum does not fit"):
        read_tensors(stored)


def test_a_file_without_a_digest_is_read(tmp_path):
    save_file(TENSORS, tmp_path / "old.safetensors", metadata={"raymark": json.dumps(RECORD)})
    assert read_tensors(tmp_path / "old.safetensors")[0] == RECORD


def test_a_checkpoint_of_use_is_whole_and_of_this_run(stored, capsys):
    assert read_checkpoint(stored, "mine")[0] == RECORD
    assert read_checkpoint(stored, "other") is None
    assert read_checkpoint(stored.parent / "none", "mine") is None
    assert capsys.readouterr().err == ""
    for content in (b"", stored.read_bytes()[:-3], b"[" * 999):
        stored.write_bytes(content)
        assert read_checkpoint(stored, "mine") is None
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert "is damaged" in told
        assert "begins anew" in told


@pytest.mark.parametrize("place", [0, 40, -1])
def test_a_run_with_a_damaged_checkpoint_ends_like_one_that_began_anew(tmp_path, place):
    recipe = method(epochs=2)
    whole = train(recipe, Blobs(8), Blobs(4, seed=1), tmp_path / "whole", 0)
    with pytest.raises(OSError, match="the disk is gone"):
        train(recipe, Failing(8, reads=3), Blobs(4, seed=1), tmp_path / "cut", 0)
    checkpoint = tmp_path / "cut/checkpoint.safetensors"
    content = bytearray(checkpoint.read_bytes())
    content[place] ^= 64
    checkpoint.write_bytes(content)
    again = train(recipe, Blobs(8), Blobs(4, seed=1), tmp_path / "cut", 0)
    assert again.read_bytes() == whole.read_bytes()
