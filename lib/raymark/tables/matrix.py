"""The matrix: one row for each method, one column for each data set."""

from collections.abc import Iterator

import pandas as pd

from raymark.config.matrix import reason_against
from raymark.config.results import Matrix
from raymark.evaluation.errors import MEAN_POSITION
from raymark.evaluation.results import UNSEEN, Results
from raymark.metrics.permutation import EXACT_CLUSTERS
from raymark.tables._columns import column
from raymark.tables._matrix import (
    BASELINE,
    SAME_NOTE,
    comparison_rows,
    patients_of,
    place_title,
    tests_notes,
)
from raymark.tables._rows import GROUPS, of_results, table_of
from raymark.tables.base import DIVERGED, NOTHING, Table

OWN_EXPERIMENTS_NOTE = (
    "Each data set has the methods of its own experiments, each with its own number of training "
    "views. config/matrix.yaml trains every method on every data set with one budget."
)


def table(results: Results) -> Table:
    """Mean errors, each with the outcome of its test."""
    rows, project = comparison_rows(results), results.project
    methods = [*project.methods, MEAN_POSITION]
    methods = [name for name in methods if (rows["method"] == name).any()]
    frame = pd.DataFrame({"method": methods})
    frame["method_title"] = [results.method_title(name) for name in methods]
    columns, notes = [], []
    for (dataset, view_set, evaluated_on), part in rows.groupby(list(GROUPS), sort=False):
        place = "__".join([dataset, view_set, "unseen" if evaluated_on == UNSEEN else "seen"])
        mre = column(
            "mre_isocentre_mm",
            key=f"{place}__mre_isocentre_mm",
            title=place_title(results, dataset, view_set, evaluated_on),
            unit="mm at isocentre",
            digits=2,
            interval=True,
            mark=f"{place}__sign",
            diverged=f"{place}__diverged",
        )
        cells = part.set_index("method").reindex(methods)
        for end in ("", "_low", "_high"):
            frame[f"{mre.key}{end}"] = cells[f"mre_isocentre_mm{end}"].to_numpy()
        frame[f"{place}__p_holm"] = cells["p_holm"].to_numpy()
        frame[mre.mark] = cells["change"].replace(BASELINE, "").fillna("").to_numpy()
        frame[mre.diverged] = (cells["diverged"] == True).to_numpy()  # noqa: E712 (NaN: no run)
        columns.append(mre)
        notes.append(_place_note(mre.title, part))
    if not project.config.matrix.datasets:
        notes.insert(0, OWN_EXPERIMENTS_NOTE)
    tests, *explained = tests_notes(results, rows)
    notes += [
        f"MRE. {tests}",
        *explained,
        SAME_NOTE,
        *(f"{text}." for text in _second_stages(results)),
        f"{DIVERGED}: the training diverged. {NOTHING}: not run.",
        *(f"{NOTHING} {text}." for text in _exclusions(results)),
    ]
    title = _title(project.config.matrix)
    what = [column("method_title")]
    return table_of(results, results.lines(), title, columns, frame, notes, what=what, groups=())


def _title(settings: Matrix) -> str:
    title = (
        "Every method on every data set"
        if settings.datasets
        else "Methods and data sets of this run"
    )
    return f"{title}{', one budget' if settings.views_seen else ''}: MRE at isocentre"


def _place_note(title: str, part: pd.DataFrame) -> str:
    """Say what one column of the matrix stands on; `part` has its rows of the long form."""
    baseline = part[part["method"] == part["baseline"]].iloc[0]
    seen = sorted(int(n) for n in part["views_seen"].dropna().unique())
    budget = " to ".join(f"{n:,}" for n in dict.fromkeys([*seen[:1], *seen[-1:]]))
    clusters, points = int(baseline["clusters"]), baseline["paired_landmarks"]
    return (
        f"{title}: {baseline['evaluated_on']}, {patients_of(baseline)}, {baseline['views']} views, "
        f"{baseline['landmarks']} landmarks, {points:,} points{_with_fewer(part)}; "
        f"baseline: {baseline['baseline_title']}; interval and test over {baseline['ci_over']}"
        + (f", so that p ≥ {2 / 2**clusters:.2g}" if clusters <= EXACT_CLUSTERS else "")
        + (f"; views seen in training: {budget}." if seen else ".")
    )


def _with_fewer(part: pd.DataFrame) -> str:
    """Name the methods whose errors are of fewer points than the baseline's own."""
    points = part["paired_landmarks"]
    fewer = part[(points < points.max()) & ~part["diverged"].astype(bool)]
    told = [f"{row['method_title']} {row['paired_landmarks']:,}" for _, row in fewer.iterrows()]
    return f" ({', '.join(told)})" if told else ""


def _second_stages(results: Results) -> Iterator[str]:
    """Say of methods with two stages that each stage has the budget of views."""
    methods = results.project.methods
    for name in dict.fromkeys(part.method for part in results.parts if part.method in methods):
        if refined := methods[name].refines:
            first = methods[refined].title
            yield (
                f"{methods[name].title}: a second stage after {first}, and trained after it, so that the images "
                "are seen twice as often"
            )


def _exclusions(results: Results) -> Iterator[str]:
    """Say which methods cannot be trained on which data sets, by the configuration's own rule."""
    project = results.project
    left_out: dict[tuple[str, str], list[str]] = {}
    for dataset in dict.fromkeys(part.dataset for part in results.parts):
        for method in project.methods.values():
            reason = reason_against(method, dataset in project.imports, project.config.matrix)
            if reason:
                left_out.setdefault((method.title, reason), []).append(project.title_of(dataset))
    for (title, reason), datasets in left_out.items():
        yield f"{title} on {'; '.join(datasets)}: {reason}"


TABLE = of_results(
    table,
    about="methods by data sets: error, and whether it differs from the baseline",
    caption="The mean error of the methods trained on each data set, in mm at the isocentre, with the "
    "outcome of the test against its baseline, corrected for the number of comparisons.",
)
