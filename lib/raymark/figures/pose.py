"""X-rays beside what the CT looks like from the recovered pose (Bier 2018, Fig. 6, bottom row)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.ndimage import gaussian_gradient_magnitude, gaussian_laplace

from raymark.figures.overlays import DARK
from raymark.figures.style import DOUBLE_IN, ORANGE, SKY, VERMILION, figure, show_xray

EDGE_PX = 1.6  # scale of the edges drawn, px of an image 160 wide
STRONG = 82  # percentile of the gradient from which an edge is drawn
USED = {"ls": "", "marker": "o", "color": VERMILION, "mec": "white", "mew": 0.3, "ms": 2.6}
LINES = {"landmarks": ORANGE, "refined": SKY}


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
    """Draw a row per view: X-ray, rendering at the refined pose, and both poses' edges on the X-ray."""
    height, width = views[0].image_yx.shape if views else (1, 2)
    rows = max(len(views), 1)
    row_in = DOUBLE_IN / 4 * height / width
    with figure(DOUBLE_IN, rows * (row_in + 0.04) + 0.5, stem) as page:
        page.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.0, hspace=0.0)
        panels = page.subplots(rows, 4, squeeze=False)
        if not views:
            _say_none(panels)
        for axes, view in zip(panels, views, strict=False):
            _draw_row(axes, view)
        titles = [
            "X-ray, landmarks used",
            "CT at the refined pose",
            "Pose from landmarks",
            "Refined",
        ]
        for axes, title in zip(panels[0], titles, strict=True):
            axes.set_title(title, pad=3)
        _explain(page)


def _draw_row(axes: Sequence[Axes], view: Verified) -> None:
    show_xray(axes[0], view.image_yx)
    axes[0].plot(*view.used_px.T, **USED)
    _say(axes[0], view.title)
    show_xray(axes[1], view.refined_yx)
    poses = {"landmarks": view.from_landmarks_yx, "refined": view.refined_yx}
    for panel, (name, rendered), mm in zip(axes[2:], poses.items(), view.mtre_mm, strict=True):
        show_xray(panel, view.image_yx)
        _draw_edges(panel, rendered, LINES[name])
        _say(panel, f"mTRE {mm:.1f} mm")


def _draw_edges(axes: Axes, rendered_yx: np.ndarray, colour: str) -> None:
    """Draw where the gradient's size has a ridge: zeros of the Laplacian on strong gradients."""
    image = rendered_yx.astype(float)
    sigma_px = EDGE_PX * image.shape[1] / 160
    strength = gaussian_gradient_magnitude(image, sigma_px)
    laplacian = gaussian_laplace(image, sigma_px)
    strong = strength >= np.percentile(strength, STRONG)
    if strong.any() and np.ptp(laplacian[strong]) > 0:
        axes.contour(np.where(strong, laplacian, np.nan), [0.0], colors=[colour], linewidths=0.6)


def _say(axes: Axes, text: str) -> None:
    axes.text(0.03, 0.97, text, transform=axes.transAxes, va="top", color="white", fontsize=5.5,
              path_effects=DARK)  # fmt: skip


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
