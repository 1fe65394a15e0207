"""Belief maps stage by stage on the X-ray (Bier 2018, Fig. 2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from raymark import layout
from raymark.config.project import Project
from raymark.core.drawing import (
    DOT,
    DOUBLE_IN,
    RING,
    colour_bar,
    dark_edge,
    direction,
    explain,
    figure,
    key,
    pack,
    show_belief,
    show_xray,
)
from raymark.core.names import readable
from raymark.datasets.lookup import shard_files, shards_of
from raymark.datasets.shards import Shards
from raymark.figures._places import first_training, of_experiment
from raymark.figures.base import FigureRecord
from raymark.methods import IN_STAGES
from raymark.views.plan import evenly, read_views

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import ListedColormap
    from matplotlib.image import AxesImage

LOOKED_AT = 48  # views among which the shown ones are chosen
RESOLVED, WITHDRAWN = 2, 1  # rows of belief that improves, and of belief that is given up
BAR_BACKGROUND = "#404040"
BESIDE_IN, LARGEST_IN = 0.95, 1.7  # names and colour bar; a panel's width


@dataclass(frozen=True)
class Example:
    """One landmark of one view: `image_yx`, `beliefs` (stage, row, column) at `stride` px, their
    maxima `points_px` (stage, 2), and `true_px` (2,), None where it is not on the image."""

    landmark: str
    view: str
    image_yx: np.ndarray
    beliefs: np.ndarray
    stride: int
    points_px: np.ndarray
    true_px: np.ndarray | None


def experiments_in_stages(project: Project) -> list[tuple[str, ...]]:
    """List the experiments of methods in stages, each with the first of its view sets."""
    return [
        (e.dataset, e.method, e.evaluate[0])
        for e in project.config.experiments
        if e.evaluate and project.methods[e.method].module in IN_STAGES
    ]


def needs(project: Project, dataset: str, method: str, view_set: str) -> list[str]:
    place = first_training(project, dataset, method, view_set)
    files = [layout.MODEL.format(**place), layout.VIEWS.format(**place)]
    return [*files, *shard_files(project, dataset, view_set)]


def draw(project: Project, dataset: str, method: str, view_set: str, stem: str | Path) -> None:
    """Draw two landmarks that later stages put right, and one outside the image that they give up.

    They are chosen, by the rules of `raymark.detection.by_stage`, among evenly spread views of the first training.
    """
    from raymark.detection.by_stage import most_resolved, most_withdrawn, stages_of
    from raymark.training.model_files import load_model

    model_file, views_file, *_ = needs(project, dataset, method, view_set)
    network, _ = load_model(model_file)
    views = read_views(views_file).set_index("view")
    shards = Shards(shards_of(project, dataset, view_set))
    stages = stages_of(network, shards, evenly(range(len(shards)), LOOKED_AT))
    chosen = most_resolved(stages, project.config.evaluation.accuracy_px, RESOLVED)
    chosen += most_withdrawn(stages, project.methods[method].detection_threshold, WITHDRAWN)
    examples = []
    for place, landmark in chosen:
        number = stages.numbers[place]
        view = views.loc[shards.views[number]]
        shown = shards.small["visible"][number, landmark]
        examples.append(
            Example(
                shards.landmarks[landmark],
                direction(view["primary_deg"], view["secondary_deg"]),
                shards.read(np.array([number]))["image"][0],
                stages.beliefs[place, :, landmark],
                network.stride,
                stages.points_px[place, :, landmark],
                shards.small["landmarks"][number, landmark] if shown else None,
            )
        )
    visible = np.isfinite(stages.error_px[:, 0])
    medians = [np.median(error[visible]) for error in stages.error_px.swapaxes(0, 1)]
    belief_stages(examples, np.array(medians), int(visible.sum()), stem)


def belief_stages(
    examples: Sequence[Example], median_px: np.ndarray, count: int, stem: str | Path
) -> None:
    """Draw a row per example and a column per stage.

    `median_px` (stage,) is the median error of each stage's refined maximum over `count` visible landmarks.
    """
    stages, rows = len(median_px), max(len(examples), 1)
    height, width = examples[0].image_yx.shape if examples else (3, 4)
    panel_in = min((DOUBLE_IN - BESIDE_IN) / stages, LARGEST_IN)
    page_in = BESIDE_IN + stages * panel_in, rows * (panel_in * height / width + 0.02) + 0.48
    with figure(*page_in, stem) as page:
        pack(page)
        panels = page.subplots(rows, stages, squeeze=False)
        for axes in panels.flat:
            axes.set_axis_off()
        for row, example in zip(panels, examples, strict=False):
            mesh = _draw_row(row, example)
        for number, (axes, px) in enumerate(zip(panels[0], median_px, strict=True), start=1):
            axes.set_title(f"Stage {number}\nmedian error {px:.1f} px", pad=3, fontsize=7,
                           fontweight="normal")  # fmt: skip
        if not examples:
            panels[0, 0].text(0.0, 0.5, "No landmark gains from the later stages.", fontsize=7)
            return
        bar = colour_bar(page, mesh, "belief", ax=panels, shrink=0.7, aspect=25, pad=0.01)
        bar.ax.set_facecolor(BAR_BACKGROUND)
        explain(
            page,
            key(**RING, ms=6, path_effects=dark_edge(), label="true"),
            key(**DOT, ms=3.5, path_effects=dark_edge(), label="largest belief"),
            key(ls="", label=f"median over {count} visible landmarks"),
        )


def _draw_row(row: Sequence["Axes"], example: Example) -> "AxesImage":
    _name(row[0], example)
    colours = _from_orange_to_white()
    for axes, belief, point in zip(row, example.beliefs, example.points_px, strict=True):
        show_xray(axes, example.image_yx)
        shape_yx = example.image_yx.shape
        mesh = show_belief(
            axes, belief, example.stride, shape_yx, cmap=colours, interpolation="bilinear"
        )
        if example.true_px is not None:
            axes.plot(*example.true_px, **RING, ms=6, mew=0.9, path_effects=dark_edge())
        axes.plot(*point, **DOT, ms=2.4, path_effects=dark_edge())
    return mesh


def _from_orange_to_white() -> "ListedColormap":
    """Return colours that begin with nothing: the X-ray shows where there is no belief."""
    from matplotlib.colors import ListedColormap

    beliefs = np.linspace(0, 1, 256)
    return ListedColormap(
        [(0.84 + 0.16 * x, 0.37 + 0.58 * x, 0.70 * x**2, min(1.0, 1.6 * x)) for x in beliefs]
    )


def _name(axes: "Axes", example: Example) -> None:
    outside = "" if example.true_px is not None else "\nnot on the image"
    text = f"{readable(example.landmark)}\n{example.view}{outside}"
    axes.text(-0.04, 0.5, text, transform=axes.transAxes, rotation=90, va="center", ha="right",
              multialignment="center", fontsize=6.5)  # fmt: skip


FIGURE = FigureRecord(
    about="belief maps stage by stage",
    caption=f"""\
Belief maps of every stage on **{{of}}**, first training. Shown, among {LOOKED_AT} evenly spread views, are
the two landmarks whose error falls most from the first stage to the last (and ends as accurate), and
the landmark outside the image whose largest belief falls most (and ends as not detected): the clearest
cases, not typical ones. The median error above each stage, in px of the image, is over all visible
landmarks of these views, each at its stage's largest belief, refined between pixels as in the tables;
those read the mean of all stages.""",
    beside={"bier2018": "Fig. 2"},
    of=experiments_in_stages,
    needs=needs,
    draw=draw,
    chapter=of_experiment,
)
