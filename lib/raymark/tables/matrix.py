"""The matrix of methods and data sets, and the tests behind it.

Every method is compared with its data set's baseline on the same landmarks of the same views: those
that are visible and for which both give a point. As in the table of all methods the error of a point
counts whether it was detected or not: of a method that gives a point for every landmark nothing hard is
left out. One that finds instances of a landmark type gives none for what it misses, which is left out
of both sides; the number of points says how many are left. Errors of several seeds are averaged before
they are paired.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from raymark.config.results import Matrix
from raymark.core.seeds import generator
from raymark.evaluation.errors import MEAN_POSITION
from raymark.evaluation.results import UNSEEN, Part, Results
from raymark.metrics.errors import mean_radial_error
from raymark.metrics.permutation import holm, paired_test
from raymark.metrics.ratio import Ratio
from raymark.tables.base import DIVERGED, NOTHING, Column, Table
from raymark.tables.matrix_notes import (
    BETTER,
    MM_NOTE,
    OWN_EXPERIMENTS_NOTE,
    SAME_NOTE,
    WORSE,
    exclusions,
    place_note,
    tests_notes,
)
from raymark.tables.rows import (
    GROUPS,
    HOW_MANY,
    WHAT,
    Row,
    clusters,
    missing_notes,
    pointless_notes,
    standing_notes,
)

BASELINE = "baseline"
_POINT = ["view", "patient", "subject", "landmark"]


@dataclass(frozen=True)
class Place:
    """One column of the matrix: the parts (of all methods) that answer the same question."""

    dataset: str
    view_set: str
    evaluated_on: str
    parts: tuple[Part, ...]

    def baseline(self, wanted: str | None) -> Part:
        """Return the method `wanted` where it was trained here, else the mean position."""
        parts = {part.method: part for part in self.parts}
        if wanted in parts and not parts[wanted].diverged:
            return parts[wanted]
        return parts[MEAN_POSITION]


def places(results: Results) -> list[Place]:
    """List the columns of the matrix in the configuration's order."""
    found: dict[tuple[str, str, str], list[Part]] = {}
    for part in results.parts:
        key = part.dataset, part.view_set, part.evaluated_on
        found.setdefault(key, []).append(part)
    return [Place(*key, tuple(parts)) for key, parts in found.items()]


def pairs(part: Part, baseline: Part) -> pd.DataFrame:
    """Put errors in mm of a method and a baseline side by side, one row per landmark of a view.

    Columns view, patient, subject, landmark, error_mm, baseline_mm, detected (of the method, over its seeds).
    """
    of_method = _by_point(part)
    of_baseline = _by_point(baseline)["error_mm"].rename("baseline_mm")
    return of_method.join(of_baseline, how="inner").reset_index()


def _by_point(part: Part) -> pd.DataFrame:
    rows = part.errors[part.errors["visible"]].rename(columns={"error_isocentre_mm": "error_mm"})
    rows = rows[np.isfinite(rows["error_mm"])].astype({"detected": float})
    return rows.groupby(_POINT)[["error_mm", "detected"]].mean()


def comparison_rows(results: Results) -> pd.DataFrame:
    """Measure and test every method on every data set; p-values corrected over all of them."""
    wanted = results.project.config.matrix.baseline
    rows = []
    for place in places(results):
        baseline = place.baseline(wanted)
        rows += [_compared(results, part, baseline) for part in place.parts]
    frame = pd.DataFrame(rows)
    frame["p_holm"] = holm(frame["p"])
    significant = frame["p_holm"] <= 1 - results.project.config.evaluation.confidence
    sign = np.where(frame["difference_mm"] < 0, BETTER, WORSE)
    frame["change"] = np.where(frame["method"] == frame["baseline"], BASELINE, "")
    frame.loc[significant, "change"] = sign[significant]
    return frame


def _compared(results: Results, part: Part, baseline: Part) -> dict:
    row, paired = Row(results, part), pairs(part, baseline)
    groups = clusters(paired)
    error_mm, detected = paired["error_mm"].to_numpy(), paired["detected"].to_numpy()
    difference_mm = error_mm - paired["baseline_mm"].to_numpy()
    every = np.ones(len(paired))
    row.add("mre_isocentre_mm", mean_radial_error(error_mm), groups)
    row.add("detection_rate", Ratio(detected, every), groups)
    row.values |= {
        "baseline": baseline.method,
        "baseline_title": results.method_title(baseline.method),
        "difference_mm": np.nan,
        "difference_mm_low": np.nan,
        "difference_mm_high": np.nan,
        "p": np.nan,
        "views": paired["view"].nunique(),
        "points": len(paired),
        "landmarks": paired["landmark"].nunique(),
        "views_seen": results.views_seen.get((part.dataset, part.method), np.nan),
        "ci_over": groups.kind,
        "clusters": groups.count,
    }
    if part.method != baseline.method and len(paired) and not part.diverged:
        row.add("difference_mm", Ratio(difference_mm, every), groups)
        row.values["p"] = paired_test(
            difference_mm,
            groups,
            permutations=results.project.config.evaluation.permutations,
            rng=generator(
                "permutation", part.dataset, part.view_set, part.evaluated_on, part.method
            ),
        ).p
    return row.values


def comparisons(results: Results) -> Table:
    """The long form: one row for each method on each data set, with its test."""
    lines = results.lines()
    absent = pd.DataFrame([Row(results, part).values for part in lines if part.missing])
    frame = pd.concat([comparison_rows(results), absent], ignore_index=True)
    columns = [
        *WHAT,
        Column("mre_isocentre_mm", "MRE", "mm", 2, interval=True, best="min", diverged="diverged"),
        Column("difference_mm", "Minus baseline", "mm", 2, interval=True, diverged="diverged"),
        Column("p", "p", digits=4),
        Column("p_holm", "p, Holm", digits=4),
        Column("change", "Outcome"),
        Column("detection_rate", "Detected", "%", 1, 100, diverged="diverged"),
        Column("baseline_title", "Baseline"),
        Column("views_seen", "Views seen", digits=0),
        *HOW_MANY,
    ]
    notes = [
        *tests_notes(results, frame),
        SAME_NOTE,
        *pointless_notes(results, lines),
        "Views seen: in one training, counted as often as shown; with a first model, its own too.",
        MM_NOTE,
        *standing_notes(results, lines),
        *missing_notes(results, lines),
    ]
    return Table(
        "Every method against its data set's baseline", frame, columns, results.label, notes, GROUPS
    )


def matrix(results: Results) -> Table:
    """The wide form: one row for each method, one column for each data set."""
    rows = comparison_rows(results)
    methods = [*results.project.methods, MEAN_POSITION]
    methods = [name for name in methods if (rows["method"] == name).any()]
    frame = pd.DataFrame({"method": methods})
    frame["method_title"] = [results.method_title(name) for name in methods]
    columns, notes = [Column("method_title", "Method")], []
    for (dataset, view_set, evaluated_on), part in rows.groupby(list(GROUPS), sort=False):
        key = "__".join([dataset, view_set, "unseen" if evaluated_on == UNSEEN else "seen"])
        cells = part.set_index("method").reindex(methods)
        for end in ("", "_low", "_high"):
            frame[f"{key}{end}"] = cells[f"mre_isocentre_mm{end}"].to_numpy()
        frame[f"{key}_p_holm"] = cells["p_holm"].to_numpy()
        frame[f"{key}_sign"] = cells["change"].replace(BASELINE, "").fillna("").to_numpy()
        frame[f"{key}_diverged"] = (cells["diverged"] == True).to_numpy()  # noqa: E712 (NaN: no run)
        title = place_title(results, dataset, view_set, evaluated_on)
        columns.append(
            Column(key, title, "mm", 2, interval=True, mark=f"{key}_sign", best="min",
                   diverged=f"{key}_diverged")
        )  # fmt: skip
        notes.append(place_note(title, part))
    if not results.project.config.matrix.datasets:
        notes.insert(0, OWN_EXPERIMENTS_NOTE)
    notes += [
        "Mean radial error. " + tests_notes(results, rows)[0],
        *tests_notes(results, rows)[1:],
        SAME_NOTE,
        f"{DIVERGED}: the training diverged. {NOTHING}: not run.",
        *(f"{NOTHING} {text}." for text in exclusions(results)),
        MM_NOTE,
        *standing_notes(results, results.lines()),
        *missing_notes(results, results.lines()),
    ]
    return Table(_title(results.project.config.matrix), frame, columns, results.label, notes)


def _title(settings: Matrix) -> str:
    title = (
        "Every method on every data set"
        if settings.datasets
        else "Methods and data sets of this run"
    )
    return f"{title}, one budget" if settings.views_seen else title


def place_title(results: Results, dataset: str, view_set: str, evaluated_on: str) -> str:
    title = (
        f"{results.project.title_of(dataset)}: {results.project.view_set_title(dataset, view_set)}"
    )
    return f"{title}, {evaluated_on}" if evaluated_on == UNSEEN else title
