"""Matches drawn on slices: a point has the colour of its place in the first image, in both images."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from raymark.core.drawing import GREEN, ORANGE, PURPLE, SKY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CORNERS = [[SKY, ORANGE], [GREEN, PURPLE]]  # of the colour map of places, [row][column]


def draw_matches(
    axes: "Axes", image_yx: np.ndarray, matches: pd.DataFrame, of: str, shape_yx: tuple[int, int]
) -> None:
    """Draw the points of image `of` ("1" or "2"), coloured by their place in the first image."""
    axes.imshow(image_yx, cmap="gray", vmin=0, vmax=1)
    axes.set_axis_off()
    colours = place_colours(matches[["x1_px", "y1_px"]].to_numpy(), shape_yx)
    axes.scatter(matches[f"x{of}_px"], matches[f"y{of}_px"], c=colours, s=1.6, linewidths=0)
    axes.set(xlim=(-0.5, image_yx.shape[1] - 0.5), ylim=(image_yx.shape[0] - 0.5, -0.5))


def place_colours(points_px: np.ndarray, shape_yx: tuple[int, int]) -> np.ndarray:
    """Return the colour (n, 3) of each place (n, 2): mixed from those of the image's corners."""
    from matplotlib.colors import to_rgb

    right, down = (points_px / (np.array(shape_yx[::-1]) - 1)).T[:, :, None].clip(0, 1)
    (nw, ne), (sw, se) = [[np.array(to_rgb(colour)) for colour in row] for row in CORNERS]
    return (1 - down) * ((1 - right) * nw + right * ne) + down * ((1 - right) * sw + right * se)
