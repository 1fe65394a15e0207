"""The picture of landmarks found on an X-ray: named beside the image, so that nothing hides it."""

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raymark.core.drawing import ORANGE, spread
from raymark.core.files import atomic
from raymark.core.names import readable
from raymark.imports.stored_image import Xray

LONGEST_IN, MARGIN_IN, LINE_IN = 6.5, 1.6, 0.14
FONT: dict[str, Any] = {"family": "DejaVu Sans", "size": 6.5}
PAPER, INK, FAINT = "#101010", "#E8E8E8", "#9A9A9A"


def draw_overlay(path: str | Path, xray: Xray, table: pd.DataFrame, title: str) -> None:
    """Write a PNG of the image with a table's detected points; the others are listed below it.

    `table` has the columns landmark, x_px, y_px, detected.
    """
    height, width = xray.image_yx.shape
    image_in = LONGEST_IN / max(height, width) * np.array([width, height])
    found = table[table.detected]
    below = _not_found(table, image_in[0] + 2 * MARGIN_IN)
    total_in = image_in + np.array([2 * MARGIN_IN, LINE_IN * (4 + len(below))])
    figure = Figure(figsize=total_in, dpi=150, facecolor=PAPER)
    bottom_in = LINE_IN * (1 + len(below))
    axes = figure.add_axes((MARGIN_IN / total_in[0], bottom_in / total_in[1], *image_in / total_in))
    low, high = np.percentile(xray.image_yx, [0.5, 99.5])
    axes.imshow(xray.image_yx, cmap="gray", vmin=low, vmax=high, interpolation="antialiased")
    px_per_in = height / image_in[1]
    for x, side in _sides(found):
        _named(axes, x, side, width, height, px_per_in)
    axes.scatter(
        found.x_px, found.y_px, s=13, color=ORANGE, edgecolor="black", linewidth=0.6, zorder=3
    )
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axes.axis("off")
    pitch = f"{xray.pixel_mm:.4g} mm a pixel" if xray.pixel_mm else "pixel size unknown"
    head = f"{title}   {len(found)} of {len(table)} landmarks found   {pitch}"
    line = LINE_IN / total_in[1]
    figure.text(0.02, 1 - line, head, color=INK, va="top", fontdict=FONT)
    for number, text in enumerate(reversed(below)):
        figure.text(0.02, line * (0.6 + number), text, color=FAINT, fontdict=FONT)
    with atomic(path) as partial:
        figure.savefig(partial, facecolor=PAPER, metadata={"Software": None})


def _not_found(table: pd.DataFrame, width_in: float) -> list[str]:
    names = ", ".join(readable(name) for name in table.landmark[~table.detected])
    return textwrap.wrap(f"not found: {names}", int(width_in * 18)) if names else []


def _sides(found: pd.DataFrame) -> list[tuple[pd.DataFrame, str]]:
    """Share the points between the two margins, each from top to bottom."""
    order = found.sort_values("x_px", kind="stable")
    half = -(-len(order) // 2)
    sides = (order[:half], "left"), (order[half:], "right")
    return [(points.sort_values("y_px", kind="stable"), side) for points, side in sides]


def _named(
    axes: Axes, points: pd.DataFrame, side: str, width: int, height: int, px_per_in: float
) -> None:
    """Write the points' names in a margin, each joined to its point by a thin line."""
    gap = min(LINE_IN * px_per_in, height / max(len(points), 1))
    font = FONT | {"size": FONT["size"] * gap / (LINE_IN * px_per_in)}
    edge = 0.1 * px_per_in
    x = -0.5 - edge if side == "left" else width - 0.5 + edge
    line = {"arrowstyle": "-", "color": ORANGE, "linewidth": 0.5, "alpha": 0.7}
    line |= {"shrinkA": 1, "shrinkB": 2, "relpos": (1 if side == "left" else 0, 0.5)}
    for row, y in zip(
        points.itertuples(), spread(points.y_px.to_numpy(), gap, height - 1), strict=True
    ):
        axes.annotate(
            readable(row.landmark),
            (row.x_px, row.y_px),
            xytext=(x, y),
            ha="right" if side == "left" else "left",
            va="center",
            color=INK,
            arrowprops=line,
            annotation_clip=False,
            **font,
        )
