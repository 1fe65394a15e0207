"""How far a training has come."""

import math
from dataclasses import dataclass, field

from torch import Tensor

from raymark.config.method import Training
from raymark.methods.base import LandmarkNetwork
from raymark.training.model_files import copied


@dataclass
class Epoch:
    """How far an epoch has come; `sums` are of the losses, over its views so far."""

    steps: int = 0
    views: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)

    def add(self, losses: dict[str, float], views: int) -> None:
        self.steps += 1
        self.views += views
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * views


@dataclass
class TrainingState:
    """How far a run has come: one row of losses per epoch, and the best weights so far."""

    best: dict[str, Tensor]
    best_epoch: int | None = None
    history: list[dict] = field(default_factory=list)
    under_way: Epoch = field(default_factory=Epoch)

    @property
    def diverged(self) -> bool:
        return bool(self.history) and self.history[-1]["diverged"]

    @property
    def diverged_because(self) -> str | None:
        return self.history[-1]["diverged_because"] if self.history else None

    def finished(self, config: Training) -> bool:
        """Tell whether to stop: all epochs done, diverged, or no better for `patience` epochs."""
        waited = len(self.history) - (self.best_epoch or 0)
        impatient = config.patience is not None and waited >= config.patience
        return self.diverged or impatient or len(self.history) >= config.epochs

    def add(self, row: dict, network: LandmarkNetwork) -> None:
        """Add an epoch; keep its weights if no epoch before validated better."""
        least = min((r["validation_loss"] for r in self.history), default=math.inf)
        self.history.append(row)
        self.under_way = Epoch()
        if not row["diverged"] and row["validation_loss"] < least:
            self.best, self.best_epoch = copied(network.state_dict()), row["epoch"]
