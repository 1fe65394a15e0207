"""What the tables of accuracy share: columns, notes, and a row that collects one part's numbers."""

from collections.abc import Iterator

import pandas as pd

from raymark.config.results import Evaluation
from raymark.core.seeds import generator
from raymark.datasets.available import NOT_PRESENT
from raymark.datasets.lookup import dataset_of
from raymark.evaluation.errors import MEAN_POSITION
from raymark.evaluation.results import Part, Results
from raymark.metrics.bootstrap import Clusters, clusters_of, interval
from raymark.metrics.ratio import Ratio
from raymark.tables.base import Column

GROUPS = ("dataset", "view_set", "evaluated_on")
WHAT = [
    Column("dataset_title", "Data set"),
    Column("view_set_title", "View set"),
    Column("evaluated_on", "Evaluated on"),
    Column("method_title", "Method"),
]
HOW_MANY = [
    Column("seeds_text", "Seeds"),
    Column("patients", "Patients", digits=0),
    Column("views", "Views", digits=0),
    Column("points", "Points", digits=0),
    Column("ci_over", "Interval over"),
]
BASELINE_NOTE = (
    "Mean position: every landmark at its mean place in the training images of that direction. It "
    "looks at no image; "
    "what is not clearly better has learnt nothing."
)
PX_NOTE = "px are the data set's own pixels; compare them only at an equal pixel pitch."
MM_NOTE = "mm at the detector: px times the pixel pitch, not corrected for magnification."


class Row:
    """Collects one part's numbers; every interval has a random generator of its own name.

    Of a part without data only the names are known; what says how many says so instead.
    """

    def __init__(self, results: Results, part: Part):
        self.results, self.part = results, part
        rows = part.errors
        self.values = {
            "dataset": part.dataset,
            "dataset_title": results.project.title_of(part.dataset),
            "view_set": part.view_set,
            "view_set_title": results.project.view_set_title(part.dataset, part.view_set),
            "evaluated_on": part.evaluated_on,
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
            "patients": rows["patient"].nunique(),
            "subjects": rows["subject"].nunique(),
            "views": rows["view"].nunique(),
        }

    def add(self, name: str, metric: Ratio, clusters: Clusters) -> None:
        """Add a metric with its confidence interval."""
        evaluation, part = self.results.project.config.evaluation, self.part
        rng = generator(
            "bootstrap", part.dataset, part.view_set, part.evaluated_on, part.method, name
        )
        low, high = interval(
            metric,
            clusters,
            resamplings=evaluation.bootstrap,
            confidence=evaluation.confidence,
            rng=rng,
        )
        self.values |= {name: metric.value, f"{name}_low": low, f"{name}_high": high}


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


def standing_notes(
    results: Results, lines: list[Part], baseline: str = BASELINE_NOTE
) -> Iterator[str]:
    """Explain intervals and the mean position where a row has them."""
    if not all(part.missing for part in lines):
        yield interval_note(results.project.config.evaluation)
    if any(part.method == MEAN_POSITION for part in lines):
        yield baseline


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


def missing_notes(results: Results, lines: list[Part]) -> list[str]:
    """Say for every row without numbers what is missing and what to do, each once."""
    project = results.project
    notes = [
        f"{NOT_PRESENT.capitalize()}: {project.title_of(part.dataset)}, "
        f"{project.view_set_title(part.dataset, part.view_set)}: {part.missing}."
        for part in lines
        if part.missing
    ]
    return list(dict.fromkeys(notes))


def _seeds_text(part: Part) -> str:
    if not part.diverged_seeds or part.diverged:
        return str(part.seeds)
    return f"{part.seeds} ({part.diverged_seeds} DIV)"


def papers_with(results: Results, key: str) -> set[str]:
    """Name the papers that publish a metric."""
    return {n for n, p in results.papers.items() if any(key in row.values for row in p.rows)}


def notes_of(results: Results, papers: set[str]) -> list[str]:
    return [note for name in sorted(papers) for note in results.papers[name].notes]


def _is_scenario(results: Results, part: Part) -> bool:
    """Tell whether the images depart from the standard, of which papers speak."""
    dataset = results.project.datasets.get(part.dataset)
    return bool(dataset and dataset.view_sets[part.view_set].scenario())


def published(results: Results, part: Part, papers: set[str], keys: list[str]) -> dict:
    """Return the published values beside a part, as columns published_<key> and source."""
    nothing = {f"published_{key}": float("nan") for key in keys}
    nothing |= {"published_diverged": False, "source": ""}
    experiment = results.experiment(part, papers)
    if experiment is None or _is_scenario(results, part):
        return nothing
    paper = results.papers[experiment.paper]
    row = paper.row(part.method, part.evaluated_on, part.dataset)
    if row is None:
        return nothing
    values = {f"published_{key}": row.values.get(key, float("nan")) for key in keys}
    return values | {"published_diverged": row.diverged, "source": paper.cited(row)}


def papers_of(results: Results, table: str) -> set[str]:
    """Name the papers with rows of their own in a table."""
    return {n for n, p in results.papers.items() if any(row.table == table for row in p.rows)}


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
        for _, paper in sorted(results.papers.items())
        for row in paper.rows
        if row.table == table
    ]
