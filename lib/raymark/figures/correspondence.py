"""Landmark matches between CT slices (Grewal 2020, Figs. 2 and 3): how far off, and on the slices.

Three figures: `cumulative`, the share of matches within each distance; `overlays`, matches on slices
and their elastic copies; `follow_up`, matches on slices of a CT and of its virtual follow-up.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from raymark import layout
from raymark.config.project import Project
from raymark.core.drawing import DOUBLE_IN, GREY, figure, line_of, pack
from raymark.correspondence.config import correspondence_of, cts_for, shown_settings
from raymark.correspondence.drawing import draw_matches
from raymark.correspondence.matches import (
    FAR_MM,
    FILES,
    FOLLOW_UP,
    METHODS,
    TRANSFORMATIONS,
    read_all_matches,
    read_matches,
    read_slices,
)
from raymark.figures.base import FigureRecord
from raymark.tables.base import chapter_of_paper

LONGEST_MM = 128
OVERLAID = "elastic"  # the transformation that overlays are of
SHOWN = 3  # slices in the overlays


def parts(project: Project) -> list[tuple[str, ...]]:
    return [(part,) for part in DRAW] if project.config.correspondence else []


def needs(project: Project, part: str) -> list[str]:
    if part == "cumulative":
        return FILES
    *matches, follow_up = FILES
    if part == "follow_up":
        return [follow_up, layout.CORRESPONDENCE_FOLLOW_UP_SLICES]
    cts = cts_for("test", project, project.sheet)  # of all, since the first may be refused
    return [*matches, *cts.values()]


def draw(project: Project, part: str, stem: str | Path) -> None:
    DRAW[part](project, stem)


def _cumulative(project: Project, stem: str | Path) -> None:
    cumulative_curves(pd.concat(read_all_matches(), ignore_index=True), stem)


def _overlays(project: Project, stem: str | Path) -> None:
    """Draw matches on test slices of the first CT and their elastic copies, method by method."""
    from raymark.correspondence.pairs import pair_for_testing
    from raymark.correspondence.slices import spread, stacks_for

    *files, _ = FILES
    matches = pd.concat([read_matches(path) for path in files], ignore_index=True)
    settings, stack = correspondence_of(project), next(stacks_for("test", project))
    stack = spread(stack, SHOWN)
    pairs = [pair_for_testing(stack, k, OVERLAID, settings)[0] for k in range(len(stack))]
    images = {z: (p.image1, p.image2) for z, p in zip(stack.z_mm, pairs, strict=True)}
    shown = matches[matches["transformation"] == OVERLAID]
    match_overlays(shown[shown["subject"] == stack.subject], images, stem)


def _follow_up(project: Project, stem: str | Path) -> None:
    """Draw matches on slices of the first CT and of its follow-up, method by method."""
    from raymark.correspondence.slices import GREYS

    matches_file, slices_file = needs(project, "follow_up")
    matches, slices = read_matches(matches_file), read_slices(slices_file)
    images = {row.z_mm: (row.image1 / GREYS, row.image2 / GREYS) for row in slices.itertuples()}
    match_overlays(matches[matches["subject"] == slices["subject"][0]], images, stem)


def cumulative_curves(matches: pd.DataFrame, stem: str | Path) -> None:
    """Draw the share of matches within each distance, one panel per transformation (Fig. 2).

    A line marks the distance beyond which the paper speaks of matches of far apart regions.
    """
    limits_mm = np.geomspace(0.5, LONGEST_MM, 200)
    with figure(DOUBLE_IN, 2.5, stem) as page:
        panels = page.subplots(1, len(TRANSFORMATIONS), sharey=True)
        for axes, kind in zip(panels, TRANSFORMATIONS, strict=True):
            for index, (method, title) in enumerate(METHODS.items()):
                mine = (matches["transformation"] == kind) & (matches["method"] == method)
                error_mm = np.sort(matches.loc[mine, "error_mm"].dropna())
                if error_mm.size:
                    share = np.searchsorted(error_mm, limits_mm, side="right") / error_mm.size
                    axes.plot(limits_mm, 100 * share, label=title, **line_of(index))
            axes.axvline(FAR_MM, color=GREY, lw=0.9, label=f"{FAR_MM} mm")
            axes.set_title(kind.capitalize())
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter("{x:g}")
            where = "space" if kind == FOLLOW_UP else "the slice"
            axes.set(xlabel=f"error (mm in {where})", ylim=(0, 101))
            axes.grid(True)
        panels[0].set_ylabel("matches with at most this error (%)")
        handles, titles = panels[0].get_legend_handles_labels()
        page.legend(handles, titles, loc="outside lower center", ncols=4, handlelength=3.2)


def match_overlays(
    matches: pd.DataFrame, images: Mapping[float, tuple[np.ndarray, np.ndarray]], stem: str | Path
) -> None:
    """Draw a row for each slice, and two columns for each method (Fig. 3).

    `matches` are of one CT; `images` has both images (y, x), 0 to 1, of a slice by its height in mm. A
    match has one colour in both, that of its place in the first: a dot whose colour does not fit its
    surroundings in the second is a mismatch.
    """
    height, width = next(iter(images.values()))[0].shape
    panel_in = DOUBLE_IN / (2 * len(METHODS))
    with figure(DOUBLE_IN, len(images) * (panel_in * height / width + 0.03) + 0.2, stem) as page:
        pack(page)
        panels = page.subplots(len(images), 2 * len(METHODS), squeeze=False)
        for row, (z_mm, pair) in zip(panels, images.items(), strict=True):
            on_slice = (matches["z_mm"] == z_mm) & matches["error_mm"].notna()
            for method, axes in zip(METHODS, row.reshape(-1, 2), strict=True):
                mine = matches[on_slice & (matches["method"] == method)]
                for panel, of, image in zip(axes, "12", pair, strict=True):
                    draw_matches(panel, image, mine, of, (height, width))
        for first, title in zip(panels[0, ::2], METHODS.values(), strict=True):
            first.set_title(title, loc="left", pad=3)


DRAW = {"cumulative": _cumulative, "follow_up": _follow_up, "overlays": _overlays}
FIGURE = FigureRecord(
    about="landmark matches between CT slices",
    caption="""\
Landmark matches between CT slices and their transformed copies (brightness and contrast, affine,
elastic) and a virtual follow-up CT after affine registration, by the Siamese network and by SIFT,
**{of}**. Errors are in the plane of the slice, those of the follow-up in space. On slices (elastic
copies, follow-up) a match has one colour in both images, that of its place in the first: a dot whose
colour does not fit its surroundings in the second is a mismatch. Compare with Fig. 2 and Fig. 3 of Grewal
2020; the table *correspondence* says on which slices it stands.""",
    of=parts,
    needs=needs,
    draw=draw,
    chapter=lambda project, _: chapter_of_paper("correspondence"),
    settings=shown_settings,
)
