"""An X-ray, the belief map of each landmark type, and the points found in it (LandmarkNet, Fig. 3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from raymark import layout
from raymark.config.project import Project
from raymark.core.drawing import (
    DOT,
    DOUBLE_IN,
    RING,
    SEQUENTIAL,
    colour_bar,
    dark_edge,
    explain,
    figure,
    key,
    show_belief,
    show_xray,
    space,
)
from raymark.datasets.lookup import landmark_types, shard_files, shards_of
from raymark.datasets.shards import Shards
from raymark.evaluation.errors import read_errors
from raymark.figures._places import experiments, first_training, of_experiment
from raymark.figures._results import landmark_files
from raymark.figures.base import FigureRecord
from raymark.landmarks.types import XY, XY_TRUE, Types

COLUMNS = ("X-ray with the true points", "belief map", "points found")


@dataclass(frozen=True)
class Found:
    """One landmark or type on one image: its belief map over the image, true and found points."""

    title: str
    image_yx: np.ndarray
    belief_yx: np.ndarray
    stride: int
    true_px: np.ndarray
    found_px: np.ndarray


def experiments_by_type(project: Project) -> list[tuple[str, ...]]:
    """List the experiments of methods that find instances of landmark types, on rendered images."""
    return [
        of
        for of in experiments(project)
        if of[0] in project.datasets and project.methods[of[1]].by_type
    ]


def needs(project: Project, dataset: str, method: str, view_set: str) -> list[str]:
    place = first_training(project, dataset, method, view_set)
    files = [layout.MODEL.format(**place), layout.ERRORS.format(**place)]
    return [*files, *landmark_files(project, dataset), *shard_files(project, dataset, view_set)]


def draw(project: Project, dataset: str, method: str, view_set: str, stem: str | Path) -> None:
    """Draw what the first training finds on the first of the views that show most."""
    model_file, errors_file, *_ = needs(project, dataset, method, view_set)
    shards = Shards(shards_of(project, dataset, view_set))
    types = landmark_types(project, dataset)
    found_instances(looked_for(model_file, shards, read_errors([errors_file]), types), stem)


def looked_for(
    model_path: str | Path, shards: Shards, errors: pd.DataFrame, types: Types
) -> list[Found]:
    """Look with a model at the first of the views that show most: one row per channel seen there.

    `errors` are of this model on the views of `shards`, `types` those that it was trained with.
    """
    import torch

    from raymark.methods.base import standardised
    from raymark.training.batches import batches
    from raymark.training.model_files import load_model

    network, model = load_model(model_path)
    view = errors.groupby("view", sort=True)["visible"].sum().idxmax()
    number = np.array([shards.views.index(view)])
    image = next(batches(shards, [number], torch.device("cpu"))).image
    with torch.inference_mode():
        maps = network.maps(network(standardised(image)))
    assert maps is not None  # nothing else is trained on types
    rows = []
    for channel, belief in zip(model.landmarks, maps[0].numpy(), strict=True):
        of_channel = errors["landmark"].isin([channel, *types.get(channel, [])])
        table = errors[(errors["view"] == view) & of_channel]
        true = table.loc[table["visible"], XY_TRUE].to_numpy()
        if not len(true):
            continue
        points = table.loc[table["detected"], XY].to_numpy()
        title = channel.replace("_", " ")
        rows.append(Found(title, image[0, 0].numpy(), belief, network.stride, true, points))
    return rows


def found_instances(rows: Sequence[Found], stem: str | Path) -> None:
    """Draw a row per landmark: image with true points, belief map, points after suppression."""
    panel_in = DOUBLE_IN / 3.2
    height, width = rows[0].image_yx.shape
    with figure(0.96 * DOUBLE_IN, len(rows) * panel_in * height / width + 0.6, stem) as page:
        space(page, w_pad=0.02, h_pad=0.02)
        panels = page.subplots(len(rows), 3, squeeze=False)
        for axes, title in zip(panels[0], COLUMNS, strict=True):
            axes.set_title(title)
        for row, (image, belief, points) in zip(rows, panels, strict=True):
            for axes in (image, points):
                show_xray(axes, row.image_yx)
                axes.plot(*row.true_px.T, **RING, ms=6, mew=0.9, path_effects=dark_edge())
            points.plot(*row.found_px.T, **DOT, ms=3)
            image.text(-0.04, 0.5, row.title, transform=image.transAxes, rotation=90, va="center",
                       ha="right", fontsize=8)  # fmt: skip
            shown = show_belief(
                belief, row.belief_yx, row.stride, row.image_yx.shape, cmap=SEQUENTIAL
            )
        place = {"location": "bottom", "shrink": 0.6, "aspect": 30, "pad": 0.01}
        colour_bar(page, shown, "belief", ax=panels[:, 1], **place)
        explain(
            page,
            key(**RING, ms=6, path_effects=dark_edge(), label="true"),
            key(**DOT, ms=3, label="found"),
            loc="outside lower right",
            ncols=2,
        )


FIGURE = FigureRecord(
    about="belief maps of landmark types and the points found",
    caption="""\
An image of **{of}**, the belief map of each landmark type, and the points found after non-maximum
suppression; first training, the first of the views that show most landmarks. Compare with Fig. 3 of
LandmarkNet.""",
    of=experiments_by_type,
    needs=needs,
    draw=draw,
    chapter=of_experiment,
)
