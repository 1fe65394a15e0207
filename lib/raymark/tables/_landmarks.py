"""What the tables that tell landmarks apart share, however many landmarks there are."""

import pandas as pd

from raymark.datasets.available import NOT_PRESENT
from raymark.evaluation.results import Part, Results
from raymark.tables._columns import column
from raymark.tables._rows import PLACE, place_of

MEAN = "mean of landmarks"
WHICH = [*PLACE, column("landmark_title")]


def described(results: Results, part: Part, rows: pd.DataFrame) -> pd.DataFrame:
    """Say in every row what it is of."""
    place = place_of(results.project, part.dataset, part.view_set, part.evaluated_on)
    for number, (key, value) in enumerate(place.items()):
        rows.insert(number, key, value)
    return rows


def in_order(results: Results, rows: pd.DataFrame) -> pd.DataFrame:
    """Sort rows as data sets, view sets and landmarks are configured; the mean comes first, and what
    only a paper has, last."""
    order: dict[tuple[str, str, str, str], int] = {}
    published = [name for paper in results.papers.values() for name in paper.landmarks.values()]
    for part in results.lines():
        ours = results.landmarks.get(part.dataset, [])
        for name in [NOT_PRESENT, MEAN, *ours, *published]:
            order.setdefault((part.dataset, part.view_set, part.evaluated_on, name), len(order))
    keys = rows[["dataset", "view_set", "evaluated_on", "landmark"]].apply(tuple, axis=1)
    return rows.loc[keys.map(order).sort_values(kind="stable").index].reset_index(drop=True)
