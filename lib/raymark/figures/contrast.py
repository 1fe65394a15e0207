"""One view through two beams, side by side, and the bone along a line (LandmarkNet, Background)."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from raymark.config.project import Project
from raymark.core.drawing import BLUE, DOUBLE_IN, GREY, VERMILION, figure, show_xray
from raymark.datasets.lookup import contrast_files
from raymark.figures.base import FigureRecord
from raymark.tables.base import chapter_of_setup

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from raymark.radiotherapy.contrast_views import Paired

COLOURS = {"kv": BLUE, "mv": VERMILION}
DASHES = {"kv": "-", "mv": (0, (5, 1.5))}
INNER_SHARE = 0.6  # of the rows, among which the line is chosen


def data_set(project: Project) -> list[tuple[str, ...]]:
    """List the data set whose patient both beams see, where contrast is compared."""
    return [(project.contrast.mv,)] if project.config.contrast else []


def needs(project: Project, _: str) -> list[str]:
    files = contrast_files(project)
    return [files["views"], *files["cts"], *files["labels"]]


def draw(project: Project, _: str, stem: str | Path) -> None:
    from raymark.radiotherapy.contrast_views import patient_views

    names = project.contrast
    titles = {"kv": project.title_of(names.kv), "mv": project.title_of(names.mv)}
    contrast(next(patient_views(project, contrast_files(project))), titles, stem)


def contrast(view: "Paired", titles: Mapping[str, str], stem: str | Path) -> None:
    """Draw the images of both beams, each in its own greys, and below their values along one row.

    `titles` names the beams. The row is the one, without metal, along which the bone varies most. The
    bone's contrast is the image minus that with soft tissue in the bone's place.
    """
    row = telling_row(view)
    height, width = view.bone_mm_yx.shape
    image_in = 0.5 * DOUBLE_IN * 0.9 * height / width
    with figure(DOUBLE_IN, image_in + 2.2, stem) as page:
        panels = page.subplots(2, 2, height_ratios=[image_in, 1.75])
        for axes, (beam, image_yx) in zip(panels[0], view.images_yx.items(), strict=True):
            show_xray(axes, image_yx)
            axes.axhline(row, color=COLOURS[beam], lw=0.9, ls=DASHES[beam])
            axes.set_title(titles[beam])
        x_mm = (np.arange(width) - (width - 1) / 2) * view.mm_per_px
        profiles = {beam: image_yx[row] for beam, image_yx in view.images_yx.items()}
        _draw_profiles(panels[1, 0], x_mm, profiles, titles)
        panels[1, 0].set(ylabel="−ln(signal)", title="Along the line")
        alone = {
            beam: profiles[beam] - boneless[row] for beam, boneless in view.boneless_yx.items()
        }
        _draw_profiles(panels[1, 1], x_mm, alone, titles)
        panels[1, 1].set(ylabel="contrast, −ln(signal)", title="Of it, the bone's contrast")
        _shade_bone(panels[1, 1], x_mm, view, row)
        handles, labels = panels[1, 0].get_legend_handles_labels()
        page.legend(handles, labels, loc="outside lower center", ncols=2, handlelength=3.2)


def telling_row(view: "Paired") -> int:
    """Choose the row of the image's inner part along which the thickness of bone varies most.

    A row that crosses metal is taken only where all do.
    """
    height = len(view.bone_mm_yx)
    first = round(height * (1 - INNER_SHARE) / 2)
    inner = slice(first, height - first)
    variation = np.abs(np.diff(view.bone_mm_yx[inner], axis=1)).sum(axis=1)
    crosses_metal = view.metal_yx[inner].any(axis=1)
    return first + int(np.where(crosses_metal, variation - variation.max() - 1, variation).argmax())


def _draw_profiles(
    axes: "Axes", x_mm: np.ndarray, values: Mapping[str, np.ndarray], titles: Mapping[str, str]
) -> None:
    for beam, along in values.items():
        axes.plot(x_mm, along, color=COLOURS[beam], ls=DASHES[beam], label=titles[beam])
    axes.set(xlabel="along the line (mm at the isocentre)", xlim=(x_mm[0], x_mm[-1]))
    axes.grid(True)
    axes.set_axisbelow(True)


def _shade_bone(axes: "Axes", x_mm: np.ndarray, view: "Paired", row: int) -> None:
    bone_mm = view.bone_mm_yx[row]
    right = axes.twinx()
    right.fill_between(x_mm, bone_mm, color=GREY, alpha=0.25, lw=0)
    low, high = axes.get_ylim()
    right.set_ylim(1.4 * bone_mm.max() * low / high, max(1.4 * bone_mm.max(), 1.0))  # zeros meet
    what = "bone" if view.labelled else "bone, by HU alone,"
    right.set_ylabel(f"solid {what} on the ray (mm), shaded")
    right.spines["right"].set_visible(True)


FIGURE = FigureRecord(
    about="one view in kilovoltage and megavoltage, and a profile",
    caption="""\
One view of **{of}** in kilovoltage and megavoltage, each in greys of its own, and below them what
the line, the one without metal along which bone varies most, crosses: the bone on the ray, and how both
beams show it (the image minus that with soft tissue in the bone's place). Bone is what lies in a label
of a bone; without such labels, and then the axis says so, what the CT's HU make bone.""",
    of=data_set,
    needs=needs,
    draw=draw,
    chapter=lambda project, _: chapter_of_setup(project),
)
