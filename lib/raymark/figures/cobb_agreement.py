"""Cobb angles of spines, predicted against true (appearance-context paper, Table IV)."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from raymark.config.project import Project
from raymark.core.drawing import BLUE, DOUBLE_IN, GREEN, GREY, VERMILION, figure
from raymark.datasets.lookup import dataset_of, landmark_names
from raymark.evaluation.results import files_of, read_results
from raymark.figures._places import experiments_on, of_data_set, standard_view_sets
from raymark.figures.base import FigureRecord
from raymark.metrics.cobb import ANGLES, cobb_by_view, shows_spine, smape_percent, true_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOOKS: dict[str, dict[str, Any]] = {
    "mt_deg": {"label": "MT, the largest", "color": BLUE, "marker": "o"},
    "pt_deg": {"label": "PT, above it", "color": VERMILION, "marker": "s"},
    "tl_deg": {"label": "TL, below it", "color": GREEN, "marker": "^"},
}
ABREAST = 4


def view_sets_of_spines(project: Project) -> list[tuple[str, ...]]:
    """List the view sets of whole spines."""
    return [of for of in standard_view_sets(project) if shows_spine(_names(project, of[0]))]


def _names(project: Project, dataset: str) -> list[str]:
    """List the landmarks of a data set; those of an import as far as they are known beforehand."""
    if dataset in project.datasets:
        rendered = project.datasets[dataset]
        return rendered.use_landmarks or landmark_names(rendered)
    return project.imports[dataset].known_landmarks


def on_view_set(project: Project, dataset: str, view_set: str) -> Project:
    """Return the project with only what is evaluated on a view set."""
    return project.with_experiments(experiments_on(project, dataset, view_set))


def needs(project: Project, dataset: str, view_set: str) -> list[str]:
    return files_of(on_view_set(project, dataset, view_set))


def draw(project: Project, dataset: str, view_set: str, stem: str | Path) -> None:
    """Draw the angles of every training together, but for those that diverged, as the table does."""
    results = read_results(on_view_set(project, dataset, view_set))
    place = results.landmarks[dataset], dataset_of(project, dataset).detector.height_px
    by_method = {
        results.method_title(part.method): pd.concat(
            [cobb_by_view(table, *place) for _, table in part.errors.groupby("seed")]
        )
        for part in results.parts
        if not part.diverged
    }
    cobb_agreement(by_method, stem)


def cobb_agreement(by_method: Mapping[str, pd.DataFrame], stem: str | Path) -> None:
    """Draw the angles of every image against the true ones, a panel per method.

    `by_method` has tables as from `cobb_by_view`, by the method's title.
    """
    rows = -(-len(by_method) // ABREAST)
    columns = -(-len(by_method) // rows)
    every_deg = pd.concat([table[[*ANGLES, *true_columns()]] for table in by_method.values()])
    limit_deg = 1.05 * np.nanmax(every_deg.to_numpy())
    with figure(DOUBLE_IN, rows * (DOUBLE_IN / columns + 0.15) + 0.2, stem) as page:
        panels = page.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes in panels.flat[len(by_method) :]:
            axes.set_axis_off()
        for axes, (title, table) in zip(panels.flat, by_method.items(), strict=False):
            axes.plot([0, limit_deg], [0, limit_deg], color=GREY, lw=0.8)
            _draw(axes, table)
            axes.set_title(title)
            axes.set(xlim=(0, limit_deg), ylim=(0, limit_deg), aspect="equal")
            axes.set_xlabel("true angle (°)")
        for axes in panels[:, 0]:
            axes.set_ylabel("predicted angle (°)")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        page.legend(handles, labels, loc="outside lower center", ncols=len(LOOKS))


def _draw(axes: "Axes", table: pd.DataFrame) -> None:
    found_deg, true_deg = table[list(ANGLES)].to_numpy(), table[true_columns()].to_numpy()
    for angle, found, true in zip(ANGLES, found_deg.T, true_deg.T, strict=True):
        axes.plot(true, found, ls="", ms=3.2, mec="white", mew=0.3, clip_on=False, **LOOKS[angle])
    smape = smape_percent(found_deg, true_deg).value
    text = f"n = {len(table)} images\nSMAPE {smape:.1f} %"
    if missing := int((~np.isfinite(found_deg)).any(axis=1).sum()):
        text += f"\n{missing} without angles"
    axes.text(0.04, 0.97, text, transform=axes.transAxes, va="top", fontsize=6.5)


FIGURE = FigureRecord(
    about="Cobb angles of spines, predicted against true",
    caption="""\
The three Cobb angles of every image, **{of}**, of the predicted against those of the true points, by
method; all seeds, but for those that diverged. The line is identity. SMAPE as in the table *cobb*.""",
    of=view_sets_of_spines,
    needs=needs,
    draw=draw,
    chapter=of_data_set,
)
