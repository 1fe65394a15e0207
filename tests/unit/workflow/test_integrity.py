"""`raymark check` names exactly the damaged files, and is not content with finding none."""

import os
import shutil

import pyarrow as pa
import pytest
import torch

from raymark.cli import main
from raymark.core.stored_tables import store_table
from raymark.training.model_files import write_tensors
from raymark.workflow.integrity import files_to_check
from tests.unit.datasets.test_shards import write_made

SHARD = "results/shards/set/train/pelvis/00000.zarr.zip"
MODEL = "results/models/set/cpm/0/model.safetensors"
TABLE = "results/errors/set/cpm/0/test.parquet"


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_made(tmp_path / SHARD, range(3))
    write_tensors(tmp_path / MODEL, {"weight": torch.rand(50)}, {"method": "cpm"})
    store_table(pa.table({"error_mm": [0.5] * 50}), tmp_path / TABLE)
    return tmp_path


def spoil(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if path.suffix != ".parquet" else 30] ^= 8
    path.write_bytes(content)


def test_whole_files_pass(results, capsys):
    assert main(["check"]) == 0
    assert "3 files, 0 damaged" in capsys.readouterr().out


@pytest.mark.parametrize("name", [SHARD, MODEL, TABLE])
def test_the_damaged_is_named_deleted_and_how_to_make_it_again_told(results, name, capsys):
    spoil(results / name)
    assert main(["check"]) == 1
    assert f"{name}: " in capsys.readouterr().out
    assert main(["check", "--delete"]) == 0
    told = capsys.readouterr().out
    assert "3 files, 1 damaged and deleted" in told
    assert f"snakemake --cores all {name}\n" in told
    assert [path for path in (SHARD, MODEL, TABLE) if not os.path.exists(path)] == [name]


@pytest.mark.parametrize("place", ["nowhere", "results/empty"])
def test_nothing_found_is_an_error(results, place, capsys):
    (results / "results/empty").mkdir()
    assert main(["check", place]) == 1
    assert f"{place}: " in capsys.readouterr().err


def test_one_file_is_checked(results, capsys):
    assert main(["check", MODEL]) == 0
    assert "1 files, 0 damaged" in capsys.readouterr().out


def test_links_are_followed_and_end(results):
    shutil.move("results/shards/set", "elsewhere")
    os.symlink(results / "elsewhere", "results/shards/set")
    os.symlink(results / "results", "elsewhere/up")
    assert [str(path) for path in files_to_check("results")] == sorted([SHARD, MODEL, TABLE])


def test_files_being_written_are_left_alone(results):
    for name in (SHARD, MODEL):
        path = results / name
        (path.parent / f".{path.name}.abc").mkdir()
        (path.parent / f".{path.name}.abc" / path.name).write_bytes(b"half")
    assert main(["check", "--delete"]) == 0
    assert (results / SHARD).parent.joinpath(".00000.zarr.zip.abc/00000.zarr.zip").exists()


def test_a_shard_in_the_place_of_another_is_damage(results, capsys):
    second = (results / SHARD).with_name("00001.zarr.zip")
    shutil.copy(results / SHARD, second)
    assert main(["check"]) == 1
    assert "00001.zarr.zip: holds 'v0', as does" in capsys.readouterr().out
    other = results / SHARD.replace("pelvis", "chest")
    other.parent.mkdir()
    second.rename(other)
    assert main(["check"]) == 1
    assert f"{os.path.relpath(other)}: holds views of pelvis" in capsys.readouterr().out
