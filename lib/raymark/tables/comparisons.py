"""The long form of the matrix: one row for each method on each data set, with its test."""

import pandas as pd

from raymark.evaluation.results import Results
from raymark.tables._columns import column
from raymark.tables._matrix import SAME_NOTE, comparison_rows, tests_notes
from raymark.tables._rows import Row, of_results, pointless_notes, table_of
from raymark.tables.base import Column, Table


def table(results: Results) -> Table:
    """Every method's difference from its data set's baseline."""
    lines = results.lines()
    absent = pd.DataFrame([Row(results, part).values for part in lines if part.missing])
    frame = pd.concat([comparison_rows(results), absent], ignore_index=True)
    columns = [
        column("mre_isocentre_mm", digits=2, interval=True),
        column("difference_isocentre_mm", interval=True),
        column("p"),
        column("p_holm"),
        Column("change", "Outcome"),
        column("paired_detection_rate"),
        Column("baseline_title", "Baseline"),
        Column("views_seen", "Views seen", digits=0),
    ]
    notes = [
        *tests_notes(results, frame),
        SAME_NOTE,
        *pointless_notes(results, lines),
        "Views seen: in one training, counted as often as shown; with a first model, its own too.",
    ]
    title = "Every method against its data set's baseline"
    counts = ("views", "paired_landmarks")
    return table_of(results, lines, title, columns, frame, notes, counts=counts)


TABLE = of_results(
    table,
    about="the matrix in long form: difference from the baseline, p-values, views seen",
    caption="Each method's difference from its data set's baseline on the same landmarks of the same "
    "views, with interval, permutation test and correction for the number of comparisons.",
)
