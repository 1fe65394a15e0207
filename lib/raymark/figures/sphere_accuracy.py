"""Accuracy over the viewing directions (Bier 2018, Fig. 4a)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from raymark import layout
from raymark.config.papers import paper_file, read_paper
from raymark.config.project import Project
from raymark.core.drawing import DOUBLE_IN, SINGLE_IN, figure
from raymark.figures._places import experiment, first_training, grid_experiments, of_experiment
from raymark.figures._results import first_instances
from raymark.figures._sphere import draw_cells, height_in, side_bar
from raymark.figures.base import FigureRecord
from raymark.metrics.detection import accuracy_by_view


def needs(project: Project, *of: str) -> list[str]:
    paper = experiment(project, *of).paper
    errors = layout.ERRORS.format(**first_training(project, *of))
    return [errors, paper_file(paper)] if paper else [errors]


def draw(project: Project, *of: str, stem: str | Path) -> None:
    """Draw the accuracy at so many px, and at as many mm as those of the paper's detector are."""
    errors = first_instances(needs(project, *of)[:1])
    near_px = project.config.evaluation.accuracy_px
    ours_mm = project.datasets[of[0]].detector.pixel_mm
    within = {
        f"within {near_px:g} px of the image\n({near_px * ours_mm:.1f} mm at the detector)": near_px
    }
    paper = experiment(project, *of).paper
    theirs_mm = read_paper(paper).pixel_mm if paper else None
    if theirs_mm and theirs_mm != ours_mm:
        title = f"within the paper's {near_px:g} px\n({near_px * theirs_mm:.1f} mm at the detector)"
        within[title] = near_px * theirs_mm / ours_mm
    sphere_accuracy(errors, within, stem)


def sphere_accuracy(errors: pd.DataFrame, within: Mapping[str, float], stem: str | Path) -> None:
    """Draw the accuracy of every viewing direction, for each threshold a map of its own.

    `errors` has view, primary_deg, secondary_deg, error_px, visible, detected; accuracy is the share
    of a view's detections with an error below the threshold, `within` has thresholds in px by title.
    """
    angles = errors.drop_duplicates("view").set_index("view")[["primary_deg", "secondary_deg"]]
    maps = [accuracy_by_view(errors, px).join(angles, on="view") for px in within.values()]
    percents = [100 * views["accuracy"].to_numpy() for views in maps]
    least = min(p.min(initial=100, where=np.isfinite(p)) for p in percents)
    width_in = SINGLE_IN if len(maps) == 1 else DOUBLE_IN
    map_in = 2.3 if len(maps) == 1 else 2.7
    with figure(width_in, height_in(maps[0], map_in) + 0.3, stem) as page:
        panels = page.subplots(1, len(maps), sharey=True, squeeze=False)[0]
        for axes, title, views, percent in zip(panels, within, maps, percents, strict=True):
            mesh = draw_cells(axes, views, percent, (50 if least >= 50 else 0, 100))
            axes.set_title(title, pad=3)
            axes.label_outer()
        side_bar(panels[-1], mesh, f"accuracy (%), {maps[0]['detections'].sum()} detections")


FIGURE = FigureRecord(
    about="accuracy of every viewing direction",
    caption="""\
Accuracy of each viewing direction, **{of}**, first training: share of detected landmarks with an error
below the stated distance, in px of our images and, where these are others, in px of the paper's. Hatched:
no view, or nothing detected.""",
    beside={"bier2018": "Fig. 4a"},
    of=grid_experiments,
    needs=needs,
    draw=draw,
    chapter=of_experiment,
)
