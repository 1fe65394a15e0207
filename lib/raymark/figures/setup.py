"""Treatment images laid on the plan, and how the errors of the registrations are distributed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.ndimage import shift

from raymark import layout
from raymark.config.project import Project
from raymark.core.drawing import (
    DOUBLE_IN,
    ORANGE,
    SINGLE_IN,
    SKY,
    VERMILION,
    figure,
    line_of,
    note,
    show_xray,
)
from raymark.datasets.lookup import shards_of
from raymark.datasets.shards import Shards
from raymark.evaluation.errors import read_predictions
from raymark.landmarks.table import read_landmark_set
from raymark.radiotherapy.setup_errors import SetupView, setup_views
from raymark.radiotherapy.setup_table import INTENSITY, LANDMARKS, NOTHING, read_setup
from raymark.views.plan import evenly, read_views

SHOWN = 3
COLUMNS = {NOTHING: "Before", LANDMARKS: "By landmarks", INTENSITY: "By intensities"}
TILES = 6  # of the chequerboard, along the shorter side
PLANNED = {"ls": "", "marker": "o", "mfc": "none", "mec": SKY, "mew": 0.9, "ms": 4.2}
FOUND = {"ls": "", "marker": "x", "color": ORANGE, "mew": 0.9, "ms": 3.6}
UNUSED = {"ls": "", "marker": "x", "color": VERMILION, "mew": 0.9, "ms": 3.6}


@dataclass(frozen=True)
class Compared:
    """One view: treatment image and reference (y, x), planned and found landmarks (n, 2) in px, which
    of the found ones agree (n,), displacements (x, y) in mm by registration, mm per px, errors in mm."""

    title: str
    image_yx: np.ndarray
    reference_yx: np.ndarray
    planned_px: np.ndarray
    found_px: np.ndarray
    agree: np.ndarray
    estimates_mm: Mapping[str, np.ndarray]
    errors_mm: Mapping[str, float]
    mm_per_px: float


def compared_views(project: Project, place: Mapping) -> list[Compared]:
    """Collect views of one table of set-up errors, spread over it, with all that is drawn of them."""
    dataset = project.datasets[place["dataset"]]
    beams = {(p["dataset"], p["method"]): p["reference"] for p in project.setup_places()}
    reference = project.datasets[beams[place["dataset"], place["method"]]].physics
    measured = read_setup([layout.SETUP.format(**place)]).set_index(["view", "registration"])
    chosen = evenly(list(dict.fromkeys(measured.index.get_level_values("view"))), SHOWN)
    shards = Shards(shards_of(project, place["dataset"], place["view_set"]))
    views = read_views(layout.VIEWS.format(dataset=dataset.name)).set_index("view")
    shown = setup_views(
        [shards.views.index(view) for view in chosen],
        shards,
        read_predictions(layout.PREDICTIONS.format(**place)),
        views,
        dataset,
        read_landmark_set(dataset.landmarks).kind_of,
        reference,
    )
    return [_compared(view, measured.loc[view.view], project) for view in shown]


def _compared(view: SetupView, rows: pd.DataFrame, project: Project) -> Compared:
    match, _ = view.by_landmarks(project.config.setup)
    used = {found for found, _ in match.pairs} if match else set()
    return Compared(
        title=f"displaced by {np.hypot(*view.true_mm):.1f} mm",
        image_yx=view.image_yx,
        reference_yx=view.reference_yx,
        planned_px=view.planned.points_px,
        found_px=view.points_px,
        agree=np.array([number in used for number in range(len(view.points_px))], dtype=bool),
        estimates_mm={r: rows.loc[r, ["x_mm", "y_mm"]].to_numpy(float) for r in COLUMNS},
        errors_mm=rows["error_mm"].to_dict(),
        mm_per_px=view.mm_per_px,
    )


def setup_overlays(views: Sequence[Compared], columns: Mapping[str, str], stem: str | Path) -> None:
    """Draw a row per view: plan, treatment image, and chequerboards of both for every registration.

    `columns` names the registrations drawn, by their keys in `estimates_mm`, in order.
    """
    height, width = views[0].image_yx.shape
    count = 2 + len(columns)
    row_in = DOUBLE_IN / count * height / width
    with figure(DOUBLE_IN, len(views) * (row_in + 0.02) + 0.42, stem) as page:
        page.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.0, hspace=0.0)
        panels = page.subplots(len(views), count, squeeze=False)
        for axes, view in zip(panels, views, strict=True):
            _draw_row(axes, view, columns)
        titles = ["Plan (DRR)", "Treatment image", *columns.values()]
        for axes, title in zip(panels[0], titles, strict=True):
            axes.set_title(title, pad=3)
        _explain(page)


def _draw_row(axes: Sequence[Axes], view: Compared, columns: Mapping[str, str]) -> None:
    show_xray(axes[0], view.reference_yx)
    axes[0].plot(*view.planned_px.T, **PLANNED)
    note(axes[0], view.title)
    show_xray(axes[1], view.image_yx)
    axes[1].plot(*view.found_px[view.agree].T, **FOUND)
    axes[1].plot(*view.found_px[~view.agree].T, **UNUSED)
    for panel, registration in zip(axes[2:], columns, strict=True):
        estimate_mm = view.estimates_mm[registration]
        if not np.isfinite(estimate_mm).all():
            panel.set_axis_off()
            panel.text(0.5, 0.5, "not registered", ha="center", transform=panel.transAxes)
            continue
        back_px = -estimate_mm / view.mm_per_px
        board = chequerboard(view.reference_yx, moved_back(view.image_yx, back_px))
        panel.imshow(board, cmap="gray", vmin=0, vmax=1)
        panel.set_axis_off()
        panel.plot(*view.planned_px.T, **PLANNED)
        used = view.found_px[view.agree] + back_px
        panel.plot(*used.T, **FOUND)
        note(panel, f"off by {view.errors_mm[registration]:.1f} mm")


def moved_back(image_yx: np.ndarray, by_px: np.ndarray) -> np.ndarray:
    """Move an image's content by (x, y) px; what comes in is NaN."""
    image = np.asarray(image_yx, dtype=float)
    return shift(image, (by_px[1], by_px[0]), order=1, cval=np.nan)


def chequerboard(first_yx: np.ndarray, second_yx: np.ndarray) -> np.ndarray:
    """Lay tiles of two images side by side, each from 0 to 1 between its 2nd and 99th percentile.

    What an image does not show (NaN) is 0.
    """
    scaled = []
    for image in (first_yx, second_yx):
        low, high = np.nanpercentile(np.asarray(image, dtype=float), (2, 99))
        scaled.append(np.nan_to_num(np.clip((image - low) / max(high - low, 1e-6), 0, 1)))
    y, x = np.indices(first_yx.shape)
    tile_px = max(min(first_yx.shape) / TILES, 1)
    first = (y // tile_px + x // tile_px) % 2 == 0
    return np.where(first, *scaled)


def _explain(page: Figure) -> None:
    keys = [
        Line2D([], [], **PLANNED, label="planned landmark"),
        Line2D([], [], **FOUND, label="found, agrees"),
        Line2D([], [], **UNUSED, label="found, left out"),
    ]
    page.legend(handles=keys, loc="outside lower center", ncols=3)


def setup_errors(
    errors_mm: Mapping[str, np.ndarray], within_mm: Sequence[float], stem: str | Path
) -> None:
    """Draw the share of views whose set-up error is at most so large, by registration.

    `errors_mm` has an error (n,) for every view; NaN, a view that was not registered, never counts.
    """
    known = np.concatenate([np.asarray(e)[np.isfinite(e)] for e in errors_mm.values()])
    with figure(SINGLE_IN, 2.9, stem) as page:
        axes = page.subplots()
        for index, (title, values) in enumerate(errors_mm.items()):
            there = np.sort(values[np.isfinite(values)])
            share = 100 * np.arange(len(there) + 1) / len(values)
            axes.step(np.concatenate([[0.0], there]), share, where="post", label=title,
                      **line_of(index))  # fmt: skip
        for limit in within_mm:
            axes.axvline(limit, color="0.6", lw=0.6, zorder=0)
        axes.set(xlabel="set-up error (mm)", ylabel="views with at most this error (%)")
        axes.set(xlim=(0, 1.05 * known.max(initial=1.0)), ylim=(0, 101))
        axes.grid(True)
        page.legend(loc="outside lower center", ncols=1, handlelength=3.2)
