"""Figures 2 and 3 of the paper, from our matches."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from raymark.correspondence.config import Correspondence
from raymark.correspondence.evaluation import pair_for_testing
from raymark.correspondence.matches import FAR_MM, METHODS, TRANSFORMATIONS
from raymark.correspondence.slices import GREYS, Stack
from raymark.figures.style import DOUBLE_IN, GREEN, GREY, ORANGE, PURPLE, SKY, figure, line_of

CORNERS = [[SKY, ORANGE], [GREEN, PURPLE]]  # of the colour map of places, [row][column]
LONGEST_MM = 128
OVERLAID = "elastic"  # the transformation that overlays are of


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
