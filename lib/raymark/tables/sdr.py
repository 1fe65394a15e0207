"""The appearance-context paper's Table III: landmarks within a distance in mm of the patient."""

from raymark.evaluation.results import Results
from raymark.metrics import errors
from raymark.tables._appearance_context import OF_PAPER, OTHER_IMAGES, spines
from raymark.tables._columns import column
from raymark.tables._rows import (
    Row,
    clusters,
    of_results,
    pointless_notes,
    published_rows,
    rows_of,
    table_of,
)
from raymark.tables.base import Table

SDR_MM = (2, 3, 4, 6)


def table(results: Results) -> Table:
    """Ours above the published rows."""
    lines = spines(results)
    columns = [
        *(column("sdr_{t}_isocentre_mm", t, interval=True) for t in SDR_MM),
        column("source"),
    ]
    notes = [
        "SDR: share of visible landmarks, detected or not, within the distance; mm of the patient; "
        "of imported X-rays by 35 mm between L4 and L5, as in the paper.",
        f"Published figures are of {OF_PAPER}. {OTHER_IMAGES}",
        *pointless_notes(results, lines),
    ]
    rows = [*rows_of(results, lines, _measure), *published_rows(results, "sdr")]
    title, counts = "Successful detection", ("views", "visible_landmarks")
    return table_of(results, lines, title, columns, rows, notes, counts=counts)


def _measure(row: Row) -> None:
    seen = row.errors[row.errors["visible"]]
    groups, mm = clusters(seen), seen["error_isocentre_mm"].to_numpy()
    for t in SDR_MM:
        within = errors.success_rate(mm, t)
        row.add(f"sdr_{t}_isocentre_mm", within, groups, drawn_as=f"sdr_{t}_mm")
    row.values |= {"visible_landmarks": len(seen), "ci_over": groups.kind}


TABLE = of_results(
    table,
    about="landmarks of spines within a distance in mm (appearance-context paper, Table III)",
    caption="Landmarks of AP spines within 2, 3, 4 and 6 mm, above the published rows (Table III of "
    "the appearance-context paper).",
    publishes="sdr_6_isocentre_mm",
)
