"""A number per viewing direction, drawn as a map over the view sphere (Bier 2018, Figs. 4a and 5)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from raymark.core.drawing import DOUBLE_IN, SEQUENTIAL, SINGLE_IN, figure
from raymark.landmarks.names import readable
from raymark.metrics.detection import accuracy_by_view

OUTSIDE = {"ls": "", "marker": "x", "ms": 2.6, "mew": 0.6, "color": "white", "mec": "#C4C4C4",
           "label": "not on the image"}  # fmt: skip


def sphere_accuracy(errors: pd.DataFrame, within: Mapping[str, float], stem: str | Path) -> None:
    """Draw the accuracy of every viewing direction, for each threshold a map of its own.

    `errors` has view, primary_deg, secondary_deg, error_px, visible, detected; accuracy is the share
    of a view's detections with an error below the threshold, `within` has thresholds in px by title.
    """
    angles = errors.drop_duplicates("view").set_index("view")[["primary_deg", "secondary_deg"]]
    maps = [accuracy_by_view(errors, px).join(angles, on="view") for px in within.values()]
    percents = [100 * views["accuracy"].to_numpy() for views in maps]
    least = min(p.min(initial=100, where=np.isfinite(p)) for p in percents)
    width_in = SINGLE_IN if len(maps) == 1 else DOUBLE_IN
    map_in = 2.3 if len(maps) == 1 else 2.7
    with figure(width_in, _height_in(maps[0], map_in) + 0.15, stem) as page:
        panels = page.subplots(1, len(maps), sharey=True, squeeze=False)[0]
        for axes, title, views, percent in zip(panels, within, maps, percents, strict=True):
            mesh = _draw(axes, views, percent, (50 if least >= 50 else 0, 100))
            axes.set_title(title, pad=3)
            axes.label_outer()
        _bar(panels[-1], mesh, f"accuracy (%), {maps[0]['detections'].sum()} detections")


def belief_sphere(errors: pd.DataFrame, landmarks: list[str], stem: str | Path) -> None:
    """Draw the mean confidence of some landmarks over the viewing directions, side by side.

    `errors` has landmark, primary_deg, secondary_deg, confidence, visible. Directions from which a
    landmark does not lie on any image are marked: there, none is to be believed in.
    """
    with figure(DOUBLE_IN, _height_in(errors, 2.7) + 0.15, stem) as page:
        all_axes = np.atleast_1d(page.subplots(1, len(landmarks), sharey=True))
        for number, (axes, landmark) in enumerate(zip(all_axes, landmarks, strict=True)):
            rows = errors[errors["landmark"] == landmark]
            top = max(1.0, float(errors["confidence"].max()))
            mesh = _draw(axes, rows, rows["confidence"].to_numpy(), (0, top))
            axes.set_title(readable(landmark))
            _mark_outside(axes, rows)
            if number:
                axes.set_ylabel("")
        _bar(all_axes[-1], mesh, "confidence (maximum belief)")
        page.legend(handles=[Line2D([], [], **OUTSIDE)], loc="outside lower center")


def steadiest_and_most_varied(errors: pd.DataFrame) -> list[str]:
    """Choose the two landmarks of `belief_sphere`: of high and even, and of uneven confidence.

    Confidence where they lie on the image counts, of landmarks that do in half of the views; where
    there are no two of these, of all.
    """
    seen = errors[errors["visible"]]
    often = seen.groupby("landmark")["view"].nunique() >= errors["view"].nunique() / 2
    if often.sum() > 1:
        seen = seen[seen["landmark"].isin(often.index[often])]
    spread = seen.groupby("landmark")["confidence"].agg(["mean", "std"])
    steadiest = (spread["mean"] - spread["std"]).idxmax()
    rest = spread.drop(index=steadiest)
    return [steadiest] if rest.empty else [steadiest, rest["std"].fillna(0.0).idxmax()]


def _draw(axes: Axes, views: pd.DataFrame, value: np.ndarray, limits: tuple[float, float]):
    """Draw the mean of `value` (n,) in cells of LAO/RAO and CRAN/CAUD; empty cells are hatched."""
    x_edges, y_edges = (bin_edges(views[key]) for key in ("primary_deg", "secondary_deg"))
    known = np.isfinite(value)
    place = [views["secondary_deg"][known], views["primary_deg"][known]]
    bins = [y_edges, x_edges]
    total, count = (np.histogram2d(*place, bins, weights=w)[0] for w in (value[known], None))
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


def _mark_outside(axes: Axes, rows: pd.DataFrame) -> None:
    """Dot the cells of `_draw` in which a landmark is visible in no view."""
    edges = [bin_edges(rows[key]) for key in ("secondary_deg", "primary_deg")]
    visible = rows["visible"].to_numpy()
    place = [rows[key].to_numpy() for key in ("secondary_deg", "primary_deg")]
    looked_at, seen = (np.histogram2d(*place, edges, weights=w)[0] for w in (None, visible))
    row, column = np.nonzero((looked_at > 0) & (seen == 0))
    y, x = ((e[1:] + e[:-1]) / 2 for e in edges)
    axes.plot(x[column], y[row], **OUTSIDE)


def _bar(axes: Axes, mesh, label: str) -> None:
    """Add a colour bar as tall as the map."""
    bar = axes.figure.colorbar(mesh, cax=axes.inset_axes([1.04, 0, 0.05, 1]))
    bar.set_label(label)
    bar.outline.set_linewidth(0.6)


def _height_in(views: pd.DataFrame, map_in: float) -> float:
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
