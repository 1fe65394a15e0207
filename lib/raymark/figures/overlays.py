"""Predicted and true landmarks drawn on X-rays over the view sphere (Bier 2018, Fig. 3)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from raymark.figures.style import (
    DARK,
    DOT,
    DOUBLE_IN,
    RING,
    VERMILION,
    cran_caud,
    figure,
    note,
    rao_lao,
    show_xray,
)

COLUMNS, ROWS = 5, 3
MANY = 30  # landmarks, from which on marks are drawn smaller
LINE = {"color": VERMILION, "lw": 0.8}


def pick_views(views: pd.DataFrame) -> pd.DataFrame:
    """Choose views spread evenly over the sphere: rows from cranial down, columns from RAO to LAO.

    `views` has view, primary_deg, secondary_deg, one row per view. Of scattered views the nearest
    to each place is taken; none is taken twice, so fewer views give fewer rows.
    """
    views = views.drop_duplicates("view").sort_values("view")
    primary, secondary = (views[k].to_numpy(float) for k in ("primary_deg", "secondary_deg"))
    free, chosen = np.ones(len(views), dtype=bool), []
    for y in np.linspace(secondary.max(), secondary.min(), ROWS):
        for x in np.linspace(primary.min(), primary.max(), COLUMNS):
            if not free.any():
                break
            distance = np.where(free, np.hypot(primary - x, secondary - y), np.inf)
            nearest = int(distance.argmin())
            free[nearest] = False
            chosen.append(nearest)
    return views.iloc[chosen].reset_index(drop=True)


def overlays(
    views: pd.DataFrame, images: Mapping[str, np.ndarray], errors: pd.DataFrame, stem: str | Path
) -> None:
    """Draw a grid of X-rays with true landmarks ringed and predicted ones as dots.

    `views` as from `pick_views`, drawn in its order; `images` (y, x) by view; `errors` of one
    training: view, landmark, x_px, y_px, x_true_px, y_true_px, visible, detected. A ring without a
    dot is a landmark that was not detected.
    """
    columns = min(COLUMNS, len(views))
    rows = -(-len(views) // columns)
    height, width = next(iter(images.values())).shape
    panel_in = DOUBLE_IN / columns
    with figure(DOUBLE_IN, rows * (panel_in * height / width + 0.03) + 0.36, stem) as page:
        page.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.0, hspace=0.0)
        panels = page.subplots(rows, columns, squeeze=False)
        for axes in panels.flat[len(views) :]:
            axes.set_axis_off()
        for axes, view in zip(panels.flat, views["view"], strict=False):
            show_xray(axes, images[view])
            _draw_points(axes, errors[(errors["view"] == view) & errors["visible"]])
        _name_angles(panels, views)
        _explain(page)


def _draw_points(axes: Axes, rows: pd.DataFrame) -> None:
    found = rows[rows["detected"] & rows["x_px"].notna()]
    for row in found.itertuples():
        axes.plot([row.x_true_px, row.x_px], [row.y_true_px, row.y_px], **LINE)
    size = 1.0 if len(rows) < MANY else 0.65
    axes.plot(
        rows["x_true_px"], rows["y_true_px"], **RING, ms=4.2 * size, mew=0.75, path_effects=DARK
    )
    axes.plot(found["x_px"], found["y_px"], **DOT, ms=2.1 * size)


def _name_angles(panels: np.ndarray, views: pd.DataFrame) -> None:
    """Name rows and columns where the views form a grid, every panel where they do not.

    Views that are all taken from the same side need no names.
    """
    if len(views[["primary_deg", "secondary_deg"]].drop_duplicates()) == 1 < len(views):
        return
    columns = panels.shape[1]
    place = views.assign(row=views.index // columns, column=views.index % columns)
    regular = (
        place.groupby("column")["primary_deg"].nunique().eq(1).all()
        and place.groupby("row")["secondary_deg"].nunique().eq(1).all()
    )
    for axes, view in zip(panels.flat, place.itertuples(), strict=False):
        across, along = rao_lao(view.primary_deg), cran_caud(view.secondary_deg)
        if not regular:
            note(axes, f"{across}\n{along}")
            continue
        if view.row == 0:
            axes.set_title(across, fontweight="normal", pad=3)
        if view.column == 0:
            axes.text(-0.03, 0.5, along, transform=axes.transAxes, rotation=90, va="center",
                      ha="right", fontsize=8)  # fmt: skip


def _explain(page: Figure) -> None:
    keys = [
        Line2D([], [], **RING, ms=5, path_effects=DARK, label="true (ring alone: not detected)"),
        Line2D([], [], **DOT, ms=4, label="predicted"),
        Line2D([], [], **LINE, label="error"),
    ]
    page.legend(handles=keys, loc="outside lower center", ncols=3)
