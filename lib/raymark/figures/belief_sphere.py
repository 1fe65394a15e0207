"""Confidence over the viewing directions (Bier 2018, Fig. 5)."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from raymark.config.project import Project
from raymark.core.drawing import DOUBLE_IN, explain, figure, key
from raymark.core.names import readable
from raymark.figures._places import grid_experiments, of_experiment
from raymark.figures._results import error_files, first_instances
from raymark.figures._sphere import bin_edges, draw_cells, height_in, side_bar
from raymark.figures.base import FigureRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OUTSIDE: dict[str, Any] = {"ls": "", "marker": "x", "ms": 2.6, "mew": 0.6, "color": "white", "mec": "#C4C4C4",
           "label": "not on the image"}  # fmt: skip


def draw(project: Project, dataset: str, method: str, view_set: str, stem: str | Path) -> None:
    errors = first_instances(error_files(project, dataset, method, view_set))
    belief_sphere(errors, steadiest_and_most_varied(errors), stem)


def belief_sphere(errors: pd.DataFrame, landmarks: list[str], stem: str | Path) -> None:
    """Draw the mean confidence of some landmarks over the viewing directions, side by side.

    `errors` has landmark, primary_deg, secondary_deg, confidence, visible. Directions from which a
    landmark does not lie on any image are marked: there, none is to be believed in.
    """
    with figure(DOUBLE_IN, height_in(errors, 2.7) + 0.15, stem) as page:
        all_axes = np.atleast_1d(page.subplots(1, len(landmarks), sharey=True))
        for number, (axes, landmark) in enumerate(zip(all_axes, landmarks, strict=True)):
            rows = errors[errors["landmark"] == landmark]
            top = max(1.0, float(errors["confidence"].max()))
            mesh = draw_cells(axes, rows, rows["confidence"].to_numpy(), (0, top))
            axes.set_title(readable(landmark))
            _mark_outside(axes, rows)
            if number:
                axes.set_ylabel("")
        side_bar(all_axes[-1], mesh, "confidence (maximum belief)")
        explain(page, key(**OUTSIDE), ncols=1)


def steadiest_and_most_varied(errors: pd.DataFrame) -> list[str]:
    """Choose the two landmarks of `belief_sphere`: of high and even, and of uneven confidence.

    Confidence where they lie on the image counts, of landmarks that do in half of the views; where
    there are no two of these, of all.
    """
    seen = errors[errors["visible"]]
    often = seen.groupby("landmark")["view"].nunique() >= errors["view"].nunique() / 2
    if often.sum() > 1:
        seen = seen[seen["landmark"].isin(often.index[often])]
    spread = seen.groupby("landmark")["confidence"].agg(["mean", "std"])
    steadiest = (spread["mean"] - spread["std"]).idxmax()
    rest = spread.drop(index=steadiest)
    return [steadiest] if rest.empty else [steadiest, rest["std"].fillna(0.0).idxmax()]


def _mark_outside(axes: "Axes", rows: pd.DataFrame) -> None:
    """Mark the cells of `draw_cells` in which a landmark is visible in no view."""
    edges = [bin_edges(rows[name]) for name in ("secondary_deg", "primary_deg")]
    visible = rows["visible"].to_numpy()
    y, x = (rows[name].to_numpy() for name in ("secondary_deg", "primary_deg"))
    looked_at, seen = (np.histogram2d(y, x, edges, weights=w)[0] for w in (None, visible))
    row, column = np.nonzero((looked_at > 0) & (seen == 0))
    y_middle, x_middle = ((e[1:] + e[:-1]) / 2 for e in edges)
    axes.plot(x_middle[column], y_middle[row], **OUTSIDE)


FIGURE = FigureRecord(
    about="confidence of two landmarks over the view sphere",
    caption="""\
Mean confidence over the view sphere of the landmark with the steadiest and the one with the most
varied confidence, **{of}**, among those that lie on the image from half of the directions. Crosses:
directions from which it does not.""",
    beside={"bier2018": "Fig. 5"},
    of=grid_experiments,
    needs=error_files,
    draw=draw,
    chapter=of_experiment,
)
