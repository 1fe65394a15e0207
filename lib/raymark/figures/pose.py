"""X-rays beside what the CT looks like from the recovered pose (Bier 2018, Fig. 6, bottom row)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from contourpy import contour_generator
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.ndimage import gaussian_filter, gaussian_gradient_magnitude, gaussian_laplace

from raymark.core.drawing import DOUBLE_IN, ORANGE, SKY, VERMILION, figure, note, show_xray

COLUMNS = 5
EDGE_PX = 1.6  # scale of the edges drawn, px of an image 160 wide
AROUND_PX = 6.0  # scale of an edge's surroundings
STRONG = 60  # percentile of the gradient from which an edge is drawn
SHORTEST_PX = 5.0  # length from which an edge is drawn
RIDGE = 1.3  # how much steeper than its surroundings an edge is: a broad slope has none
USED = {"ls": "", "marker": "o", "color": VERMILION, "mec": "white", "mew": 0.3, "ms": 2.6}
LINES = ORANGE, SKY  # of the pose from landmarks, and refined


@dataclass(frozen=True)
class Verified:
    """One view: its image (y, x), the landmarks (n, 2) in px that were used, the CT rendered at the
    pose from landmarks and at the refined one, and both poses' mTRE in mm."""

    title: str
    image_yx: np.ndarray
    used_px: np.ndarray
    from_landmarks_yx: np.ndarray
    refined_yx: np.ndarray
    mtre_mm: tuple[float, float]


def pose_verification(views: Sequence[Verified], stem: str | Path) -> None:
    """Draw a row per view: the X-ray, and for each pose the rendering and its edges on the X-ray."""
    height, width = views[0].image_yx.shape if views else (1, 2)
    rows = max(len(views), 1)
    row_in = DOUBLE_IN / COLUMNS * height / width
    with figure(DOUBLE_IN, rows * (row_in + 0.02) + 0.32, stem) as page:
        page.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.0, hspace=0.0)
        panels = page.subplots(rows, COLUMNS, squeeze=False)
        if not views:
            _say_none(panels)
        for axes, view in zip(panels, views, strict=False):
            _draw_row(axes, view)
        titles = [
            "X-ray, landmarks used",
            "CT, pose from landmarks",
            "its edges",
            "CT, refined pose",
            "its edges",
        ]
        for axes, title in zip(panels[0], titles, strict=True):
            axes.set_title(title, pad=3, fontsize=7)
        _explain(page)


def _draw_row(axes: Sequence[Axes], view: Verified) -> None:
    show_xray(axes[0], view.image_yx)
    axes[0].plot(*view.used_px.T, **USED)
    note(axes[0], view.title)
    renderings = view.from_landmarks_yx, view.refined_yx
    for place, rendered, colour, mm in zip((1, 3), renderings, LINES, view.mtre_mm, strict=True):
        show_xray(axes[place], rendered)
        note(axes[place], f"mTRE {mm:.1f} mm")
        show_xray(axes[place + 1], view.image_yx)
        for line in edges_of(rendered):
            axes[place + 1].plot(*line.T, color=colour, lw=0.6)


def edges_of(image_yx: np.ndarray) -> list[np.ndarray]:
    """Return lines (n, 2) in px along the image's edges: ridges of the gradient's size.

    These are zeros of the Laplacian where the gradient is steep, and steeper than around.
    """
    image, unit_px = image_yx.astype(float), image_yx.shape[1] / 160
    strength = gaussian_gradient_magnitude(image, EDGE_PX * unit_px)
    laplacian = gaussian_laplace(image, EDGE_PX * unit_px)
    steep = strength >= np.percentile(strength, STRONG)
    steep &= strength >= RIDGE * gaussian_filter(strength, AROUND_PX * unit_px)
    lines = contour_generator(z=np.ma.masked_where(~steep, laplacian)).lines(0.0)
    lengths_px = [np.linalg.norm(np.diff(line, axis=0), axis=1).sum() for line in lines]
    pairs = zip(lines, lengths_px, strict=True)
    return [line for line, length_px in pairs if length_px >= SHORTEST_PX * unit_px]


def _say_none(panels: np.ndarray) -> None:
    for axes in panels.flat:
        axes.set_axis_off()
    panels[0, 0].text(0.0, 0.5, "No view has landmarks enough for a pose.", fontsize=7)


def _explain(page: Figure) -> None:
    keys = [
        Line2D([], [], **USED, label="landmark with enough belief"),
        Line2D([], [], color=ORANGE, lw=1, label="edges of the CT, pose from landmarks (robust)"),
        Line2D([], [], color=SKY, lw=1, label="edges of the CT, refined pose"),
    ]
    page.legend(handles=keys, loc="outside lower center", ncols=3)
