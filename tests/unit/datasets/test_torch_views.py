"""Views as a PyTorch data set: the same with workers of any kind as read in turn by the other reader."""

import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from raymark.core.errors import InputError
from raymark.datasets.shards import Shards
from raymark.datasets.torch_views import TorchViews
from tests.unit.datasets.test_shards import SHAPES, write_made

ROOT = Path(__file__).parents[3]
# As a user's script does it: the parent has read, by both readers, before it starts its workers.
SCRIPT = """
import sys
import numpy as np
import torch
from torch.utils.data import DataLoader
from raymark.datasets.shards import Shards
from raymark.datasets.torch_views import TorchViews

if __name__ == "__main__":
    start, *paths = sys.argv[1:]
    expected = Shards(paths).read(np.arange(8))
    views = TorchViews(paths)
    views[0]
    context = None if start == "none" else start
    loader = DataLoader(
        views, batch_size=3, num_workers=0 if context is None else 2, multiprocessing_context=context
    )
    for _ in range(2):  # the second epoch has workers of its own
        batches = list(loader)
        names = [name for batch in batches for name in batch["view"]]
        assert names == Shards(paths).views, names
        for name, values in expected.items():
            read = torch.cat([batch[name] for batch in batches]).numpy()
            if name == "image":
                assert read.shape[1] == 1
                read = read[:, 0]
            np.testing.assert_array_equal(read, values)
    print("the same")
"""


@pytest.fixture
def paths(tmp_path):
    first = write_made(tmp_path / "00000.zarr.zip", range(5))
    second = write_made(tmp_path / "00001.zarr.zip", range(5, 8), subject=["other"] * 3)
    return [first, second]


def run(*command: object, cwd: Path | None = None) -> subprocess.CompletedProcess:
    environment = {"PYTHONPATH": str(ROOT / "lib"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env=environment, cwd=cwd
    )


@pytest.mark.parametrize("start", ["none", "fork", "spawn"])
def test_workers_read_what_the_other_reader_reads(paths, tmp_path, start):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    ran = run(script, start, *map(str, paths))
    assert ran.stdout == "the same\n", ran.stderr


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.parametrize("example", ["TorchViews(", "class Views("])
def test_the_pages_examples_read_every_view_with_workers(tmp_path, example, start):
    """With workers of either kind; the page's own words, run in a folder with such shards."""
    blocks = (ROOT / "docs/datasets.md").read_text().split("```python\n")[1:]
    (code,) = [block.split("```")[0] for block in blocks if example in block]
    for subject in "ab":
        seeds = range(5) if subject == "a" else range(5, 8)
        write_made(tmp_path / f"results/shards/pelvis/train/{subject}/00000.zarr.zip", seeds)
    begin = f"import multiprocessing\nmultiprocessing.set_start_method({start!r}, force=True)\n"
    (tmp_path / "example.py").write_text(begin + code)
    ran = run(tmp_path / "example.py", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    printed = ran.stdout.splitlines()
    assert len(printed) == 2, ran.stdout
    assert all("torch.Size([4, 3, 2])" in line for line in printed)


def test_an_item_is_a_view_with_its_names(paths):
    views = TorchViews(paths)
    assert len(views) == 8
    last = views[-1]
    assert (last["view"], last["subject"]) == ("v7", "other")
    assert last["image"].shape == (1, *SHAPES["image"])
    assert last["image"].dtype == torch.float32
    assert last["visible"].dtype == torch.bool
    assert last["K"].dtype == torch.float64
    np.testing.assert_array_equal(
        last["landmarks"], Shards(paths).read(np.array([7]))["landmarks"][0]
    )
    with pytest.raises(IndexError):
        views[8]


def test_an_item_may_be_changed_in_place(paths):
    views = TorchViews(paths)
    before = views[0]["landmarks"].clone()
    views[0]["landmarks"].add_(1)
    assert torch.equal(views[0]["landmarks"], before)


def test_a_copy_opens_its_files_anew(paths):
    views = TorchViews(paths)
    views[0]
    copy = pickle.loads(pickle.dumps(views))
    assert torch.equal(copy[3]["image"], views[3]["image"])


@pytest.mark.parametrize("name", ["image/c/1/0/0", "landmarks/c/0/0/0"])
def test_a_damaged_chunk_is_refused_by_the_files_name(paths, name):
    """The zip's own checksum fits; that of the chunk does not."""
    with zipfile.ZipFile(paths[0]) as archive:
        contents = {entry: archive.read(entry) for entry in archive.namelist()}
    contents[name] = contents[name][:-6] + b"\0" * 6
    with zipfile.ZipFile(paths[0], "w") as archive:
        for entry, content in contents.items():
            archive.writestr(entry, content)
    with pytest.raises(InputError, match=r"00000\.zarr\.zip: is damaged"):
        TorchViews(paths)[1]
