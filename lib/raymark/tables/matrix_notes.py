"""What must be said about the matrix: what its columns stand on, its tests, what is left out."""

from collections.abc import Iterator

import pandas as pd

from raymark.config.matrix import reason_against
from raymark.evaluation.results import Results
from raymark.metrics.permutation import EXACT_CLUSTERS

BETTER, WORSE = "↓", "↑"
MM_NOTE = (
    "mm in the plane of the isocentre: px times the pixel pitch, over the view's magnification; of "
    "imported images in each image's own mm."
)
OWN_EXPERIMENTS_NOTE = (
    "Each data set has the methods of its own experiments, each with its own number of training "
    "views. config/matrix.yaml trains every method on every data set with one budget."
)
SAME_NOTE = (
    "Errors are of visible landmarks, detected or not, for which both the method and the baseline "
    "give a point; several seeds are averaged. A method that finds instances of a landmark type has "
    "no point for a landmark that it misses, and the others are paired with the truth as fits best: "
    "its error is of fewer points where their number stands beside it, which is to its advantage."
)


def place_note(title: str, part: pd.DataFrame) -> str:
    """Say what one column of the matrix stands on; `part` has its rows of the long form."""
    baseline = part[part["method"] == part["baseline"]].iloc[0]
    seen = sorted(int(n) for n in part["views_seen"].dropna().unique())
    budget = " to ".join(f"{n:,}" for n in dict.fromkeys([*seen[:1], *seen[-1:]]))
    clusters = int(baseline["clusters"])
    return (
        f"{title}: {baseline['evaluated_on']}, {patients_of(baseline)}, {baseline['views']} views, "
        f"{baseline['landmarks']} landmarks, {baseline['points']:,} points{_with_fewer(part)}; "
        f"baseline: {baseline['baseline_title']}; interval and test over {baseline['ci_over']}"
        + (f", so that p ≥ {2 / 2**clusters:.2g}" if clusters <= EXACT_CLUSTERS else "")
        + (f"; views seen in training: {budget}." if seen else ".")
    )


def patients_of(row: pd.Series) -> str:
    """Say how many patients a row stands on, of one also how many subjects."""
    if row["patients"] > 1:
        return f"{row['patients']} patients"
    return f"1 patient ({row['subjects']} subjects)" if row["subjects"] > 1 else "1 patient"


def _with_fewer(part: pd.DataFrame) -> str:
    """Name the methods whose errors are of fewer points than the baseline's own."""
    fewer = part[(part["points"] < part["points"].max()) & ~part["diverged"].astype(bool)]
    told = [f"{row['method_title']} {row['points']:,}" for _, row in fewer.iterrows()]
    return f" ({', '.join(told)})" if told else ""


def exclusions(results: Results) -> Iterator[str]:
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


def tests_notes(results: Results, frame: pd.DataFrame) -> list[str]:
    """Explain the arrows and p-values of the long form `frame`."""
    evaluation, tests = results.project.config.evaluation, int(frame["p"].notna().sum())
    alpha = 1 - evaluation.confidence
    return [
        f"{BETTER}: error below the baseline's, {WORSE}: above it, at p ≤ {alpha:g} after Holm's "
        f"correction for all {tests} comparisons of this table.",
        "p: two-sided paired permutation test of the mean difference, the differences of one patient "
        "(with one patient: of one subject, or else of one view) changing sign together; exact "
        f"for up to {EXACT_CLUSTERS} of them, else {evaluation.permutations:,} drawn ways. Over subjects "
        "or views of one patient it says nothing about other patients, nor about other trainings.",
    ]
