"""Landmarks drawn on X-rays with a look for each side of the patient."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd

from raymark.core.drawing import ORANGE, SKY, explain, key
from raymark.core.names import side_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# side: colour, marker, name in the legend; shapes differ for those who see no colour
SIDES = {
    "left": (SKY, "s", "patient's left"),
    "right": (ORANGE, "o", "patient's right"),
    "": ("white", "D", "midline"),
}


def draw_marks(axes: "Axes", points: pd.DataFrame, size: float) -> None:
    """Draw points (landmark, x_px, y_px) on an X-ray."""
    sides = points["landmark"].map(side_of)
    for side, (colour, marker, _) in SIDES.items():
        rows = points[sides == side]
        axes.plot(rows["x_px"], rows["y_px"], ls="", marker=marker, ms=size, color=colour,
                  mec="black", mew=0.35)  # fmt: skip


def explain_marks(page: "Figure", landmarks: Iterable[str]) -> None:
    """Write the legend of the sides that there are among the names of some landmarks."""
    present = set(map(side_of, landmarks))
    keys = [
        key(ls="", marker=marker, ms=4, color=colour, mec="black", mew=0.5, label=label)
        for side, (colour, marker, label) in SIDES.items()
        if side in present
    ]
    explain(page, *keys)
