"""What the losses did while training."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from raymark import layout
from raymark.config.project import Project
from raymark.config.results import Experiment
from raymark.core.drawing import COLOURS, DOUBLE_IN, SINGLE_IN, explain, figure, key
from raymark.datasets.lookup import of_experiments
from raymark.evaluation.results import read_losses
from raymark.figures._places import data_sets, of_data_set
from raymark.figures.base import FigureRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def _experiments(project: Project, dataset: str) -> list[Experiment]:
    return [e for e in project.config.experiments if e.dataset == dataset]


def needs(project: Project, dataset: str) -> list[str]:
    return of_experiments(layout.LOSSES, _experiments(project, dataset))


def draw(project: Project, dataset: str, stem: str | Path) -> None:
    losses = {}
    for e in _experiments(project, dataset):
        for seed in e.seeds:
            title = project.methods[e.method].title + f", seed {seed}" * (len(e.seeds) > 1)
            losses[title] = read_losses(project, dataset, e.method, seed)
    training_curves(losses, stem)


def training_curves(losses: Mapping[str, pd.DataFrame], stem: str | Path) -> None:
    """Draw training and validation loss, and validation error, of each method.

    `losses` has the table of losses by the method's title: epoch, train_loss, validation_loss,
    validation_rmse_px, diverged. Losses of different methods are not comparable, so each has a
    panel of its own; the best epoch is ringed, divergence is marked.
    """
    from matplotlib.ticker import MaxNLocator

    columns = len(losses)
    width = max(min(2.4 * columns, DOUBLE_IN), SINGLE_IN, 1.7 * columns)
    with figure(width, 3.7, stem) as page:
        panels = page.subplots(2, columns, squeeze=False, sharex="col")
        for index, (title, table) in enumerate(losses.items()):
            colour = COLOURS[index % len(COLOURS)]
            above, below = panels[:, index]
            above.set_title(fill(title, 18, break_long_words=False, break_on_hyphens=False))
            _curve(above, table, "train_loss", "#555555", (0, (4, 1.5)))
            _curve(above, table, "validation_loss", colour, "-")
            _curve(below, table, "validation_rmse_px", colour, "-")
            _mark(above, below, table, colour)
            below.set_xlabel("epoch")
            below.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
            below.set_ylim(bottom=0)
            below.set_xlim(0.5, table["epoch"].max() + 0.5)
        panels[0, 0].set_ylabel("loss")
        panels[1, 0].set_ylabel("validation RMSE\n(px of the image)")
        explain(page, *_keys(losses), ncols=4 if columns > 1 else 2, handlelength=2.6)


def _curve(axes: "Axes", table: pd.DataFrame, column: str, colour: str, dashes: Any) -> None:
    values = table[column].where(np.isfinite(table[column]))
    alone: dict[str, Any] = {"marker": "o", "ms": 3} if values.notna().sum() < 3 else {}
    axes.plot(table["epoch"], values, color=colour, ls=dashes, **alone)
    known = values.dropna()
    if (
        len(known)
        and known.min() > 0
        and known.max() / known.min() > 20
        and column != "validation_rmse_px"
    ):
        axes.set_yscale("log")


def _mark(above: "Axes", below: "Axes", table: pd.DataFrame, colour: str) -> None:
    """Ring the epoch that was kept, and mark the one that diverged."""
    validation = table["validation_loss"].where(np.isfinite(table["validation_loss"]))
    if validation.notna().any():
        best = table.loc[validation.idxmin()]
        for axes, column in ((above, "validation_loss"), (below, "validation_rmse_px")):
            axes.plot(best["epoch"], best[column], "o", ms=6, mfc="white", mec=colour, mew=1.4,
                      clip_on=False)  # fmt: skip
    diverged = table.loc[table["diverged"].astype(bool), "epoch"]
    for epoch in diverged:
        for axes in (above, below):
            axes.axvline(epoch, color="black", ls=":", lw=1)
        above.text(epoch, 0.97, "diverged ", transform=above.get_xaxis_transform(), ha="right",
                   va="top", fontsize=7)  # fmt: skip


def _keys(losses: Mapping[str, pd.DataFrame]) -> list:
    keys = [
        key(color="#555555", ls=(0, (4, 1.5)), label="training loss"),
        key(color=COLOURS[0], label="validation"),
        key(ls="", marker="o", ms=6, mfc="white", mec=COLOURS[0], mew=1.4,
               label="best epoch (kept)"),
    ]  # fmt: skip
    if any(table["diverged"].astype(bool).any() for table in losses.values()):
        keys.append(key(color="black", ls=":", lw=1, label="divergence"))
    return keys


FIGURE = FigureRecord(
    about="losses and validation error of every epoch",
    caption="""\
Losses and validation error (RMSE in px of the image over visible landmarks) after each epoch on **{of}**.
Losses of different methods are not comparable. The ringed epoch's weights were kept.""",
    of=data_sets,
    needs=needs,
    draw=draw,
    chapter=of_data_set,
)
