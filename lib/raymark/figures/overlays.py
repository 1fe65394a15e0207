"""Predicted and true landmarks drawn on X-rays over the view sphere (Bier 2018, Fig. 3)."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from raymark import layout
from raymark.config.project import Project
from raymark.core.drawing import (
    DOT,
    DOUBLE_IN,
    RING,
    VERMILION,
    cran_caud,
    dark_edge,
    direction,
    explain,
    figure,
    key,
    pack,
    rao_lao,
    show_xray,
)
from raymark.datasets.lookup import dataset_of, landmark_names, shard_files, shards_of
from raymark.datasets.shards import Shards
from raymark.figures._places import experiments, first_training, is_grid, of_experiment
from raymark.figures._results import first_instances, images_of, landmark_files
from raymark.figures.base import FigureRecord
from raymark.metrics.cobb import cobb_by_view, shows_spine
from raymark.views.plan import evenly

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS, ROWS = 5, 3
ABREAST = 6  # panels that fit side by side
TEXT_PT, LINE_IN = 6.5, 0.115
MANY = 30  # landmarks, from which on marks are drawn smaller
LINE: dict[str, Any] = {"color": VERMILION, "lw": 0.8}


def needs(project: Project, dataset: str, method: str, view_set: str) -> list[str]:
    errors = layout.ERRORS.format(**first_training(project, dataset, method, view_set))
    return [errors, *landmark_files(project, dataset), *shard_files(project, dataset, view_set)]


def draw(project: Project, dataset: str, method: str, view_set: str, stem: str | Path) -> None:
    """Draw the first training's predictions: a view of each rendered subject, where there are several
    and no grid of views; else views over the sphere."""
    errors = first_instances(needs(project, dataset, method, view_set)[:1])
    views = errors[["view", "subject", "primary_deg", "secondary_deg"]]
    if dataset not in project.datasets:
        views = pick_views(views.drop(columns="subject"))
    elif is_grid(project, dataset, view_set) or views["subject"].nunique() == 1:
        first = views["subject"] == views["subject"].min()
        views = pick_views(views[first].drop(columns="subject"))
    else:
        views = one_view_each(views)
    settings = dataset_of(project, dataset)
    names, angles = landmark_names(settings), {}
    if shows_spine(names):
        shown = errors[errors["view"].isin(views["view"])]
        angles = main_angles(cobb_by_view(shown, names, settings.detector.height_px))
    shards = Shards(shards_of(project, dataset, view_set))
    overlays(views, images_of(shards, views["view"]), errors, stem, angles)


def main_angles(angles: pd.DataFrame) -> dict[str, str]:
    """Say a view's true and predicted MT, by view; `angles` as from `cobb_by_view`."""
    return {
        row.view: f"MT true {row.mt_true_deg:.0f}°\npredicted "
        + (f"{row.mt_deg:.0f}°" if np.isfinite(row.mt_deg) else "none")
        for row in angles.itertuples()
    }


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


def one_view_each(views: pd.DataFrame) -> pd.DataFrame:
    """Choose the first view of each subject; of many subjects some, evenly over their order.

    `views` has view and subject, and what else is to be kept.
    """
    views = views.sort_values(["subject", "view"]).drop_duplicates("subject")
    return views.iloc[evenly(range(len(views)), COLUMNS * ROWS)].reset_index(drop=True)


def overlays(
    views: pd.DataFrame,
    images: Mapping[str, np.ndarray],
    errors: pd.DataFrame,
    stem: str | Path,
    captions: Mapping[str, str] | None = None,
) -> None:
    """Draw a grid of X-rays with true landmarks ringed and predicted ones as dots.

    `views` as from `pick_views` or `one_view_each`, drawn in their order; `images` (y, x) by view;
    `errors` of one training: view, landmark, x_px, y_px, x_true_px, y_true_px, visible, detected;
    `captions` by view are written below the images. A ring without a dot is a landmark that was not
    detected.
    """
    rows = -(-len(views) // ABREAST)
    columns = -(-len(views) // rows)
    height, width = next(iter(images.values())).shape
    grid = _is_grid(views, columns)
    titles = [""] * len(views) if grid else _titles(views)
    below = [(captions or {}).get(view, "") for view in views["view"]]
    lines = sum(max(len(text.splitlines()) for text in texts) for texts in (titles, below))
    row_in = DOUBLE_IN / columns * height / width + 0.03 + LINE_IN * lines
    with figure(DOUBLE_IN, rows * row_in + 0.36, stem) as page:
        pack(page)
        panels = page.subplots(rows, columns, squeeze=False)
        for axes in panels.flat[len(views) :]:
            axes.set_axis_off()
        for axes, view, title, caption in zip(
            panels.flat, views["view"], titles, below, strict=False
        ):
            show_xray(axes, images[view])
            _draw_points(axes, errors[(errors["view"] == view) & errors["visible"]])
            axes.set_title(title, fontweight="normal", fontsize=TEXT_PT, pad=2)
            axes.text(0.5, -0.01, caption, transform=axes.transAxes, ha="center", va="top",
                      fontsize=TEXT_PT)  # fmt: skip
        if grid:
            _name_rows_and_columns(panels, views)
        explain(
            page,
            key(**RING, ms=5, path_effects=dark_edge(), label="true (ring alone: not detected)"),
            key(**DOT, ms=4, label="predicted"),
            key(**LINE, label="error"),
        )


def _draw_points(axes: "Axes", rows: pd.DataFrame) -> None:
    found = rows[rows["detected"] & rows["x_px"].notna()]
    for row in found.itertuples():
        axes.plot([row.x_true_px, row.x_px], [row.y_true_px, row.y_px], **LINE)
    size = 1.0 if len(rows) < MANY else 0.65
    axes.plot(
        rows["x_true_px"],
        rows["y_true_px"],
        **RING,
        ms=4.2 * size,
        mew=0.75,
        path_effects=dark_edge(),
    )
    axes.plot(found["x_px"], found["y_px"], **DOT, ms=2.1 * size)


def _is_grid(views: pd.DataFrame, columns: int) -> bool:
    """Tell whether one angle is the same down each column, the other along each row."""
    place = np.arange(len(views))
    return bool(
        "subject" not in views
        and views.groupby(place % columns)["primary_deg"].nunique().eq(1).all()
        and views.groupby(place // columns)["secondary_deg"].nunique().eq(1).all()
    )


def _name_rows_and_columns(panels: np.ndarray, views: pd.DataFrame) -> None:
    """Write the angles beside the panels; views all taken from the same side need none."""
    if len(views[["primary_deg", "secondary_deg"]].drop_duplicates()) == 1 < len(views):
        return
    columns = panels.shape[1]
    for axes, degrees in zip(panels[0], views["primary_deg"], strict=False):
        axes.set_title(rao_lao(degrees), fontweight="normal", pad=3)
    for axes, degrees in zip(panels[:, 0], views["secondary_deg"][::columns], strict=True):
        axes.text(-0.03, 0.5, cran_caud(degrees), transform=axes.transAxes, rotation=90, va="center",
                  ha="right", fontsize=8)  # fmt: skip


def _titles(views: pd.DataFrame) -> list[str]:
    """Name each view's angles, and its subject where each is of another."""
    subjects = (
        [f"{name}\n" for name in views["subject"]] if "subject" in views else [""] * len(views)
    )
    angles = zip(subjects, views["primary_deg"], views["secondary_deg"], strict=True)
    return [f"{subject}{direction(x, y)}" for subject, x, y in angles]


FIGURE = FigureRecord(
    about="true and predicted landmarks over the view sphere",
    caption="""\
Predicted (dots) and true (rings) landmarks, **{of}**; first training. Of rendered images a view of
each subject, or, of a grid of views and where there is but one subject, views over the sphere. A ring
without a dot was not detected. Below spines: the largest Cobb angle (MT) of the true and of the predicted
points.""",
    beside={"bier2018": "Fig. 3"},
    of=experiments,
    needs=needs,
    draw=draw,
    chapter=of_experiment,
)
