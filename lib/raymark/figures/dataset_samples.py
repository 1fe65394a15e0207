"""Training images of a data set with their landmarks, as a contact sheet."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from raymark import layout
from raymark.config.project import Project
from raymark.core.drawing import DOUBLE_IN, direction, figure, note, pack, show_xray
from raymark.core.seeds import generator
from raymark.datasets.lookup import shards_to_see, shards_with_role
from raymark.datasets.shards import Shards
from raymark.evaluation.errors import truth_of
from raymark.figures._marks import draw_marks, explain_marks
from raymark.figures._places import of_data_set, shown_data_sets
from raymark.figures._results import images_of
from raymark.figures.base import FigureRecord
from raymark.views.plan import read_views

SAMPLES = 24
COLUMNS = 6


def needs(project: Project, dataset: str) -> list[str]:
    views = layout.VIEWS.format(dataset=dataset)
    return [views, *shards_to_see(project, dataset)]


def draw(project: Project, dataset: str, stem: str | Path) -> None:
    """Draw views that chance picks, the same ones every time: of the training set where there is one."""
    shown = shards_with_role(project, dataset, "train") or shards_to_see(project, dataset)
    shards = Shards(shown)
    views = read_views(layout.VIEWS.format(dataset=dataset))
    views = views[views["view"].isin(shards.views)].sort_values("view")
    chosen = generator("samples", dataset).permutation(len(views))[:SAMPLES]
    views = views.iloc[np.sort(chosen)]
    points = truth_of(shards).rename(columns={"x_true_px": "x_px", "y_true_px": "y_px"})
    dataset_samples(views, images_of(shards, views["view"]), points, stem)


def dataset_samples(
    views: pd.DataFrame, images: Mapping[str, np.ndarray], points: pd.DataFrame, stem: str | Path
) -> None:
    """Draw a contact sheet of views with their visible landmarks and angles.

    `views` has view, primary_deg, secondary_deg, flip; `images` (y, x) by view; `points` has view,
    landmark, x_px, y_px, visible.
    """
    columns = min(COLUMNS, len(views))
    rows = -(-len(views) // columns)
    shape = next(iter(images.values())).shape
    panel_in = DOUBLE_IN / columns
    differ = len(views[["primary_deg", "secondary_deg"]].drop_duplicates()) > 1
    with figure(DOUBLE_IN, rows * (panel_in * shape[0] / shape[1] + 0.03) + 0.3, stem) as page:
        pack(page)
        panels = page.subplots(rows, columns, squeeze=False)
        for axes in panels.flat[len(views) :]:
            axes.set_axis_off()
        for axes, view in zip(panels.flat, views.itertuples(), strict=False):
            show_xray(axes, images[view.view])
            draw_marks(axes, points[(points["view"] == view.view) & points["visible"]], size=1.7)
            angles = f"{direction(view.primary_deg, view.secondary_deg)}\n" * differ
            note(axes, angles + "mirrored" * bool(view.flip), size_pt=5)
        explain_marks(page, points["landmark"])


FIGURE = FigureRecord(
    about="training images with their landmarks",
    caption="""\
Images of **{of}** (those to train on, where there are any) that chance picked, with the landmarks that lie on them. In a
mirrored image the names of left and right landmarks are swapped with the picture.""",
    of=shown_data_sets,
    needs=needs,
    draw=draw,
    chapter=of_data_set,
)
