"""Training on pairs that are made as they are needed (sections 2.3 and 2.6).

Each pair has a random generator of its own, named by seed, epoch and place, so neither the number of
processes nor an interruption changes anything.
"""

import math
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from raymark import layout
from raymark.core.errors import InputError
from raymark.core.files import atomic
from raymark.core.sections import checked
from raymark.core.seeds import generator, seed_of
from raymark.correspondence.config import KINDS, Correspondence
from raymark.correspondence.losses import total_loss
from raymark.correspondence.network import Network, build
from raymark.correspondence.pairs import draw, make_pair
from raymark.correspondence.slices import Stack
from raymark.training.model_files import read_checkpoint, read_tensors, write_tensors


class Pairs(Dataset):
    """One epoch's pairs, in its order."""

    def __init__(self, stacks: list[Stack], settings: Correspondence, epoch: int):
        self.stacks, self.settings, self.epoch = stacks, settings, epoch
        every = [(stack, k) for stack, each in enumerate(stacks) for k in range(len(each))]
        order = generator("slices", settings.training.seed, epoch).permutation(len(every))
        wanted = settings.training.pairs_per_epoch or len(every)
        self.chosen = [every[index] for index in np.resize(order, wanted)]

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        stack, k = self.stacks[self.chosen[index][0]], self.chosen[index][1]
        training = self.settings.training
        random = generator("pair", training.seed, self.epoch, index)
        image, shape_yx = stack.image_zyx[k], (training.image_px, training.image_px)
        kind = KINDS[random.integers(len(KINDS))]
        transformation = draw(kind, self.settings.transformations, shape_yx, random)
        height, width = image.shape
        origin_xy = (
            _start(width, training.image_px, random),
            _start(height, training.image_px, random),
        )
        return vars(make_pair(image, stack.body_zyx[k], transformation, origin_xy, shape_yx))


def train(
    settings: Correspondence, stacks: list[Stack], out_dir: str | Path, provenance: str
) -> None:
    """Train on every slice of `stacks`; write `model.safetensors` and `losses.csv` to `out_dir`.

    An interrupted run goes on after its last whole epoch if `provenance`, which stands for settings,
    code and data, is the same. Raises InputError when the loss is no longer finite.
    """
    if not sum(map(len, stacks)):
        raise InputError("correspondence", "no slice to train on", "Lower slices.test_share")
    training, out_dir = settings.training, Path(out_dir)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = build(settings.network, seed_of("weights", training.seed)).to(device)
    optimizer = torch.optim.Adam(
        network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
    )
    checkpoint = out_dir / "checkpoint.safetensors"
    history = _resume(checkpoint, provenance, network, optimizer)
    for epoch in range(len(history) + 1, training.epochs + 1):
        history.append(_epoch(network, optimizer, Pairs(stacks, settings, epoch), device))
        print(history[-1], flush=True)
        _save(checkpoint, provenance, network, optimizer, history)
    with atomic(out_dir / "losses.csv") as partial:
        pd.DataFrame(history).to_csv(partial, index=False, float_format="%.6g")
    record = {"correspondence": settings.model_dump(mode="json"), "provenance": provenance}
    write_tensors(out_dir / "model.safetensors", network.state_dict(), record)
    checkpoint.unlink(missing_ok=True)


def load_model(path: str | Path) -> tuple[Correspondence, Network]:
    """Rebuild a trained network on the CPU, and its settings, from its file alone."""
    record, weights = read_tensors(path)
    if "correspondence" not in record:
        problem = "is no model of slice correspondences"
        raise InputError(path, problem, f"Use {layout.CORRESPONDENCE_MODEL}")
    settings = checked(Correspondence, record["correspondence"], path)
    network = build(settings.network, seed=0)
    try:
        network.load_state_dict(weights)
    except RuntimeError:
        raise InputError(path, "does not fit its own settings", "Train it again") from None
    return settings, network.eval()


def _epoch(
    network: Network, optimizer: torch.optim.Optimizer, pairs: Pairs, device: torch.device
) -> dict:
    """Train on one epoch's pairs; return its row of losses."""
    start = time.perf_counter()
    sums: dict[str, float] = {}
    training = pairs.settings.training
    loader = DataLoader(pairs, training.batch, num_workers=training.workers)
    for batch in loader:
        batch = {name: values.to(device) for name, values in batch.items()}
        loss, parts = total_loss(network, batch, training)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for name, value in {"loss": loss, **parts}.items():
            sums[name] = sums.get(name, 0.0) + value.item() * len(batch["image1"])
    row = {name: value / len(pairs) for name, value in sums.items()}
    if not math.isfinite(row["loss"]):
        problem, remedy = "the loss is no longer finite", "Lower training.learning_rate"
        raise InputError(f"correspondence, epoch {pairs.epoch}", problem, remedy)
    return {"epoch": pairs.epoch, **row, "seconds": time.perf_counter() - start}


def _start(length: int, window: int, random: np.random.Generator) -> int:
    """Draw where a window begins; one larger than the slice holds all of it."""
    spare = length - window
    return int(random.integers(min(spare, 0), max(spare, 0) + 1))


def _save(
    path: Path,
    provenance: str,
    network: Network,
    optimizer: torch.optim.Optimizer,
    history: list[dict],
) -> None:
    """Write everything that the rest of the run depends on."""
    tensors: dict[str, Tensor] = {f"network/{n}": t for n, t in network.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": value for name, value in values.items()}
    write_tensors(path, tensors, {"provenance": provenance, "history": history})


def _resume(
    path: Path, provenance: str, network: Network, optimizer: torch.optim.Optimizer
) -> list[dict]:
    """Take up the checkpoint at `path` and return its history; nothing where it is of no use."""
    found = read_checkpoint(path, provenance)
    if found is None:
        return []
    record, tensors = found
    state = optimizer.state_dict()
    for name in [name for name in tensors if name.startswith("optimizer/")]:
        _, index, key = name.split("/")
        state["state"].setdefault(int(index), {})[key] = tensors.pop(name)
    optimizer.load_state_dict(state)
    network.load_state_dict({n.removeprefix("network/"): t for n, t in tensors.items()})
    return record["history"]
