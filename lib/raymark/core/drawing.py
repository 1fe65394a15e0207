"""The one look of all pictures, and how figures are written.

Colours are Okabe and Ito's, which colour-blind people tell apart; every curve also has its own
dashes and marker, so that the figures read in greyscale. Text is drawn as outlines: no font is
needed to look at an SVG, and the same data gives the same bytes.

Matplotlib is imported where something is drawn: Snakemake imports every figure's module for its record.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from raymark.core.files import atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D

SINGLE_IN, DOUBLE_IN = 3.5, 7.2  # one and two columns of a journal page
DPI = 300
REPORT_DPI = 170  # a figure over two columns is 1224 px wide on a screen
REPORT_QUALITY = 85  # of JPEG; a sheet of X-rays is a tenth of the size of its PNG

BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
PURPLE, ORANGE, SKY, GREY = "#CC79A7", "#E69F00", "#56B4E9", "#6E6E6E"
COLOURS = [BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY]
DASHES = ["-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.2, 1.2, 1.2)), (0, (8, 2)), (0, (3, 3))]
MARKERS = ["o", "s", "^", "D", "v", "P"]
# What is drawn on X-rays: true landmarks and found ones.
RING: dict[str, Any] = {"ls": "", "marker": "o", "mfc": "none", "mec": "white"}
DOT: dict[str, Any] = {"ls": "", "marker": "o", "color": VERMILION, "mec": "none"}
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
def figure(width_in: float, height_in: float, stem: str | Path) -> Iterator["Figure"]:
    """Yield an empty figure in the project's style; write `<stem>.svg` and `.png` afterwards."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        page = Figure(figsize=(width_in, height_in), layout="constrained")
        FigureCanvasAgg(page)
        yield page
        with atomic(f"{stem}.svg") as partial:
            page.savefig(partial, metadata={"Date": None}, dpi=DPI)
        with atomic(f"{stem}.png") as partial:
            page.savefig(partial, metadata={"Software": None}, dpi=DPI)


def small_copy(png: str | Path, path: str | Path) -> None:
    """Copy a figure as JPEG for the report, which carries all figures in one file."""
    from PIL import Image

    with Image.open(png) as picture:
        rgb = picture.convert("RGB")
    width_px, height_px = (max(1, round(n * REPORT_DPI / DPI)) for n in rgb.size)
    smaller = rgb.resize((width_px, height_px), Image.Resampling.LANCZOS)
    dpi = (REPORT_DPI, REPORT_DPI)
    with atomic(path) as partial:
        # Colours as finely as lightness: coloured lines stay sharp.
        smaller.save(partial, "JPEG", quality=REPORT_QUALITY, subsampling=0, optimize=True, dpi=dpi)


def pack(page: "Figure") -> None:
    """Leave hardly any room between the panels of a figure: a sheet of images."""
    space(page, w_pad=0.01, h_pad=0.01, wspace=0.0, hspace=0.0)


def space(page: "Figure", **rooms: Any) -> None:
    """Set the room around panels, `w_pad` and `h_pad` in inches, and between, shares of a panel."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    engine = page.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)  # as `figure` makes its pages
    engine.set(**rooms)


def key(**look: Any) -> "Line2D":
    """Return an entry of a legend: `label`, and the looks of a line or a mark."""
    from matplotlib.lines import Line2D

    return Line2D([], [], **look)


def explain(page: "Figure", *keys: Any, ncols: int = 3, **look: Any) -> None:
    """Write a legend of some keys below all panels."""
    page.legend(handles=keys, **{"loc": "outside lower center", "ncols": ncols} | look)


def colour_bar(page: "Figure | SubFigure", mesh: Any, label: str, **place: Any) -> "Colorbar":
    """Add the colour bar of a map, with what its colours stand for; return it."""
    bar = page.colorbar(mesh, **place)
    bar.set_label(label)
    bar.outline.set_linewidth(0.6)
    return bar


def line_of(index: int) -> dict:
    """Return colour and dashes of the curve number `index`, alike in every figure."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": DASHES[index % len(DASHES)]}


def draw_box(axes: "Axes", values: np.ndarray, index: int, **look: Any) -> None:
    """Draw a box of the median and quartiles, with whiskers from 5 to 95 %, in place number `index`."""
    box = axes.boxplot(
        values, positions=[index], widths=0.55, whis=(5, 95), showfliers=False, patch_artist=True,
        medianprops={"color": "black", "lw": 1.4}, **look,
    )  # fmt: skip
    box["boxes"][0].set(facecolor=COLOURS[index % len(COLOURS)], alpha=0.45)


def dark_edge() -> list:
    """Return what outlines a mark or words, so that dark and bright images show them."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=1.5, foreground="black")]


def show_xray(axes: "Axes", image_yx: np.ndarray) -> None:
    """Show a log X-ray image (dense is high) with bone bright, its 2nd to 99th percentile."""
    low, high = np.percentile(image_yx.astype(np.float32), (2, 99))
    axes.imshow(image_yx.astype(np.float32), cmap="gray", vmin=low, vmax=max(high, low + 1e-6))
    _fit(axes, image_yx.shape)


def show_belief(
    axes: "Axes", belief_yx: np.ndarray, stride: int, shape_yx: tuple[int, int], **look: Any
) -> "AxesImage":
    """Show a belief map, 0 to 1, whose cells are `stride` px of an image; return its mesh."""
    rows, columns = belief_yx.shape
    extent = (-0.5, columns * stride - 0.5, rows * stride - 0.5, -0.5)
    mesh = axes.imshow(belief_yx, vmin=0, vmax=1, extent=extent, **look)
    _fit(axes, shape_yx)
    return mesh


def _fit(axes: "Axes", shape_yx: tuple[int, int]) -> None:
    axes.set(xlim=(-0.5, shape_yx[1] - 0.5), ylim=(shape_yx[0] - 0.5, -0.5))
    axes.set_axis_off()


def note(axes: "Axes", text: str, size_pt: float = 5.5) -> None:
    """Write on an X-ray, in its upper left corner."""
    place: dict[str, Any] = {"transform": axes.transAxes, "va": "top"}
    axes.text(0.03, 0.97, text, **place, color="white", fontsize=size_pt, path_effects=dark_edge())


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


def direction(primary_deg: float, secondary_deg: float) -> str:
    """Name where a view is taken from, e.g. "RAO 30°, CRAN 20°"."""
    return f"{rao_lao(primary_deg)}, {cran_caud(secondary_deg)}"
