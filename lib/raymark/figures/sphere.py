"""A number per viewing direction, drawn as a map over the view sphere (Bier 2018, Figs. 4a and 5)."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from raymark.figures.style import DOUBLE_IN, SEQUENTIAL, SINGLE_IN, figure
from raymark.landmark_names import readable
from raymark.metrics.detection import accuracy_by_view


def sphere_accuracy(errors: pd.DataFrame, threshold_px: float, stem: str | Path) -> None:
    """Draw the accuracy of every viewing direction.

    `errors` has view, primary_deg, secondary_deg, error_px, error_detector_mm, visible, detected;
    accuracy is the share of a view's detections with an error below `threshold_px`.
    """
    angles = errors.drop_duplicates("view").set_index("view")[["primary_deg", "secondary_deg"]]
    views = accuracy_by_view(errors, threshold_px).join(angles, on="view")
    percent = 100 * views["accuracy"].to_numpy()
    lowest = 50 if percent.min(initial=100, where=np.isfinite(percent)) >= 50 else 0
    with figure(SINGLE_IN, _height_in(views, 2.3) + 0.15, stem) as page:
        axes = page.subplots()
        mesh = _draw(axes, views, percent, (lowest, 100))
        axes.set_title(f"{views['detections'].sum()} detections in {len(views)} views", pad=3)
        limit_mm = threshold_px * (errors["error_detector_mm"] / errors["error_px"]).median()
        _bar(axes, mesh, f"detections within {threshold_px:g} px = {limit_mm:.3g} mm (%)")


def belief_sphere(errors: pd.DataFrame, landmarks: list[str], stem: str | Path) -> None:
    """Draw the mean confidence of some landmarks over the viewing directions, side by side.

    `errors` has landmark, primary_deg, secondary_deg, confidence.
    """
    with figure(DOUBLE_IN, _height_in(errors, 2.7) + 0.15, stem) as page:
        all_axes = np.atleast_1d(page.subplots(1, len(landmarks), sharey=True))
        for number, (axes, landmark) in enumerate(zip(all_axes, landmarks, strict=True)):
            rows = errors[errors["landmark"] == landmark]
            top = max(1.0, float(errors["confidence"].max()))
            mesh = _draw(axes, rows, rows["confidence"].to_numpy(), (0, top))
            axes.set_title(readable(landmark))
            if number:
                axes.set_ylabel("")
        _bar(all_axes[-1], mesh, "confidence (maximum belief)")


def steadiest_and_most_varied(errors: pd.DataFrame) -> list[str]:
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
    axes.set(xlabel="RAO ← angle (°) → LAO", ylabel="CAUD ← angle (°) → CRAN")
    axes.set_xticks(_ticks(x_edges))
    axes.set_yticks(_ticks(y_edges))
    if not known.any():
        axes.text(0.5, 0.5, "nothing detected", transform=axes.transAxes, ha="center",
                  bbox={"facecolor": "white", "edgecolor": "none"})  # fmt: skip
    return mesh


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
