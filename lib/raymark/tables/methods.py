"""Every experiment in one table: how well each method finds landmarks."""

import pandas as pd

from raymark.evaluation.results import Part, Results
from raymark.metrics import detection, errors
from raymark.tables._columns import column
from raymark.tables._rows import (
    GROUPS,
    WHAT,
    Row,
    closing_notes,
    clusters,
    how_many,
    of_results,
    pointless_notes,
)
from raymark.tables.base import Column, Table


def table(results: Results) -> Table:
    """Errors over all visible landmarks, shares within thresholds, detection."""
    evaluation, lines = results.project.config.evaluation, results.lines()
    columns = [
        *WHAT,
        column("mre_px", interval=True),
        column("sd_px"),
        column("median_px"),
        column("mre_detector_mm", interval=True),
        column("sd_detector_mm"),
        column("mre_isocentre_mm"),
        *(column("sdr_{t}_detector_mm", t, interval=True) for t in evaluation.sdr_mm),
        *(column("pck_{t}_px", t, interval=True) for t in evaluation.pck_px),
        column("detection_rate"),
        Column("false_detections", "False detections", digits=0, diverged="diverged"),
        *how_many("views", "visible_landmarks"),
    ]
    notes = [
        "MRE, sd (population), median and SDR: all visible landmarks, detected or not.",
        "SDR: error of at most the threshold. PCK: detected and within the "
        "threshold; an undetected landmark is a miss.",
        "Detected: share of visible landmarks above the method's threshold. False detections: "
        "landmarks outside the image that were detected all the same.",
        *pointless_notes(results, lines),
        *closing_notes(results, lines, columns),
    ]
    frame = pd.DataFrame([_row(results, part) for part in lines])
    return Table("Accuracy of all methods", frame, columns, results.label, notes, GROUPS)


def _row(results: Results, part: Part) -> dict:
    row, rows = Row(results, part), part.errors
    if part.missing:
        return row.values
    seen = rows[rows["visible"]]
    groups, all_groups = clusters(seen), clusters(rows)
    evaluation = results.project.config.evaluation
    px, mm, isocentre_mm = (
        seen[f"error_{unit}"].to_numpy() for unit in ("px", "detector_mm", "isocentre_mm")
    )
    row.add("mre_px", errors.mean_radial_error(px), groups)
    row.add("mre_detector_mm", errors.mean_radial_error(mm), groups, drawn_as="mre_mm")
    row.add("mre_isocentre_mm", errors.mean_radial_error(isocentre_mm), groups)
    row.values |= {
        "sd_px": errors.standard_deviation(px),
        "sd_detector_mm": errors.standard_deviation(mm),
        "median_px": errors.median(px),
        "visible_landmarks": len(seen),
        "ci_over": groups.kind,
    }
    for t in evaluation.sdr_mm:
        within = errors.success_rate(mm, t)
        row.add(f"sdr_{t:g}_detector_mm", within, groups, drawn_as=f"sdr_{t:g}_mm")
    visible, detected = rows["visible"].to_numpy(), rows["detected"].to_numpy()
    for t in evaluation.pck_px:
        found = detection.correct_keypoints(rows["error_px"].to_numpy(), visible, detected, t)
        row.add(f"pck_{t:g}_px", found, all_groups)
    row.add("detection_rate", detection.detection_rate(visible, detected), all_groups)
    row.values["false_detections"] = int((detected & ~visible).sum())
    return row.values


TABLE = of_results(
    table,
    about="every experiment: errors, shares within thresholds, detection",
    caption="Every experiment over all visible landmarks: errors in px and mm, shares within "
    "thresholds, detection rate; intervals over patients, or over subjects or views of the only one.",
)
