"""Every method on every data set against its baseline: the rows behind the matrix, and its notes.

Every method is compared with its data set's baseline on the same landmarks of the same views: those
that are visible and for which both give a point. As in the table of all methods the error of a point
counts whether it was detected or not: of a method that gives a point for every landmark nothing hard is
left out. One that finds instances of a landmark type gives none for what it misses, which is left out
of both sides; the number of points says how many are left. Errors of several seeds are averaged before
they are paired.
"""

from collections.abc import Iterator
from itertools import groupby

import numpy as np
import pandas as pd

from raymark.core.seeds import generator
from raymark.evaluation.errors import MEAN_POSITION
from raymark.evaluation.results import UNSEEN, Part, Results
from raymark.metrics.errors import mean_radial_error
from raymark.metrics.permutation import EXACT_CLUSTERS, holm, paired_test
from raymark.metrics.ratio import Ratio
from raymark.tables._rows import Row, clusters

BASELINE = "baseline"
BETTER, WORSE = "↓", "↑"
SAME_NOTE = (
    "Errors are of visible landmarks, detected or not, for which both the method and the baseline "
    "give a point; several seeds are averaged. A method that finds instances of a landmark type has "
    "no point for a landmark that it misses, and the others are paired with the truth as fits best: "
    "its error is of fewer points where their number stands beside it, which is to its advantage."
)
_POINT = ["view", "patient", "subject", "landmark"]


def comparison_rows(results: Results) -> pd.DataFrame:
    """Measure and test every method on every data set; p-values corrected over all of them."""

    def place(part: Part) -> tuple[str, str, str]:
        return part.dataset, part.view_set, part.evaluated_on

    rows = []
    for _, group in groupby(results.parts, key=place):  # in the configuration's order
        parts = list(group)
        baseline = _baseline(parts, results.project.config.matrix.baseline)
        rows += [_compared(results, part, baseline) for part in parts]
    frame = pd.DataFrame(rows)
    frame["p_holm"] = holm(frame["p"])
    significant = frame["p_holm"] <= 1 - results.project.config.evaluation.confidence
    sign = np.where(frame["difference_isocentre_mm"] < 0, BETTER, WORSE)
    frame["change"] = np.where(frame["method"] == frame["baseline"], BASELINE, "")
    frame.loc[significant, "change"] = sign[significant]
    return frame


def _baseline(parts: list[Part], wanted: str | None) -> Part:
    """Return the method `wanted` where it was trained and did not diverge, else the mean position."""
    by_method = {part.method: part for part in parts}
    if wanted in by_method and not by_method[wanted].diverged:
        return by_method[wanted]
    return by_method[MEAN_POSITION]


def _compared(results: Results, part: Part, baseline: Part) -> dict:
    row, paired = Row(results, part), pairs(part, baseline)
    groups = clusters(paired)
    error_mm, detected = paired["error_mm"].to_numpy(), paired["detected"].to_numpy()
    difference_mm = error_mm - paired["baseline_mm"].to_numpy()
    every = np.ones(len(paired))
    row.add("mre_isocentre_mm", mean_radial_error(error_mm), groups)
    row.add("paired_detection_rate", Ratio(detected, every), groups, drawn_as="detection_rate")
    difference = "difference_isocentre_mm"
    row.values |= {
        "baseline": baseline.method,
        "baseline_title": results.method_title(baseline.method),
        **dict.fromkeys([difference, f"{difference}_low", f"{difference}_high", "p"], np.nan),
        "views": paired["view"].nunique(),
        "paired_landmarks": len(paired),
        "landmarks": paired["landmark"].nunique(),
        "views_seen": results.views_seen.get((part.dataset, part.method), np.nan),
        "ci_over": groups.kind,
        "clusters": groups.count,
    }
    if part.method != baseline.method and len(paired) and not part.diverged:
        names = part.dataset, part.view_set, part.evaluated_on, part.method
        row.add(difference, Ratio(difference_mm, every), groups, drawn_as="difference_mm")
        row.values["p"] = paired_test(
            difference_mm,
            groups,
            permutations=results.project.config.evaluation.permutations,
            rng=generator("permutation", *names),
        ).p
    return row.values


def pairs(part: Part, baseline: Part) -> pd.DataFrame:
    """Put errors in mm of a method and a baseline side by side, one row per landmark of a view.

    Columns view, patient, subject, landmark, error_mm and baseline_mm (at the isocentre), detected (of
    the method, over its seeds).
    """
    of_method = _by_point(part)
    of_baseline = _by_point(baseline)["error_mm"].rename("baseline_mm")
    return of_method.join(of_baseline, how="inner").reset_index()


def _by_point(part: Part) -> pd.DataFrame:
    rows = part.errors[part.errors["visible"]].rename(columns={"error_isocentre_mm": "error_mm"})
    rows = rows[np.isfinite(rows["error_mm"])].astype({"detected": float})
    return rows.groupby(_POINT)[["error_mm", "detected"]].mean()


def place_title(results: Results, dataset: str, view_set: str, evaluated_on: str) -> str:
    project = results.project
    title = f"{project.title_of(dataset)}: {project.view_set_title(dataset, view_set)}"
    return f"{title}, {evaluated_on}" if evaluated_on == UNSEEN else title


def patients_of(row: pd.Series) -> str:
    """Say how many patients a row stands on, of one also how many subjects."""
    if row["patients"] > 1:
        return f"{row['patients']} patients"
    return f"1 patient ({row['subjects']} subjects)" if row["subjects"] > 1 else "1 patient"


def tests_notes(results: Results, rows: pd.DataFrame) -> Iterator[str]:
    """Explain the arrows and p-values of `rows`, of all comparisons."""
    evaluation, tests = results.project.config.evaluation, int(rows["p"].notna().sum())
    alpha = 1 - evaluation.confidence
    yield (
        f"{BETTER}: error below the baseline's, {WORSE}: above it, at p ≤ {alpha:g} after Holm's "
        f"correction for all {tests} comparisons of this table."
    )
    yield (
        "p: two-sided paired permutation test of the mean difference, the differences of one patient "
        "(with one patient: of one subject, or else of one view) changing sign together; exact "
        f"for up to {EXACT_CLUSTERS} of them, else {evaluation.permutations:,} drawn ways. Over subjects "
        "or views of one patient it says nothing about other patients, nor about other trainings."
    )
