"""Confidence against error (Bier 2018, Fig. 4b)."""

from pathlib import Path

import numpy as np
import pandas as pd

from raymark.config.project import Project
from raymark.core.drawing import GREY, SINGLE_IN, VERMILION, colour_bar, figure
from raymark.figures._places import of_experiment, standard_experiments
from raymark.figures._results import error_files, first_instances
from raymark.figures.base import FigureRecord

FEWEST = 5  # points that a median needs


def draw(project: Project, dataset: str, method: str, view_set: str, stem: str | Path) -> None:
    errors = first_instances(error_files(project, dataset, method, view_set))
    belief_error(errors, project.methods[method].detection_threshold, stem)


def belief_error(errors: pd.DataFrame, threshold: float | None, stem: str | Path) -> None:
    """Draw the density of confidence and error of visible landmarks, and the error's median.

    The legend tells their rank correlation (Spearman).
    `errors` has confidence, error_px, visible. The error axis is logarithmic; errors below 0.1 px
    are drawn there. `threshold` is the confidence from which a landmark counts as detected.
    """
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import LogLocator

    rows = errors[errors["visible"] & errors["error_px"].notna()]
    confidence = rows["confidence"].to_numpy(float)
    error_px = np.maximum(rows["error_px"].to_numpy(float), 0.1)
    left, right = np.floor(confidence.min() * 10) / 10, max(1.0, confidence.max())
    x_edges = np.linspace(min(left, 0.0), right, 41)
    low, high = np.log10(error_px.min()) - 0.05, np.log10(error_px.max()) + 0.05
    y_edges = np.logspace(low, high, 41)
    rank = f"{rows['confidence'].rank().corr(rows['error_px'].rank()):.2f}".replace("-", "−")
    with figure(SINGLE_IN, 2.9, stem) as page:
        axes = page.subplots()
        density, _, _ = np.histogram2d(confidence, error_px, [x_edges, y_edges])
        mesh = axes.pcolormesh(
            x_edges,
            y_edges,
            np.ma.masked_equal(density, 0).T,
            cmap="Greys",
            norm=LogNorm(vmin=0.5, vmax=max(density.max(), 2)),
        )
        label = f"median error ({len(rows)} landmarks, rank correlation {rank})"
        medians = _running_median(confidence, error_px, x_edges[::2])
        axes.plot(*medians, color=VERMILION, marker="o", ms=2.8, label=label)
        if threshold is not None and x_edges[0] < threshold < x_edges[-1]:
            axes.axvline(threshold, color=GREY, ls=(0, (4, 2)), lw=0.9)
            axes.text(threshold, 1.01, f"detected from {threshold:g}", ha="center", va="bottom",
                      transform=axes.get_xaxis_transform(), color=GREY, fontsize=6.5)  # fmt: skip
        axes.set(yscale="log", xlabel="confidence (maximum belief)")
        axes.set(ylabel="radial error (px of the image)")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
        colour_bar(page, mesh, "landmarks per cell", ax=axes, pad=0.02, shrink=0.9, format="{x:g}")
        page.legend(loc="outside lower center")


def _running_median(x: np.ndarray, y: np.ndarray, edges: np.ndarray) -> tuple[list, list]:
    """Return the middle and the median of y of every interval of x that holds enough points."""
    cell = np.digitize(x, edges) - 1
    middles, medians = [], []
    for index in range(len(edges) - 1):
        inside = y[cell == index]
        if len(inside) >= FEWEST:
            middles.append((edges[index] + edges[index + 1]) / 2)
            medians.append(float(np.median(inside)))
    return middles, medians


FIGURE = FigureRecord(
    about="confidence against error",
    caption="""\
Confidence and error in px of the image of every visible landmark, **{of}**; the line is the median
error at each confidence, the rank correlation Spearman's.""",
    beside={"bier2018": "Fig. 4b"},
    of=standard_experiments,
    needs=error_files,
    draw=draw,
    chapter=of_experiment,
)
