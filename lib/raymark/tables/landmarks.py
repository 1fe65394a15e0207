"""Each landmark's mean error and how often it is detected: a row for every method."""

from typing import Any

import pandas as pd

from raymark.core.names import readable
from raymark.datasets.available import NOT_PRESENT
from raymark.evaluation.errors import MEAN_POSITION
from raymark.evaluation.results import Part, Results
from raymark.metrics import errors
from raymark.tables._columns import column
from raymark.tables._landmarks import WHICH, described, in_order
from raymark.tables._rows import GROUPS, Row, clusters, of_results, pointless_notes, table_of
from raymark.tables.base import Table


def table(results: Results) -> Table:
    """The rows of all methods, landmark by landmark, the mean position's error beside them."""
    lines = results.lines()
    baseline = {_place(p): p for p in lines if p.method == MEAN_POSITION}
    methods = [part for part in lines if part.method != MEAN_POSITION]
    tables = [_rows(results, part, baseline.get(_place(part))) for part in methods]
    frame = in_order(results, pd.concat(tables, ignore_index=True))
    frame = frame.assign(landmark_title=frame["landmark"].map(readable))
    mre = column("mre_detector_mm", spread="sd_detector_mm", interval=True)
    columns = [
        column("views_showing"),
        column("method_title"),
        mre,
        column("detection_rate", digits=0),
        column(
            mre.key,
            key="mean_position_mre_detector_mm",
            title="Mean position's MRE at detector",
            best=None,
            diverged=None,
        ),
        column("ci_over"),
    ]
    notes = [
        "Mean ± population sd of the error over all views that show the landmark, detected or not.",
        "Views showing it: on how many images the landmark lies.",
        *pointless_notes(results, lines),
    ]
    groups = (*GROUPS, "landmark")
    title = "Error of each landmark"
    return table_of(results, lines, title, columns, frame, notes, what=WHICH, groups=groups)


def _place(part: Part) -> tuple[str, str, str]:
    return part.dataset, part.view_set, part.evaluated_on


def _rows(results: Results, part: Part, baseline: Part | None) -> pd.DataFrame:
    """Return one method's rows; what has no data has one row that says so."""
    seen, row = part.errors[part.errors["visible"]], Row(results, part)
    means = {}
    if baseline:
        shown = baseline.errors[baseline.errors["visible"]]
        means = shown.groupby("landmark")["error_detector_mm"].mean()
    rows: list[dict[str, Any]] = [{"landmark": NOT_PRESENT}] if part.missing else []
    for landmark, found in seen.groupby("landmark"):
        mm, groups = found["error_detector_mm"].to_numpy(), clusters(found)
        mre = errors.mean_radial_error(mm)
        rows.append(
            {
                "landmark": landmark,
                "views_showing": found["view"].nunique(),
                **row.interval("mre_detector_mm", mre, groups, drawn_as=landmark),
                "sd_detector_mm": errors.standard_deviation(mm),
                "mre_px": found["error_px"].mean(),
                "detection_rate": found["detected"].mean(),
                "mean_position_mre_detector_mm": means.get(landmark),
                "ci_over": groups.kind,
            }
        )
    method = {"method": part.method, "method_title": results.method_title(part.method)}
    frame = described(results, part, pd.DataFrame(rows))
    return frame.assign(**method, diverged=part.diverged)


TABLE = of_results(
    table,
    about="error and detection of each landmark, a row per method, the mean position beside it",
    caption="The error of each landmark in mm at the detector, and how often it was detected.",
)
