"""A number per viewing direction, drawn as a map over the view sphere (Bier 2018, Figs. 4a and 5)."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from raymark.figures.style import DOUBLE_IN, SEQUENTIAL, SINGLE_IN, figure
from raymark.metrics.detection import accuracy_by_view

COARSEST_BINS = 12


def sphere_accuracy(errors: pd.DataFrame, threshold_px: float, stem: str | Path) -> None:
    """Draw the accuracy of every viewing direction.

    `errors` has view, primary_deg, secondary_deg, error_px, visible, detected; accuracy is the share
    of a view's detections with an error below `threshold_px`.
    """
    angles = errors.drop_duplicates("view").set_index("view")[["primary_deg", "secondary_deg"]]
    views = accuracy_by_view(errors, threshold_px).join(angles, on="view")
    with figure(SINGLE_IN, 2.75, stem) as page:
        axes = page.subplots()
        percent = 100 * views["accuracy"].to_numpy()
        mesh = _draw(axes, views, percent, (0, 100))
        bar = page.colorbar(mesh, ax=axes, shrink=0.9, pad=0.02)
        bar.set_label(f"detections within {threshold_px:g} px (%)")
        bar.outline.set_linewidth(0.6)


def belief_sphere(errors: pd.DataFrame, landmarks: list[str], stem: str | Path) -> None:
    """Draw the mean confidence of some landmarks over the viewing directions, side by side.

    `errors` has landmark, primary_deg, secondary_deg, confidence.
    """
    with figure(DOUBLE_IN, 2.75, stem) as page:
        all_axes = np.atleast_1d(page.subplots(1, len(landmarks), sharey=True))
        for number, (axes, landmark) in enumerate(zip(all_axes, landmarks, strict=True)):
            rows = errors[errors["landmark"] == landmark]
            top = max(1.0, float(errors["confidence"].max()))
            mesh = _draw(axes, rows, rows["confidence"].to_numpy(), (0, top))
            axes.set_title(landmark.replace("_", " "))
            if number:
                axes.set_ylabel("")
        bar = page.colorbar(mesh, ax=list(all_axes), shrink=0.9, pad=0.01)
        bar.set_label("confidence (maximum belief)")
        bar.outline.set_linewidth(0.6)


def widest_and_steadiest(errors: pd.DataFrame) -> list[str]:
    """Choose the two landmarks of `belief_sphere`: of high and even, and of uneven confidence."""
    spread = errors.groupby("landmark")["confidence"].agg(["mean", "std"])
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
    axes.set(xlabel="RAO ← primary angle (°) → LAO", ylabel="CAUD ← secondary angle (°) → CRAN")
    axes.set_xticks(_ticks(x_edges))
    axes.set_yticks(_ticks(y_edges))
    axes.set_aspect("equal" if 0.4 < np.ptp(y_edges) / np.ptp(x_edges) < 1.6 else "auto")
    return mesh


def bin_edges(angles: pd.Series) -> np.ndarray:
    """Return cell borders: about each step of a grid, else evenly over scattered angles.

    Scattered views get so many cells that each holds a few of them.
    """
    steps = np.unique(np.round(np.asarray(angles, float), 3))
    distances = np.diff(steps)
    if len(steps) == 1:
        return steps[0] + np.array([-2.5, 2.5])
    if np.allclose(distances, np.round(distances / distances.min()) * distances.min(), atol=0.01):
        half = distances.min() / 2
        return np.linspace(
            steps[0] - half, steps[-1] + half, round(np.ptp(steps) / distances.min()) + 2
        )
    cells = int(np.clip(np.sqrt(len(steps) / 4), 3, COARSEST_BINS))
    return np.linspace(steps[0], steps[-1], cells + 1)


def _ticks(edges: np.ndarray) -> np.ndarray:
    span = edges[-1] - edges[0]
    step = next(s for s in (5, 10, 15, 30, 45, 90, 180, 360) if span / s <= 8 or s == 360)
    return np.arange(np.ceil(edges[0] / step) * step, edges[-1] + 1e-9, step)
