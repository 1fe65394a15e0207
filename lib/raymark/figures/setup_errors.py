"""How the set-up errors of the registrations are distributed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from raymark import layout
from raymark.config.project import Project
from raymark.core.drawing import SINGLE_IN, figure, line_of
from raymark.datasets.lookup import of_experiments
from raymark.figures._places import experiment, of_experiment, set_up_experiments
from raymark.figures.base import FigureRecord
from raymark.radiotherapy.setup_table import read_setup
from raymark.tables.setup import registration_titles


def needs(project: Project, *of: str) -> list[str]:
    return of_experiments(layout.SETUP, [experiment(project, *of)])


def draw(project: Project, dataset: str, method: str, view_set: str, stem: str | Path) -> None:
    table = read_setup(needs(project, dataset, method, view_set))
    titles = registration_titles(project.methods[method].title)
    errors_mm = {
        title: table.loc[table["registration"] == registration, "error_mm"].to_numpy()
        for registration, title in titles.items()
    }
    setup_errors(errors_mm, project.config.setup.within_mm, stem)


def setup_errors(
    errors_mm: Mapping[str, np.ndarray], within_mm: Sequence[float], stem: str | Path
) -> None:
    """Draw the share of views whose set-up error is at most so large, by registration.

    `errors_mm` has an error (n,) for every view; NaN, a view that was not registered, never counts.
    """
    known = np.concatenate([np.asarray(e)[np.isfinite(e)] for e in errors_mm.values()])
    with figure(SINGLE_IN, 2.9, stem) as page:
        axes = page.subplots()
        for index, (title, values) in enumerate(errors_mm.items()):
            there = np.sort(values[np.isfinite(values)])
            share = 100 * np.arange(len(there) + 1) / len(values)
            axes.step(np.concatenate([[0.0], there]), share, where="post", label=title,
                      **line_of(index))  # fmt: skip
        for limit in within_mm:
            axes.axvline(limit, color="0.6", lw=0.6, zorder=0)
        axes.set(
            xlabel="set-up error (mm at the isocentre)", ylabel="views with at most this error (%)"
        )
        axes.set(xlim=(0, 1.05 * known.max(initial=1.0)), ylim=(0, 101))
        axes.grid(True)
        page.legend(loc="outside lower center", ncols=1, handlelength=3.2)


FIGURE = FigureRecord(
    about="distribution of the set-up errors of every registration",
    caption="""\
Share of views whose set-up error, in mm at the isocentre, is at most so large, by registration,
**{of}**; *none* is how far the patient lay off. Vertical lines: the distances that the table *setup*
tells shares within.""",
    of=set_up_experiments,
    needs=needs,
    draw=draw,
    chapter=of_experiment,
)
