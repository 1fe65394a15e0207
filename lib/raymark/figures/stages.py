"""Belief maps stage by stage on the X-ray (Bier 2018, Fig. 2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from raymark.core.drawing import DARK, DOT, DOUBLE_IN, RING, figure, show_xray
from raymark.landmarks.names import readable

# From nothing over orange to white: the X-ray shows where there is no belief.
BELIEF = ListedColormap(
    [
        (0.84 + 0.16 * x, 0.37 + 0.58 * x, 0.70 * x**2, min(1.0, 1.6 * x))
        for x in np.linspace(0, 1, 256)
    ]
)
BAR_BACKGROUND = "#404040"
BESIDE_IN, LARGEST_IN = 0.95, 1.7  # names and colour bar; a panel's width


@dataclass(frozen=True)
class Example:
    """One landmark of one view: `image_yx`, `beliefs` (stage, row, column) at `stride` px, their
    maxima `points_px` (stage, 2), and `true_px` (2,), None where it is not on the image."""

    landmark: str
    view: str
    image_yx: np.ndarray
    beliefs: np.ndarray
    stride: int
    points_px: np.ndarray
    true_px: np.ndarray | None


def belief_stages(
    examples: Sequence[Example], median_px: np.ndarray, count: int, stem: str | Path
) -> None:
    """Draw a row per example and a column per stage.

    `median_px` (stage,) is the median error of each stage's maximum over `count` visible landmarks.
    """
    stages, rows = len(median_px), max(len(examples), 1)
    height, width = examples[0].image_yx.shape if examples else (3, 4)
    panel_in = min((DOUBLE_IN - BESIDE_IN) / stages, LARGEST_IN)
    page_in = BESIDE_IN + stages * panel_in, rows * (panel_in * height / width + 0.02) + 0.48
    with figure(*page_in, stem) as page:
        page.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.0, hspace=0.0)
        panels = page.subplots(rows, stages, squeeze=False)
        for axes in panels.flat:
            axes.set_axis_off()
        for row, example in zip(panels, examples, strict=False):
            mesh = _draw_row(row, example)
        for number, (axes, px) in enumerate(zip(panels[0], median_px, strict=True), start=1):
            axes.set_title(f"Stage {number}\nmedian error {px:.1f} px", pad=3, fontsize=7,
                           fontweight="normal")  # fmt: skip
        if not examples:
            panels[0, 0].text(0.0, 0.5, "No landmark gains from the later stages.", fontsize=7)
            return
        bar = page.colorbar(mesh, ax=panels, shrink=0.7, aspect=25, pad=0.01)
        bar.ax.set_facecolor(BAR_BACKGROUND)
        bar.set_label("belief")
        bar.outline.set_linewidth(0.6)
        _explain(page, count)


def _draw_row(row: Sequence[Axes], example: Example):
    _name(row[0], example)
    for axes, beliefs, point in zip(row, example.beliefs, example.points_px, strict=True):
        show_xray(axes, example.image_yx)
        rows, columns = beliefs.shape
        extent = (-0.5, columns * example.stride - 0.5, rows * example.stride - 0.5, -0.5)
        limits = axes.get_xlim(), axes.get_ylim()
        mesh = axes.imshow(
            beliefs, cmap=BELIEF, vmin=0, vmax=1, extent=extent, interpolation="bilinear"
        )
        axes.set(xlim=limits[0], ylim=limits[1])
        if example.true_px is not None:
            axes.plot(*example.true_px, **RING, ms=6, mew=0.9, path_effects=DARK)
        axes.plot(*point, **DOT, ms=2.4, path_effects=DARK)
    return mesh


def _name(axes: Axes, example: Example) -> None:
    outside = "" if example.true_px is not None else "\nnot on the image"
    text = f"{readable(example.landmark)}\n{example.view}{outside}"
    axes.text(-0.04, 0.5, text, transform=axes.transAxes, rotation=90, va="center", ha="right",
              multialignment="center", fontsize=6.5)  # fmt: skip


def _explain(page: Figure, count: int) -> None:
    keys = [
        Line2D([], [], **RING, ms=6, path_effects=DARK, label="true"),
        Line2D([], [], **DOT, ms=3.5, path_effects=DARK, label="largest belief"),
        Line2D([], [], ls="", label=f"median over {count} visible landmarks"),
    ]
    page.legend(handles=keys, loc="outside lower center", ncols=3)
