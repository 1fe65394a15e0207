"""The one look of all pictures, and how figures are written.

Colours are Okabe and Ito's, which colour-blind people tell apart; every curve also has its own
dashes and marker, so that the figures read in greyscale. Text is drawn as outlines: no font is
needed to look at an SVG, and the same data gives the same bytes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from raymark.core.files import atomic

SINGLE_IN, DOUBLE_IN = 3.5, 7.2  # one and two columns of a journal page
DPI = 300

BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
PURPLE, ORANGE, SKY, GREY = "#CC79A7", "#E69F00", "#56B4E9", "#6E6E6E"
COLOURS = [BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY]
DASHES = ["-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.2, 1.2, 1.2)), (0, (8, 2)), (0, (3, 3))]
MARKERS = ["o", "s", "^", "D", "v", "P"]
# What is drawn on X-rays: true landmarks, found ones, and an outline that dark and bright images show.
RING = {"ls": "", "marker": "o", "mfc": "none", "mec": "white"}
DOT = {"ls": "", "marker": "o", "color": VERMILION, "mec": "none"}
DARK = [withStroke(linewidth=1.5, foreground="black")]
SEQUENTIAL = "cividis"  # the same order of lightness for every kind of sight

STYLE = {
    "font.family": "DejaVu Sans",  # comes with Matplotlib: the same everywhere
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.3,
    "axes.grid": False,
    "grid.linewidth": 0.4,
    "grid.color": "#D9D9D9",
    "figure.facecolor": "white",
    "image.interpolation": "nearest",
    "svg.fonttype": "path",
    "svg.hashsalt": "raymark",
}


@contextmanager
def figure(width_in: float, height_in: float, stem: str | Path) -> Iterator[Figure]:
    """Yield an empty figure in the project's style; write `<stem>.svg` and `.png` afterwards."""
    with matplotlib.rc_context(STYLE):
        page = Figure(figsize=(width_in, height_in), layout="constrained")
        FigureCanvasAgg(page)
        yield page
        with atomic(f"{stem}.svg") as partial:
            page.savefig(partial, metadata={"Date": None}, dpi=DPI)
        with atomic(f"{stem}.png") as partial:
            page.savefig(partial, metadata={"Software": None}, dpi=DPI)


def line_of(index: int) -> dict:
    """Return colour and dashes of the curve number `index`, alike in every figure."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": DASHES[index % len(DASHES)]}


def show_xray(axes: Axes, image_yx: np.ndarray) -> None:
    """Show a log X-ray image (dense is high) with bone bright, its 2nd to 99th percentile."""
    low, high = np.percentile(image_yx.astype(np.float32), (2, 99))
    axes.imshow(image_yx.astype(np.float32), cmap="gray", vmin=low, vmax=max(high, low + 1e-6))
    axes.set_xlim(-0.5, image_yx.shape[1] - 0.5)
    axes.set_ylim(image_yx.shape[0] - 0.5, -0.5)
    axes.set_axis_off()


def note(axes: Axes, text: str, size_pt: float = 5.5) -> None:
    """Write on an X-ray, in its upper left corner."""
    place = {"transform": axes.transAxes, "va": "top"}
    axes.text(0.03, 0.97, text, **place, color="white", fontsize=size_pt, path_effects=DARK)


def spread(wanted: np.ndarray, gap: float, limit: float) -> np.ndarray:
    """Move ascending positions (n,) apart to at least `gap`, within [0, limit], as little as fits."""
    n = len(wanted)
    gap = min(gap, limit / max(n - 1, 1))
    offset = gap * np.arange(n)
    free = wanted - offset  # must be made ascending: pooled where it is not
    blocks: list[list[float]] = []
    for value in free:
        blocks.append([value, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, count = blocks.pop()
            before, size = blocks[-1]
            blocks[-1] = [(before * size + mean * count) / (size + count), size + count]
    pooled = np.concatenate([np.full(int(count), mean) for mean, count in blocks]) if n else free
    return np.clip(pooled, 0, max(limit - gap * (n - 1), 0)) + offset


def rao_lao(degrees: float) -> str:
    """Name a primary angle as clinicians do, e.g. "RAO 30°"."""
    return "0°" if round(degrees) == 0 else f"{'LAO' if degrees > 0 else 'RAO'} {abs(degrees):.0f}°"


def cran_caud(degrees: float) -> str:
    """Name a secondary angle as clinicians do, e.g. "CRAN 20°"."""
    side = "CRAN" if degrees > 0 else "CAUD"
    return "0°" if round(degrees) == 0 else f"{side} {abs(degrees):.0f}°"
