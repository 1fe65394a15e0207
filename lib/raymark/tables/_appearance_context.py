"""What the tables of the appearance-context paper share: its spines, and its cephalograms."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import groupby

import pandas as pd

from raymark.evaluation.results import Part, Results
from raymark.metrics.cephalometry import LANDMARKS
from raymark.tables._rows import Row, published_rows, rows_of, table_of
from raymark.tables.base import Column, Table

OTHER_IMAGES = "Rendered spines are other images: their figures are no comparison."
OF_PAPER = (
    "57 X-rays of the public AP spine data, chosen by the paper's authors, with 281 to train on"
)
TOGETHER = " + "  # between the names of the test sets that a row pools
GROUPS = ("view_set",)  # the challenge's test sets are the same images for everybody


def _shows_cephalograms(results: Results, part: Part) -> bool:
    return set(LANDMARKS) <= set(results.landmarks[part.dataset])


def spines(results: Results) -> list[Part]:
    """List our rows of the tables about spines: cephalograms have tables of their own."""
    return [part for part in results.lines() if not _shows_cephalograms(results, part)]


def table_of_cephalograms(
    name: str,
    title: str,
    results: Results,
    columns: list[Column],
    counts: tuple[str, ...],
    measure: Callable[[Row], None],
    notes: list[str],
) -> Table:
    """Put published rows below ours, test set by test set, the two together first as in Table I."""
    lines = [part for part in results.lines() if _shows_cephalograms(results, part)]
    ours = rows_of(results, [*_pooled(lines), *lines], measure)
    frame = pd.DataFrame([*ours, *published_rows(results, name)])
    apart = ~frame["view_set"].str.contains(TOGETHER, regex=False)
    frame = frame.assign(apart=apart).sort_values(["apart", "view_set"], kind="stable")
    frame = frame.drop(columns="apart").reset_index(drop=True)
    return table_of(results, lines, title, columns, frame, notes, counts=counts, groups=GROUPS)


def _pooled(lines: list[Part]) -> Iterator[Part]:
    """Yield the test sets of a method and data set together, where there are several."""

    def of(part: Part) -> tuple[str, str, str]:
        return part.dataset, part.method, part.evaluated_on

    for _, alike in groupby(sorted(lines, key=of), key=of):
        sets = list(alike)
        if len(sets) > 1:
            name = TOGETHER.join(part.view_set for part in sets)
            errors = pd.concat([part.errors for part in sets], ignore_index=True)
            lacking = next((part.missing for part in sets if part.missing), "")
            yield replace(sets[0], view_set=name, errors=errors, missing=lacking)
