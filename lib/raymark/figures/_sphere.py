"""A number per viewing direction, drawn as a map over the view sphere."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from raymark.core.drawing import SEQUENTIAL, colour_bar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh


def draw_cells(
    axes: "Axes", views: pd.DataFrame, value: np.ndarray, limits: tuple[float, float]
) -> "QuadMesh":
    """Draw the mean of `value` (n,) in cells of LAO/RAO and CRAN/CAUD; empty cells are hatched."""
    x_edges, y_edges = (bin_edges(views[key]) for key in ("primary_deg", "secondary_deg"))
    known = np.isfinite(value)
    y, x = views["secondary_deg"][known], views["primary_deg"][known]
    bins = [y_edges, x_edges]
    total, count = (np.histogram2d(y, x, bins, weights=w)[0] for w in (value[known], None))
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    axes.patch.set(facecolor="white", hatch="////", edgecolor="#BBBBBB")
    mesh = axes.pcolormesh(
        x_edges,
        y_edges,
        np.ma.masked_invalid(mean),
        cmap=SEQUENTIAL,
        vmin=limits[0],
        vmax=limits[1],
    )
    mesh.set_rasterized(False)
    axes.set(xlabel="RAO ← angle (°) → LAO", ylabel="CAUD ← angle (°) → CRAN")
    axes.set_xticks(_ticks(x_edges))
    axes.set_yticks(_ticks(y_edges))
    if not known.any():
        axes.text(0.5, 0.5, "nothing detected", transform=axes.transAxes, ha="center",
                  bbox={"facecolor": "white", "edgecolor": "none"})  # fmt: skip
    return mesh


def side_bar(axes: "Axes", mesh: "QuadMesh", label: str) -> None:
    """Add a colour bar as tall as the map."""
    colour_bar(axes.figure, mesh, label, cax=axes.inset_axes((1.04, 0, 0.05, 1)))


def height_in(views: pd.DataFrame, map_in: float) -> float:
    """Return a height that gives a map `map_in` wide about equal degrees along both axes."""
    spans = [np.ptp(bin_edges(views[key])) for key in ("secondary_deg", "primary_deg")]
    return float(np.clip(spans[0] / spans[1], 0.5, 1.3)) * map_in + 0.55


def bin_edges(angles: pd.Series) -> np.ndarray:
    """Return cell borders: about each step of a grid, else evenly over scattered angles.

    Scattered views get so many cells that each holds a few of them.
    """
    steps = np.unique(np.round(np.asarray(angles, float), 3))
    if len(steps) == 1:
        return steps[0] + np.array([-2.5, 2.5])
    step = np.diff(steps).min()
    cells = np.ptp(steps) / step + 1
    if cells < 2 * len(steps):  # a grid, even if some of it is missing
        return np.linspace(steps[0] - step / 2, steps[-1] + step / 2, round(cells) + 1)
    return np.linspace(steps[0], steps[-1], int(np.clip(np.sqrt(len(steps) / 4), 3, 12)) + 1)


def _ticks(edges: np.ndarray) -> np.ndarray:
    span = edges[-1] - edges[0]
    step = next(s for s in (5, 10, 15, 30, 45, 90, 180, 360) if span / s <= 8 or s == 360)
    return np.arange(np.ceil(edges[0] / step) * step, edges[-1] + 1e-9, step)
