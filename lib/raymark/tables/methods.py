"""Every experiment in one table: how well each method finds landmarks."""

from raymark.evaluation.results import Results
from raymark.metrics import detection, errors
from raymark.tables._columns import column
from raymark.tables._rows import Row, clusters, of_results, pointless_notes, rows_of, table_of
from raymark.tables.base import Column, Table


def table(results: Results) -> Table:
    """Errors over all visible landmarks, shares within thresholds, detection."""
    evaluation, lines = results.project.config.evaluation, results.lines()
    columns = [
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
    ]
    notes = [
        "MRE, sd (population), median and SDR: all visible landmarks, detected or not.",
        "SDR: error of at most the threshold. PCK: detected and within the "
        "threshold; an undetected landmark is a miss.",
        "Detected: share of visible landmarks above the method's threshold. False detections: "
        "landmarks outside the image that were detected all the same.",
        *pointless_notes(results, lines),
    ]
    rows, counts = rows_of(results, lines, _measure), ("views", "visible_landmarks")
    title = "Accuracy of all methods"
    return table_of(results, lines, title, columns, rows, notes, counts=counts)


def _measure(row: Row) -> None:
    rows, evaluation = row.errors, row.results.project.config.evaluation
    seen = rows[rows["visible"]]
    groups, all_groups = clusters(seen), clusters(rows)
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


TABLE = of_results(
    table,
    about="every experiment: errors, shares within thresholds, detection",
    caption="Every experiment over all visible landmarks: errors in px and mm, shares within "
    "thresholds, detection rate; intervals over patients, or over subjects or views of the only one.",
)
