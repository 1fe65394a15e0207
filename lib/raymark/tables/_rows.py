"""What the tables of results share: their record, rows, columns and notes."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pandas as pd

from raymark.config.project import Project
from raymark.config.results import Evaluation
from raymark.core.seeds import generator
from raymark.datasets.available import NOT_PRESENT
from raymark.datasets.lookup import dataset_of
from raymark.evaluation.errors import MEAN_POSITION
from raymark.evaluation.results import Part, Results, files_of, read_results
from raymark.metrics.bootstrap import Clusters, clusters_of, interval
from raymark.metrics.ratio import Ratio
from raymark.tables._columns import column, notes_on_units
from raymark.tables.base import Column, Table, TableRecord

GROUPS = ("dataset", "view_set", "evaluated_on")
PLACE = [column(key) for key in ("dataset_title", "view_set_title", "evaluated_on")]
WHAT = [*PLACE, column("method_title")]
BASELINE_NOTE = (
    "Mean position: every landmark at its mean place in the training images of that direction. It "
    "looks at no image; "
    "what is not clearly better has learnt nothing."
)


def of_results(
    make: Callable[[Results], Table], about: str, caption: str, publishes: str | None = None
) -> TableRecord:
    """Return the record of a table that `make` makes from the results of all experiments.

    With `publishes` it is of those alone whose paper publishes that metric; else of no paper.
    """

    def shown(project: Project) -> Project:
        if publishes:
            return project.publishing(publishes)
        experiments = project.config.experiments
        return project.with_experiments(e.model_copy(update={"paper": None}) for e in experiments)

    def needs(project: Project) -> list[str]:
        asked = project.paper_files() if publishes else []  # which of them publish it
        return sorted({*files_of(shown(project)), *asked})

    return TableRecord(
        about,
        caption,
        needs=needs,
        make=lambda project: make(read_results(shown(project))),
        asked=Project.evaluates,
        publishes=publishes,
    )


def place_of(project: Project, dataset: str, view_set: str, evaluated_on: str) -> dict:
    """Return what a row is of, as tables print it and by the configuration's names."""
    return {
        "dataset": dataset,
        "dataset_title": project.title_of(dataset),
        "view_set": view_set,
        "view_set_title": project.view_set_title(dataset, view_set),
        "evaluated_on": evaluated_on,
    }


def with_interval(
    evaluation: Evaluation, key: str, metric: Ratio, groups: Clusters, *stream: str
) -> dict[str, float]:
    """Return a metric and the ends of its interval, resampled by the generator called `stream`."""
    low, high = interval(
        metric,
        groups,
        resamplings=evaluation.bootstrap,
        confidence=evaluation.confidence,
        rng=generator("bootstrap", *stream),
    )
    return {key: metric.value, f"{key}_low": low, f"{key}_high": high}


class Row:
    """Collects one part's numbers; every interval has a random generator of its own name.

    Of a part without data only the names are known; what says how many says so instead.
    """

    def __init__(self, results: Results, part: Part):
        self.results, self.part, self.errors = results, part, part.errors
        self.values = place_of(results.project, part.dataset, part.view_set, part.evaluated_on) | {
            "method": part.method,
            "method_title": results.method_title(part.method),
            "scale": results.label or "full scale",
            "diverged": part.diverged,
            "missing": part.missing,
        }
        if part.missing:
            self.values["ci_over"] = NOT_PRESENT
            return
        self.values |= {
            "pixel_mm": dataset_of(results.project, part.dataset).detector.pixel_mm,
            "seeds_text": _seeds_text(part),
            "patients": self.errors["patient"].nunique(),
            "subjects": self.errors["subject"].nunique(),
            "views": self.errors["view"].nunique(),
        }

    def add(self, key: str, metric: Ratio, groups: Clusters, drawn_as: str = "") -> None:
        """Add a metric with its interval.

        The generator is named like the key, or `drawn_as`: a column that is renamed keeps its numbers.
        """
        self.values |= self.interval(key, metric, groups, drawn_as)

    def interval(self, key: str, metric: Ratio, groups: Clusters, drawn_as: str = "") -> dict:
        part, evaluation = self.part, self.results.project.config.evaluation
        names = part.dataset, part.view_set, part.evaluated_on, part.method, drawn_as or key
        return with_interval(evaluation, key, metric, groups, *names)


def rows_of(results: Results, lines: list[Part], measure: Callable[[Row], None]) -> Iterator[dict]:
    """Yield a row for each part; `measure` adds the numbers of those that have data."""
    for part in lines:
        row = Row(results, part)
        if not part.missing:
            measure(row)
        yield row.values


def table_of(
    results: Results,
    lines: list[Part],
    title: str,
    columns: list[Column],
    rows: Iterable[dict] | pd.DataFrame,
    notes: list[str],
    *,
    what: Iterable[Column] = WHAT,
    counts: Iterable[str] = (),
    groups: tuple[str, ...] = GROUPS,
    baseline: str = BASELINE_NOTE,
    across: bool = False,
) -> Table:
    """Return a table of results.

    Before its own columns are those that say `what` a row is, behind them those on how many
    trainings, patients and `counts` it stands; below its notes those on all columns and on `lines`.
    """
    numbers = ("seeds_text", "patients", *counts, "ci_over") if counts else ()
    columns = [*what, *columns, *map(column, numbers)]
    notes = [*notes, *_closing_notes(results, lines, columns, baseline)]
    return Table(title, pd.DataFrame(rows), columns, results.label, notes, groups, across)


def clusters(rows: pd.DataFrame) -> Clusters:
    """Group rows (columns patient, subject, view) into what is drawn whole."""
    return clusters_of(*(rows[key].to_numpy() for key in ("patient", "subject", "view")))


def interval_note(evaluation: Evaluation) -> str:
    return (
        f"[low, high]: {evaluation.confidence:.0%} bootstrap interval (BCa, {evaluation.bootstrap} "
        "resamplings) over what the column names. Over subjects (CTs and their deformed copies) "
        "or views of one patient it says nothing about other patients; over fewer than about ten "
        "patients or subjects it is too narrow. It does not hold the spread between trainings, and "
        "has no width where all are alike, as at 0 and 100%."
    )


def _closing_notes(
    results: Results, lines: list[Part], columns: list[Column], baseline: str
) -> list[str]:
    """Explain the planes and pixels of columns, intervals and the mean position where a row has them;
    then say what papers say of their values, and what has no data."""
    said = {
        **notes_on_units(columns),
        interval_note(results.project.config.evaluation): not all(part.missing for part in lines),
        baseline: any(part.method == MEAN_POSITION for part in lines),
    }
    notes = [note for note, is_so in said.items() if is_so]
    notes += [note for paper in results.papers.values() for note in paper.notes]
    absent = [(part.dataset, part.view_set, part.missing) for part in lines if part.missing]
    return notes + missing_notes(results.project, absent)


def missing_notes(project: Project, absent: Iterable[tuple[str, str, str]]) -> list[str]:
    """Say for every (data set, view set or "" for all, reason) what is missing, each once."""
    notes = []
    for dataset, view_set, reason in absent:
        place = [project.title_of(dataset)]
        place += [project.view_set_title(dataset, view_set)] if view_set else []
        notes.append(f"{NOT_PRESENT.capitalize()}: {', '.join(place)}: {reason}.")
    return list(dict.fromkeys(notes))


def pointless_notes(results: Results, lines: list[Part]) -> list[str]:
    """Say how many visible landmarks have no point, and by whom: means are without them."""
    told = []
    for part in lines:
        seen = part.errors[part.errors["visible"].astype(bool)]
        gone = int(seen["error_px"].isna().sum())
        if gone:
            told.append(
                f"{results.method_title(part.method)}, {results.project.title_of(part.dataset)}, "
                f"{results.project.view_set_title(part.dataset, part.view_set)}: {gone} of {len(seen):,}"
            )
    if not told:
        return []
    return [
        f"Visible landmarks without a point ({'; '.join(told)}) have no error: they take no part in "
        "means and medians, and are misses in shares."
    ]


def _seeds_text(part: Part) -> str:
    if not part.diverged_seeds or part.diverged:
        return str(part.seeds)
    return f"{part.seeds} ({part.diverged_seeds} DIV)"


def published(results: Results, part: Part, keys: list[str]) -> dict:
    """Return the published values beside a part, as columns published_<key> and source."""
    beside = results.published(part)
    dataset = results.project.datasets.get(part.dataset)
    scenario = dataset and dataset.view_sets[part.view_set].scenario()
    values = {f"published_{key}": np.nan for key in keys}
    if beside is None or scenario:  # of which no paper speaks
        return {**values, "published_diverged": False, "source": ""}
    paper, row = beside
    values |= {f"published_{key}": row.values.get(key, np.nan) for key in keys}
    return {**values, "published_diverged": row.diverged, "source": paper.cited(row)}


def published_rows(results: Results, table: str) -> list[dict]:
    """Return the rows that papers have in a table, whether we have their methods or not."""
    return [
        {
            "dataset": paper.name,
            "dataset_title": row.images,
            "view_set": row.test_set,
            "view_set_title": row.test_set,
            "evaluated_on": row.evaluated_on,
            "method": row.method or "",
            "method_title": row.title,
            "scale": "published",
            "diverged": row.diverged,
            "views": row.test_images,
            "source": f"{paper.short}, {row.source}",
        }
        | row.values
        for paper in results.papers.values()
        for row in paper.rows
        if row.table == table
    ]
