"""Table 1 and Figures 2 and 3 of the paper, from our matches."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from raymark.config.papers import Paper
from raymark.config.project import Project
from raymark.config.subjects import Subject
from raymark.core.drawing import DOUBLE_IN, GREEN, GREY, ORANGE, PURPLE, SKY, figure, line_of
from raymark.correspondence.config import Correspondence, has_unseen_patients, subjects_for
from raymark.correspondence.evaluation import (
    FAR_MM,
    FOLLOW_UP,
    WITHIN_MM,
    pair_for_testing,
    summary,
)
from raymark.correspondence.pairs import KINDS
from raymark.correspondence.slices import GREYS, Stack
from raymark.tables.table import Column, Table

METHODS = {
    "network": "Siamese network",
    "sift_inverse": "SIFT, inverse consistency",
    "sift_ratio": "SIFT, ratio test",
}
ORDER = (*KINDS, FOLLOW_UP)
COLUMNS = [
    Column("transformation_title", "Transformation"),
    Column("method_title", "Method"),
    Column("pairs", "Pairs", digits=0),
    Column("matches", "Matches per pair", digits=0, interval=True, best="max"),
    Column("published_matches", "Published matches"),
    Column("error_mm", "Spatial error", "mm", digits=1, interval=True, best="min"),
    Column("published_error_mm", "Published error", "mm"),
    *(
        Column(f"within_{mm}_mm", f"Within {mm} mm", "%", digits=1, scale=100, best="max")
        for mm in WITHIN_MM
    ),
    Column("far", f"Beyond {FAR_MM} mm", "%", digits=1, scale=100, best="min"),
    Column("published_share", "Published share"),
]
CORNERS = [[SKY, ORANGE], [GREEN, PURPLE]]  # of the colour map of places, [row][column]
LONGEST_MM = 128
OVERLAID = "elastic"  # the transformation that overlays are of


def correspondence_table(
    matches: pd.DataFrame, follow_up: pd.DataFrame, paper: Paper, label: str, tested_on: str
) -> Table:
    """Make Table 1 with the published values beside ours, and below it what the paper judged by eye:
    the matches with a `follow_up`. `tested_on` says on which slices.
    """
    frame = _ordered(summary(pd.concat([matches, follow_up], ignore_index=True)))
    frame.insert(1, "transformation_title", frame["transformation"].str.capitalize())
    frame.insert(3, "method_title", frame["method"].map(METHODS))
    for name, digits in (("matches", 0), ("error_mm", 1)):
        frame[f"published_{name}"] = [
            _published(paper, row.method, f"{row.transformation}_{name}", digits)
            for row in frame.itertuples()
        ]
    frame["published_share"] = [
        _stated(paper, row.method, f"{row.transformation}_") for row in frame.itertuples()
    ]
    notes = [
        tested_on,
        "Median [quartiles]: of the matches over pairs, of the spatial error over all matches.",
        "The error is exact: each point of the second image is projected by the known "
        "transformation itself.",
        "Follow-up: a virtual second scan of the same patient (deformed, lying otherwise, with a "
        "contrast agent and other noise), registered affinely. Errors are in space: what moved across "
        "the slice counts, which no match within it can follow. The registration alone puts the same "
        f"points {follow_up['unmatched_mm'].median():.1f} mm off (median). The paper judged its "
        "follow-ups by eye.",
        "SIFT of scikit-image with OpenCV's default values, sub-pixel places; the network's "
        "landmarks are whole pixels of 1 mm.",
        *paper.notes,
    ]
    title = "Landmark correspondences between CT slices"
    return Table(title, frame, COLUMNS, label, notes, groups=("transformation",))


def tested_on(settings: Correspondence, project: Project, sheet: dict[str, Subject]) -> str:
    """Say which slices the matches are of."""
    slices = settings.slices
    if has_unseen_patients(settings, project, sheet):
        return "Slices of unseen patients."
    subjects = [subject for _, subject in subjects_for("test", settings, project, sheet)]
    return (
        f"No unseen patients: the upper {slices.test_share:.0%} of the CTs {', '.join(subjects)}; the "
        f"network trained on their slices at least {slices.gap_mm:g} mm below, and on no others."
    )


def cumulative_curves(matches: pd.DataFrame, stem: str | Path) -> None:
    """Draw the share of matches within each distance, one panel per transformation (Fig. 2).

    A line marks the distance beyond which the paper speaks of matches of far apart regions.
    """
    limits_mm = np.geomspace(0.5, LONGEST_MM, 200)
    with figure(DOUBLE_IN, 2.5, stem) as page:
        panels = page.subplots(1, len(ORDER), sharey=True)
        for axes, kind in zip(panels, ORDER, strict=True):
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
            axes.set(xlabel="distance (mm)", ylim=(0, 101))
            axes.grid(True)
        panels[0].set_ylabel("matches within it (%)")
        handles, titles = panels[0].get_legend_handles_labels()
        page.legend(handles, titles, loc="outside lower center", ncols=4, handlelength=3.2)


def match_overlays(
    matches: pd.DataFrame, stack: Stack, settings: Correspondence, stem: str | Path
) -> None:
    """Draw matches on test slices and their elastic copies, method by method (Fig. 3).

    A match has one colour in both images, that of its place in the first: a dot whose colour does
    not fit its surroundings in the second is a mismatch.
    """
    pairs = [pair_for_testing(stack, k, OVERLAID, settings)[0] for k in range(len(stack))]
    images = [(pair.image1, pair.image2) for pair in pairs]
    _overlays(matches[matches["transformation"] == OVERLAID], stack, images, stem)


def follow_up_overlays(
    matches: pd.DataFrame, stack1: Stack, stack2: Stack, stem: str | Path
) -> None:
    """Draw matches on slices of two scans of one patient, method by method (Fig. 3 c-f)."""
    images = zip(stack1.image_zyx / GREYS, stack2.image_zyx / GREYS, strict=True)
    _overlays(matches, stack1, list(images), stem)


def _overlays(
    matches: pd.DataFrame,
    stack: Stack,
    images: list[tuple[np.ndarray, np.ndarray]],
    stem: str | Path,
) -> None:
    """Draw a row for each slice of `stack` with its pair of `images`, and two columns for each method."""
    height, width = stack.image_zyx.shape[1:]
    panel_in = DOUBLE_IN / (2 * len(METHODS))
    with figure(DOUBLE_IN, len(stack) * (panel_in * height / width + 0.03) + 0.2, stem) as page:
        page.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.0, hspace=0.0)
        panels = page.subplots(len(stack), 2 * len(METHODS), squeeze=False)
        for row, pair, z_mm in zip(panels, images, stack.z_mm, strict=True):
            on_slice = (matches["subject"] == stack.subject) & (matches["z_mm"] == z_mm)
            on_slice &= matches["error_mm"].notna()
            for method, axes in zip(METHODS, row.reshape(-1, 2), strict=True):
                mine = matches[on_slice & (matches["method"] == method)]
                for of, image in zip("12", pair, strict=True):
                    draw_matches(axes["12".index(of)], image, mine, of, (height, width))
        for first, title in zip(panels[0, ::2], METHODS.values(), strict=True):
            first.set_title(title, loc="left", pad=3)


def draw_matches(
    axes: Axes, image_yx: np.ndarray, matches: pd.DataFrame, of: str, shape_yx: tuple[int, int]
) -> None:
    """Draw the points of image `of` ("1" or "2"), coloured by their place in the first image."""
    axes.imshow(image_yx, cmap="gray", vmin=0, vmax=1)
    axes.set_axis_off()
    colours = place_colours(matches[["x1_px", "y1_px"]].to_numpy(), shape_yx)
    axes.scatter(matches[f"x{of}_px"], matches[f"y{of}_px"], c=colours, s=1.6, linewidths=0)
    axes.set(xlim=(-0.5, image_yx.shape[1] - 0.5), ylim=(image_yx.shape[0] - 0.5, -0.5))


def place_colours(points_px: np.ndarray, shape_yx: tuple[int, int]) -> np.ndarray:
    """Return the colour (n, 3) of each place (n, 2): mixed from those of the image's corners."""
    right, down = (points_px / (np.array(shape_yx[::-1]) - 1)).T[:, :, None].clip(0, 1)
    (nw, ne), (sw, se) = [[np.array(to_rgb(colour)) for colour in row] for row in CORNERS]
    return (1 - down) * ((1 - right) * nw + right * ne) + down * ((1 - right) * sw + right * se)


def _ordered(frame: pd.DataFrame) -> pd.DataFrame:
    """Sort by transformation and method in the paper's order."""
    places = pd.DataFrame(
        {
            "kind": frame["transformation"].map(ORDER.index),
            "method": frame["method"].map(list(METHODS).index),
        }
    )
    return frame.loc[places.sort_values(["kind", "method"]).index].reset_index(drop=True)


def _published(paper: Paper, method: str, key: str, digits: int) -> str:
    """Print a published median with its quartiles."""
    row = next((row for row in paper.rows if row.method == method), None)
    if row is None or not {key, f"{key}_low", f"{key}_high"} <= row.values.keys():
        return ""
    middle, low, high = (row.values[key + end] for end in ("", "_low", "_high"))
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def _stated(paper: Paper, method: str, kind: str) -> str:
    """Print the shares that the paper states roughly of a method on a kind of transformation."""
    return "; ".join(
        f"{stated.text} {key.removeprefix(kind).replace('_', ' ')} ({stated.source})"
        for row in paper.rows
        if row.method == method
        for key, stated in row.stated.items()
        if key.startswith(kind)
    )
