"""How errors are distributed, method by method."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from raymark import layout
from raymark.config.project import Project
from raymark.core.drawing import DOUBLE_IN, draw_box, figure, line_of
from raymark.datasets.lookup import of_experiments
from raymark.evaluation.results import BASELINE_TITLE
from raymark.figures._places import experiments_on, of_data_set, standard_view_sets
from raymark.figures._results import first_instances
from raymark.figures.base import FigureRecord


def files_by_title(project: Project, dataset: str, view_set: str) -> dict[str, list[str]]:
    """List each method's tables of errors, and the baseline's, by its title."""
    files = {
        project.methods[e.method].title: of_experiments(layout.ERRORS, [e])
        for e in experiments_on(project, dataset, view_set)
    }
    baseline = layout.MEAN_POSITION.format(dataset=dataset, view_set=view_set)
    return files | {BASELINE_TITLE: [baseline]}


def needs(project: Project, *of: str) -> list[str]:
    return [file for files in files_by_title(project, *of).values() for file in files]


def draw(project: Project, *of: str, stem: str | Path) -> None:
    tables = {t: first_instances(files) for t, files in files_by_title(project, *of).items()}
    errors_px = {
        t: table.loc[table["visible"], "error_px"].to_numpy() for t, table in tables.items()
    }
    error_distribution(errors_px, stem)


def error_distribution(errors_px: Mapping[str, np.ndarray], stem: str | Path) -> None:
    """Draw the cumulative distribution of each method's errors and a box for each.

    `errors_px` has the radial errors (n,) of visible landmarks by the method's title. The axis is
    logarithmic because methods differ by factors.
    """
    known = {title: np.maximum(e[np.isfinite(e)], 0.1) for title, e in errors_px.items()}
    known = {title: e for title, e in known.items() if e.size}
    height = max(2.8, 1.3 + 0.32 * len(known))
    everything = np.concatenate(list(known.values()))
    limits = np.quantile(everything, 0.005) / 1.2, np.quantile(everything, 0.999) * 1.1
    with figure(DOUBLE_IN, height, stem) as page:
        curves, boxes = page.subplots(1, 2, width_ratios=[1, 1])
        for index, (title, values) in enumerate(known.items()):
            share = 100 * np.arange(1, len(values) + 1) / len(values)
            curves.step(np.sort(values), share, where="post", label=title, **line_of(index))
            draw_box(boxes, values, index, orientation="horizontal")
        curves.set(
            xlabel="radial error (px of the image)", ylabel="landmarks with at most this error (%)"
        )
        curves.set(xscale="log", xlim=limits, ylim=(0, 100))
        curves.grid(True)
        boxes.set(xlabel="radial error (px of the image)\nmedian, quartiles, 5 to 95 %")
        boxes.set(xscale="log", xlim=limits)
        boxes.set_yticks(range(len(known)), list(known))
        boxes.set_ylim(len(known) - 0.4, -0.6)
        boxes.grid(True, axis="x")
        for axes in (curves, boxes):
            axes.set_axisbelow(True)
            axes.xaxis.set_major_formatter("{x:g}")
        page.legend(loc="outside lower center", ncols=3, handlelength=3.2)


FIGURE = FigureRecord(
    about="distribution of the errors of every method",
    caption="""\
Radial errors in px of the image of all visible landmarks, detected or not, on **{of}**. Left: share of
landmarks with at most this error. Right: median, quartiles, and the 5 to 95 % range. The mean
position looks at no image.""",
    of=standard_view_sets,
    needs=needs,
    draw=draw,
    chapter=of_data_set,
)
