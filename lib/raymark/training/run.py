"""A network in training: its steps, its validation, and what a checkpoint must keep of it."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from rich.console import Console
from rich.progress import track
from torch import Tensor

from raymark.config.method import Augmentation, Method, Training
from raymark.core.seeds import generator, seed_of
from raymark.methods.base import (
    Batch,
    LandmarkNetwork,
    SecondStage,
    build,
    squared_errors,
    standardised,
)
from raymark.training.augmentation import augmented, draw, mirrored
from raymark.training.batches import Samples, batches, partners
from raymark.training.guesses import Guesses, measured
from raymark.training.model_files import (
    FirstStage,
    copied,
    load_first,
    read_checkpoint,
    take_over,
    write_tensors,
)
from raymark.training.state import Epoch, TrainingState

EVALUATION_BATCH = 16
VALIDATED = ("validation_loss", "validation_rmse_px", "validation_rmse_share")  # of the diagonal
CHECKPOINT_SECONDS = 600.0  # what of a long epoch is lost at most


class Run:
    """A network in training: its weights, its optimizer and how far it has come."""

    def __init__(self, fabric: Fabric, method: Method, landmark_count: int, seed: int):
        self.fabric, self.config, self.seed = fabric, method.training, seed
        self.network = build(
            method.module,
            method.network,
            landmark_count,
            seed_of("weights", seed),
            f"method {method.name}",
        )
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[self.config.optimizer]
        self.optimizer = kind(self.network.parameters(), lr=self.config.learning_rate)
        # The wrapped pair computes in mixed precision and averages gradients over devices; it
        # shares its parameters with the plain one, which is what files and losses see.
        self.wrapped, self.stepper = fabric.setup(self.network, self.optimizer)
        self.state = TrainingState(copied(self.network.state_dict()))
        self.guesses: Guesses | None = None  # of a second stage

    def start_from(self, path: Path, landmarks: list[str]) -> None:
        """Take the weights of another model instead of random ones."""
        take_over(self.network, path, landmarks)
        self.state = TrainingState(copied(self.network.state_dict()))

    def learn_from(self, views: Samples) -> None:
        """Tell the network where the landmarks of these views lie, if it wants to know."""
        if type(self.network).learn_from is LandmarkNetwork.learn_from:
            return
        places = []
        for batch in batches(views, _groups(len(views)), self.fabric.device):
            places.append(batch.landmarks.masked_fill(~batch.visible[..., None], torch.nan))
        self.network.learn_from(torch.cat(places))
        self.state = TrainingState(copied(self.network.state_dict()))

    def refine(
        self, path: Path | None, views: Samples, threshold: float | None
    ) -> FirstStage | None:
        """Take the model at `path` as first stage; train on the errors that it makes on these views.

        `threshold` is the confidence from which its points count (`load_first`).
        """
        network, first = cast(SecondStage, self.network), None
        if path is not None:
            stage, first = load_first(path, views.landmarks, threshold)
            network.set_first(stage.to(self.fabric.device), first.detection_threshold)
        groups = _groups(len(views))
        self.guesses = measured(network, batches(views, groups, self.fabric.device))
        self.state = TrainingState(copied(self.network.state_dict()))
        return first

    def epoch(
        self, training: Samples, validation: Samples, console: Console, keep: Callable[[], None]
    ) -> dict:
        """Train and validate once over all views; return the row of losses, also kept.

        `keep` is called between two steps, now and then, to save what there is. The run ends where a loss
        or the RMSE is not finite; the row says so, and what it was.
        """
        number = len(self.state.history) + 1
        start = time.perf_counter() - self.state.under_way.seconds
        row = {"epoch": number, **self._train(training, number, console, keep)}
        row |= dict.fromkeys(VALIDATED, math.nan)
        if math.isfinite(row["train_loss"]):
            row |= self._validate(validation)
        row["seconds"] = time.perf_counter() - start
        reason = _not_finite(row)
        row |= {"diverged": reason is not None, "diverged_because": reason}
        self.state.add(row, self.network)
        return row

    def _train(
        self, samples: Samples, epoch: int, console: Console, keep: Callable[[], None]
    ) -> dict:
        """Run the steps of one epoch that are left; stop at the first loss that is not finite."""
        parts, done = self._parts(len(samples), epoch), self.state.under_way
        before, steps = (epoch - 1) * len(parts), self.config.epochs * len(parts)
        left = parts[done.steps :]
        start, kept = time.perf_counter() - done.seconds, done.seconds
        self.network.train()
        source = batches(samples, (part.views for part in left), self.fabric.device)
        shown = track(left, f"epoch {epoch}", total=len(parts), completed=done.steps, console=console,
                      transient=True, disable=not console.is_terminal)  # fmt: skip
        for part in shown:
            asked = time.perf_counter()
            batch = next(source)
            done.waited += time.perf_counter() - asked
            batch = self._prepared(batch, part.views, epoch, samples)
            losses = self._step(batch, part.weight, before + done.steps, steps)
            done.add(losses, part.of)
            done.seconds = time.perf_counter() - start
            if not math.isfinite(losses["train_loss"]):
                break
            if done.seconds - kept >= CHECKPOINT_SECONDS:
                keep()
                kept = done.seconds
        return {
            "steps": before + done.steps,
            "views": done.views,
            **{name: value / done.views for name, value in done.sums.items()},
            "learning_rate": learning_rate(self.config, before + done.steps - 1, steps),
            "waiting_share": done.waited / done.seconds,
        }

    def _parts(self, count: int, epoch: int) -> list["Part"]:
        """Cut this epoch's order into batches and return this device's part of each."""
        order = generator("order", self.seed, epoch).permutation(count)
        whole = np.split(order, range(self.config.batch, count, self.config.batch))
        devices, rank = self.fabric.world_size, self.fabric.global_rank
        return [part_of(batch, devices, rank) for batch in whole]

    def _prepared(self, batch: Batch, group: np.ndarray, epoch: int, samples: Samples) -> Batch:
        """Augment, each view by its own generator, draw what a second stage refines, standardise."""
        recipe = self.config.augmentation
        if recipe != Augmentation():
            shape_yx = batch.image.shape[-2:]
            random = (generator("augmentation", self.seed, epoch, index) for index in group)
            draws = [draw(recipe, shape_yx, r) for r in random]
            batch = augmented(mirrored(batch, draws, partners(samples)), draws)
        if self.guesses is not None:
            own = (generator("guess", self.seed, epoch, index) for index in group)
            batch = self.guesses.drawn(batch, own)
        return replace(batch, image=standardised(batch.image))

    def _step(self, batch: Batch, weight: float, step: int, steps: int) -> dict[str, float]:
        """Move the weights once; return the loss and its parts, averaged over the whole batch."""
        torch.manual_seed(seed_of("dropout", self.seed, step, self.fabric.global_rank))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, step, steps)
        given = (
            (batch.image,) if batch.guess is None else (batch.image, batch.guess, batch.guess_seen)
        )
        loss, parts = self.network.loss(self.wrapped(*given), batch)
        self.stepper.zero_grad()
        self.fabric.backward(loss * weight)
        if self.config.gradient_clip is not None:
            self.fabric.clip_gradients(
                self.wrapped,
                self.stepper,
                max_norm=self.config.gradient_clip,
                error_if_nonfinite=False,  # half precision skips such a step by itself
            )
        self.stepper.step()
        values = torch.stack([loss.detach(), *(part.detach() for part in parts.values())])
        values = self.fabric.all_reduce(values * weight, reduce_op="mean").tolist()
        return dict(zip(["train_loss", *(f"train_{name}" for name in parts)], values, strict=True))

    @torch.no_grad()  # not inference mode: a loss may have an optimisation of its own inside
    def _validate(self, samples: Samples) -> dict:
        """Return loss and RMSE over all views and visible landmarks, without augmentation."""
        self.network.eval()
        mine = np.arange(self.fabric.global_rank, len(samples), self.fabric.world_size)
        groups = np.split(mine, range(EVALUATION_BATCH, len(mine), EVALUATION_BATCH))
        sums = torch.zeros(4, dtype=torch.float64, device=self.fabric.device)
        for batch in batches(samples, groups, self.fabric.device):
            batch = replace(batch, image=standardised(batch.image))
            output, counted = self._looked_at(batch)
            points, _ = self.network.decode(output)
            squares = squared_errors(points, batch)
            loss = self.network.loss(output, counted)[0] * len(batch.image)
            sums += torch.stack(
                [
                    loss,
                    loss.new_tensor(len(batch.image)),
                    squares.sum(),
                    loss.new_tensor(len(squares)),
                ]
            )
        loss, images, squares, landmarks = self.fabric.all_reduce(sums, reduce_op="sum").tolist()
        rmse_px = math.sqrt(squares / landmarks) if landmarks else math.nan
        figures = (loss / images, rmse_px, rmse_px / math.hypot(*batch.image.shape[-2:]))
        return dict(zip(VALIDATED, figures, strict=True))

    def _looked_at(self, batch: Batch) -> tuple[Any, Batch]:
        """Return the network's output, and the batch with what its loss counts.

        That is all but what no second stage can mend: else a few gross errors would choose the weights.
        """
        with self.fabric.autocast():
            if self.guesses is None:
                return self.network(batch.image), batch
            guess, seen = cast(SecondStage, self.network).first_guess(batch.image)
            return self.network(batch.image, guess, seen), self.guesses.counted(batch, guess)

    def save(self, path: Path, provenance: str, settings: dict) -> None:
        """Write everything that the rest of the run depends on, from the first process.

        `settings` are those of the run, to tell another one what it differs in.
        """
        if not self.fabric.is_global_zero:
            return
        moments = {
            f"optimizer/{index}/{name}": value
            for index, values in self.optimizer.state_dict()["state"].items()
            for name, value in values.items()
        }
        weights = {f"network/{name}": value for name, value in self.network.state_dict().items()}
        best = {f"best/{name}": value for name, value in self.state.best.items()}
        record = {
            "provenance": provenance,
            "settings": settings,
            "best_epoch": self.state.best_epoch,
            "history": self.state.history,
            "under_way": asdict(self.state.under_way),
            "precision": self.fabric.strategy.precision.state_dict(),
        }
        write_tensors(path, weights | best | moments, record)

    def resume(self, path: Path, provenance: str) -> bool:
        """Take up the checkpoint at `path`; False if there is none of use (`read_checkpoint`).

        One of more epochs than are asked for is of no use: there is no way back.
        """
        found = read_checkpoint(path, provenance)
        if found is None:
            return False
        record, tensors = found
        begun = len(record["history"]) + bool(record["under_way"]["steps"])
        if begun > self.config.epochs:
            return False
        self.network.load_state_dict(_below(tensors, "network"))
        state = self.optimizer.state_dict()
        for name, value in _below(tensors, "optimizer").items():
            index, key = name.split("/")
            state["state"].setdefault(int(index), {})[key] = value
        self.optimizer.load_state_dict(state)
        self.fabric.strategy.precision.load_state_dict(record["precision"])
        self.state = TrainingState(
            _below(tensors, "best"),
            record["best_epoch"],
            record["history"],
            Epoch(**record["under_way"]),
        )
        return True


def _groups(views: int) -> list[np.ndarray]:
    """Cut the numbers of all views into groups to look at together."""
    return np.split(np.arange(views), range(EVALUATION_BATCH, views, EVALUATION_BATCH))


@dataclass(frozen=True)
class Part:
    """A device's `views` of a batch `of` so many, and what its mean weighs in the mean over devices."""

    views: np.ndarray
    weight: float
    of: int


def part_of(batch: np.ndarray, devices: int, rank: int) -> Part:
    """Return one device's part: every view goes through one device, and all views weigh the same.

    All devices take every step together, so one that is left without a view has another's, of no weight.
    """
    mine = batch[rank::devices]
    weight = devices * len(mine) / len(batch)
    return Part(mine if len(mine) else batch[:1], weight, len(batch))


def learning_rate(config: Training, step: int, steps: int) -> float:
    """Return the learning rate of step number `step` of `steps`; cosine falls to zero."""
    if config.schedule == "constant":
        return config.learning_rate
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * step / steps))


def _not_finite(row: dict) -> str | None:
    """Name the first of an epoch's figures that is not finite."""
    for name in ("train_loss", "validation_loss", "validation_rmse_px"):
        if not math.isfinite(row[name]):
            return f"{name} is not finite"
    return None


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        k.removeprefix(f"{prefix}/"): v for k, v in tensors.items() if k.startswith(f"{prefix}/")
    }
