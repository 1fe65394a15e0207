"""Landmarks drawn on X-rays of the data itself: with names, and as a contact sheet."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from raymark.core.drawing import (
    DOUBLE_IN,
    ORANGE,
    SKY,
    cran_caud,
    figure,
    note,
    rao_lao,
    show_xray,
    spread,
)
from raymark.landmarks.names import VERTEBRA, readable, side_of

# side: colour, marker, name in the legend; shapes differ for those who see no colour
SIDES = {
    "left": (SKY, "s", "patient's left"),
    "right": (ORANGE, "o", "patient's right"),
    "": ("white", "D", "midline"),
}
LETTER_IN = 0.043  # of a name in the margin
COLUMNS = 6  # of the contact sheet
LANDSCAPE = 0.8  # height by width: flatter images are stacked, the others stand side by side
LABEL_PT, LABEL_LINE_PT = 5.8, 7.4


def landmark_overview(
    images: Mapping[str, np.ndarray], points: Mapping[str, pd.DataFrame], stem: str | Path
) -> None:
    """Draw the landmarks with their names on a few X-rays side by side.

    `images` (y, x) by the panel's title; `points` (landmark, x_px, y_px) by the same. The points of
    one vertebra share one label.
    """
    tallest = max(image.shape[0] / image.shape[1] for image in images.values())
    stacked = tallest < LANDSCAPE
    longest = max(_labels(table)["label"].str.len().max() for table in points.values())
    names_in = 0.18 + LETTER_IN * longest
    rows, columns = (len(images), 1) if stacked else (1, len(images))
    image_in = 4.0 if stacked else DOUBLE_IN / columns - 2 * names_in
    width = columns * (image_in + 2 * names_in)
    with figure(width, rows * (image_in * tallest + 0.2) + 0.3, stem) as page:
        panels = np.atleast_1d(page.subplots(rows, columns))
        for axes, (title, image) in zip(panels, images.items(), strict=True):
            show_xray(axes, image)
            axes.set_title(title)
            _draw(axes, points[title], size=3.0)
            _name(axes, points[title], image.shape, image.shape[1] / image_in, names_in)
        _explain(page, points.values())


def dataset_samples(
    views: pd.DataFrame, images: Mapping[str, np.ndarray], points: pd.DataFrame, stem: str | Path
) -> None:
    """Draw a contact sheet of views with their visible landmarks and angles.

    `views` has view, primary_deg, secondary_deg, flip; `images` (y, x) by view; `points` has view,
    landmark, x_px, y_px, visible.
    """
    columns = min(COLUMNS, len(views))
    rows = -(-len(views) // columns)
    shape = next(iter(images.values())).shape
    panel_in = DOUBLE_IN / columns
    differ = len(views[["primary_deg", "secondary_deg"]].drop_duplicates()) > 1
    with figure(DOUBLE_IN, rows * (panel_in * shape[0] / shape[1] + 0.03) + 0.3, stem) as page:
        page.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.0, hspace=0.0)
        panels = page.subplots(rows, columns, squeeze=False)
        for axes in panels.flat[len(views) :]:
            axes.set_axis_off()
        for axes, view in zip(panels.flat, views.itertuples(), strict=False):
            show_xray(axes, images[view.view])
            shown = points[(points["view"] == view.view) & points["visible"]]
            _draw(axes, shown, size=1.7)
            angles = f"{rao_lao(view.primary_deg)}, {cran_caud(view.secondary_deg)}\n" * differ
            mirrored = "mirrored" if view.flip else ""
            note(axes, angles + mirrored, size_pt=5)
        _explain(page, [points])


def _draw(axes: Axes, points: pd.DataFrame, size: float) -> None:
    sides = points["landmark"].map(side_of)
    for side, (colour, marker, _) in SIDES.items():
        rows = points[sides == side]
        axes.plot(rows["x_px"], rows["y_px"], ls="", marker=marker, ms=size, color=colour,
                  mec="black", mew=0.35)  # fmt: skip


def _name(
    axes: Axes, points: pd.DataFrame, shape_yx: tuple[int, int], px_per_in: float, names_in: float
) -> None:
    """Write names in the margins, spread so that none overlap, each with a line to its point."""
    height, width = shape_yx
    labels = _labels(points)
    labels = labels.sort_values("x_px", kind="stable")
    half = (len(labels) + 1) // 2
    for rows, x_text, x_line, align in (
        (labels.iloc[:half], -0.06 * width, -0.04 * width, "right"),
        (labels.iloc[half:], 1.06 * width, 1.04 * width, "left"),
    ):
        rows = rows.sort_values("y_px", kind="stable")
        heights = spread(rows["y_px"].to_numpy(float), LABEL_LINE_PT / 72 * px_per_in, height)
        for label, x, y, y_text in zip(
            rows["label"], rows["x_px"], rows["y_px"], heights, strict=True
        ):
            axes.text(x_text, y_text, label, ha=align, va="center", fontsize=LABEL_PT)
            edge = np.clip(x_line, 0, width)
            axes.plot([x_line, edge], [y_text, y_text], color="#555555", lw=0.4, clip_on=False)
            axes.plot([edge, x], [y_text, y], color="white", lw=0.5)
    room = names_in * px_per_in
    axes.set_xlim(-room, width + room)


def _labels(points: pd.DataFrame) -> pd.DataFrame:
    """List what to write where: one label for each vertebra, one for every other landmark."""
    found = points["landmark"].str.extract(VERTEBRA, expand=False)
    text = found.str.upper().fillna(points["landmark"].map(readable))
    return points.assign(label=text).groupby("label", as_index=False)[["x_px", "y_px"]].mean()


def _explain(page: Figure, points: Sequence[pd.DataFrame]) -> None:
    present = {side_of(name) for table in points for name in table["landmark"].unique()}
    keys = [
        Line2D([], [], ls="", marker=marker, ms=4, color=colour, mec="black", mew=0.5, label=label)
        for side, (colour, marker, label) in SIDES.items()
        if side in present
    ]
    page.legend(handles=keys, loc="outside lower center", ncols=3)
