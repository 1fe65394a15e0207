"""The appearance-context paper's Table I: radial errors and successful detection on cephalograms."""

from raymark.evaluation.results import Results
from raymark.metrics import errors
from raymark.metrics.cephalometry import LANDMARKS
from raymark.tables._appearance_context import table_of_cephalograms
from raymark.tables._columns import column
from raymark.tables._rows import Row, clusters, of_results
from raymark.tables.base import Column, Table

SDR_MM = (2, 2.5, 3, 4)  # of the ISBI 2015 challenge


def table(results: Results) -> Table:
    """For each test set and for both together."""
    columns = [
        column("mre_isocentre_mm", digits=2, spread="sd_isocentre_mm", interval=True),
        *(column("sdr_{t}_isocentre_mm", t, interval=True) for t in SDR_MM),
        Column("outside", "Cut off", digits=0),
        column("source"),
    ]
    notes = [
        "MRE ± population sd, and SDR (≤), of all 19 landmarks of every image, detected or not, in mm "
        "of the X-ray as it was taken: predictions are taken back through its registration. Cut off: "
        "landmarks that the registered image does not show; they count all the same.",
    ]
    name, title, counts = "cephalometry", "Cephalometric landmarks", ("views", "all_landmarks")
    return table_of_cephalograms(name, title, results, columns, counts, _measure, notes)


def _measure(row: Row) -> None:
    rows = row.errors[row.errors["landmark"].isin(LANDMARKS)]
    groups, mm = clusters(rows), rows["error_isocentre_mm"].to_numpy()
    row.add("mre_isocentre_mm", errors.mean_radial_error(mm), groups, drawn_as="mre_mm")
    for t in SDR_MM:
        within = errors.success_rate(mm, t)
        row.add(f"sdr_{t:g}_isocentre_mm", within, groups, drawn_as=f"sdr_{t:g}_mm")
    row.values |= {
        "sd_isocentre_mm": errors.standard_deviation(mm),
        "outside": int((~rows["visible"]).sum()),
        "all_landmarks": len(rows),
        "ci_over": groups.kind,
    }


TABLE = of_results(
    table,
    about="errors and SDR on cephalograms, each test set and both (appearance-context paper, Table I)",
    caption="Errors and successful detection on lateral cephalograms, each test set and both together, "
    "with every published row (Table I of the appearance-context paper).",
    publishes="sdr_2.5_isocentre_mm",
)
