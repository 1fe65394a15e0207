"""Whether methods err as much as they say: errors told from the confidence, and those that were made."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from raymark import layout
from raymark.config.project import Project
from raymark.core.drawing import DOUBLE_IN, GREY, figure, line_of
from raymark.datasets.lookup import of_experiments
from raymark.figures._places import experiments_on, of_data_set, standard_view_sets
from raymark.figures._results import first_instances
from raymark.figures.base import FigureRecord

GROUPS = 6  # of about equally many points, by the error to expect


def files_by_title(project: Project, dataset: str, view_set: str) -> dict[str, dict[str, str]]:
    """List by each method's title its models, and the table of errors of each.

    Methods that find instances of landmark types do not say what errors to expect.
    """
    return {
        project.methods[e.method].title: dict(
            zip(of_experiments(layout.MODEL, [e]), of_experiments(layout.ERRORS, [e]), strict=True)
        )
        for e in experiments_on(project, dataset, view_set)
        if not project.methods[e.method].by_type
    }


def of_methods_that_say(project: Project) -> list[tuple[str, ...]]:
    """List the view sets that a method predicts which says what errors to expect."""
    return [of for of in standard_view_sets(project) if files_by_title(project, *of)]


def needs(project: Project, *of: str) -> list[str]:
    by_title = files_by_title(project, *of).values()
    return [file for files in by_title for pair in files.items() for file in pair]


def draw(project: Project, *of: str, stem: str | Path) -> None:
    told = {title: _told(files) for title, files in files_by_title(project, *of).items()}
    calibration({title: rows for title, rows in told.items() if len(rows)}, stem)


def _told(files: Mapping[str, str]) -> pd.DataFrame:
    """Return error_px of every visible landmark, and what its model says of it: expected_px, most_px."""
    from raymark.training.model_files import described  # imports torch

    tables = []
    for model_file, errors_file in files.items():
        model, errors = described(model_file), first_instances([errors_file])
        if model.calibration is None:
            continue
        seen = errors[errors["visible"] & errors["error_px"].notna()]
        number = seen["landmark"].map({name: n for n, name in enumerate(model.landmarks)})
        expected, most = model.calibration.errors_px(
            seen["confidence"].to_numpy(float), number.to_numpy()
        )
        tables.append(seen[["error_px"]].assign(expected_px=expected, most_px=most))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def calibration(told: Mapping[str, pd.DataFrame], stem: str | Path) -> None:
    """Draw mean errors over those to expect, and the share of points within what 19 of 20 stay below.

    `told` has, by the method's title, error_px, expected_px and most_px of visible landmarks.
    """
    from matplotlib.ticker import LogLocator, NullLocator

    with figure(DOUBLE_IN, 3.0, stem) as page:
        if not told:
            page.text(0.5, 0.5, "no method here says what errors to expect", ha="center")
            return
        errors, shares = page.subplots(1, 2)
        ends: list[float] = []
        for index, (title, rows) in enumerate(told.items()):
            groups = _groups(rows)
            expected = [group["expected_px"].mean() for group in groups]
            true = [group["error_px"].mean() for group in groups]
            within = [100 * (group["error_px"] <= group["most_px"]).mean() for group in groups]
            style = line_of(index) | {"marker": "o", "ms": 3}
            errors.plot(expected, true, label=title, **style)
            shares.plot(expected, within, **style)
            ends += [*expected, *true]
        low, high = 0.8 * max(min(ends), 1e-2), 1.25 * max(ends)
        errors.plot([low, high], [low, high], color=GREY, lw=0.8, zorder=0)
        errors.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
        errors.set(xlabel="expected error (px of the image)", ylabel="mean error (px of the image)")
        shares.axhline(95, color=GREY, lw=0.8, zorder=0)
        shares.set(xscale="log", xlim=(low, high), ylim=(0, 101))
        shares.set(
            xlabel="expected error (px of the image)",
            ylabel="points within the error\nthat 19 of 20 stay below (%)",
        )
        for axis in (errors.xaxis, errors.yaxis, shares.xaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter("{x:g}")
        for axes in (errors, shares):
            axes.grid(True)
            axes.set_axisbelow(True)
        page.legend(loc="outside lower center", ncols=3, handlelength=3.2)


def _groups(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """Cut points into groups of rising expected errors; equal ones stay together."""
    ends = np.unique(np.quantile(rows["expected_px"], np.linspace(0, 1, GROUPS + 1)))
    group = np.searchsorted(ends[1:-1], rows["expected_px"], side="left")
    return [part for _, part in rows.groupby(group)]


FIGURE = FigureRecord(
    about="errors that methods expect by their confidence, and those that they made",
    caption="""\
What methods say of their own errors, learned on the validation images, on **{of}**. Left: mean error of
the visible landmarks over the error to expect; on the line both are the same, above it the method is too
sure. Right: share of points within the error that 19 of 20 stay below. Points in groups of about equally
many.""",
    of=of_methods_that_say,
    needs=needs,
    draw=draw,
    chapter=of_data_set,
)
