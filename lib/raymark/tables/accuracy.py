"""Tables of how well methods find landmarks."""

import pandas as pd

from raymark.datasets.lookup import dataset_of
from raymark.evaluation.errors import MEAN_POSITION
from raymark.evaluation.results import Part, Results
from raymark.metrics import detection, errors
from raymark.metrics.bootstrap import Clusters
from raymark.metrics.ratio import Ratio
from raymark.tables.base import Column, Table
from raymark.tables.rows import (
    GROUPS,
    HOW_MANY,
    MM_NOTE,
    PX_NOTE,
    WHAT,
    Row,
    clusters,
    missing_notes,
    notes_of,
    papers_with,
    pointless_notes,
    published,
    standing_notes,
)


def methods(results: Results) -> Table:
    """Every experiment: errors over all visible landmarks, shares within thresholds, detection."""
    evaluation = results.project.config.evaluation
    lines = results.lines()
    rows = [_methods_row(results, part) for part in lines]
    shares = [
        *(
            Column(f"sdr_{t:g}_mm", f"SDR {t:g} mm", "%", 1, 100, interval=True, best="max",
                   diverged="diverged")
            for t in evaluation.sdr_mm
        ),
        *(
            Column(f"pck_{t:g}_px", f"PCK {t:g} px", "%", 1, 100, interval=True, best="max",
                   diverged="diverged")
            for t in evaluation.pck_px
        ),
    ]  # fmt: skip
    columns = [
        *WHAT,
        Column("mre_px", "MRE", "px", 1, interval=True, best="min", diverged="diverged"),
        Column("sd_px", "sd", "px", 1, diverged="diverged"),
        Column("median_px", "Median", "px", 1, best="min", diverged="diverged"),
        Column("mre_mm", "MRE", "mm", 1, interval=True, best="min", diverged="diverged"),
        Column("sd_mm", "sd", "mm", 1, diverged="diverged"),
        Column("mre_isocentre_mm", "MRE at isocentre", "mm", 1, best="min", diverged="diverged"),
        *shares,
        Column("detection_rate", "Detected", "%", 1, 100, diverged="diverged"),
        Column("false_detections", "False detections", digits=0, diverged="diverged"),
        *HOW_MANY,
    ]
    notes = [
        "MRE, sd (population), median and SDR: all visible landmarks, detected or not.",
        "SDR: error of at most the threshold, mm at the detector. PCK: detected and within the "
        "threshold; an undetected landmark is a miss.",
        "Detected: share of visible landmarks above the method's threshold. False detections: "
        "landmarks outside the image that were detected all the same.",
        *pointless_notes(results, lines),
        MM_NOTE,
        PX_NOTE,
        *standing_notes(results, lines),
        *missing_notes(results, lines),
    ]
    return Table(
        "Accuracy of all methods", pd.DataFrame(rows), columns, results.label, notes, GROUPS
    )


def _methods_row(results: Results, part: Part) -> dict:
    row, table = Row(results, part), part.errors
    if part.missing:
        return row.values
    seen = table[table["visible"]]
    groups, all_groups = clusters(seen), clusters(table)
    evaluation = results.project.config.evaluation
    px, mm = (seen[f"error_{unit}"].to_numpy() for unit in ("px", "detector_mm"))
    row.add("mre_px", errors.mean_radial_error(px), groups)
    row.add("mre_mm", errors.mean_radial_error(mm), groups)
    row.add(
        "mre_isocentre_mm",
        errors.mean_radial_error(seen["error_isocentre_mm"].to_numpy()),
        groups,
    )
    row.values |= {
        "sd_px": errors.standard_deviation(px),
        "sd_mm": errors.standard_deviation(mm),
        "median_px": errors.median(px),
        "points": len(seen),
        "ci_over": groups.kind,
    }
    for threshold in evaluation.sdr_mm:
        row.add(f"sdr_{threshold:g}_mm", errors.success_rate(mm, threshold), groups)
    visible, detected = table["visible"].to_numpy(), table["detected"].to_numpy()
    for threshold in evaluation.pck_px:
        found = detection.correct_keypoints(
            table["error_px"].to_numpy(), visible, detected, threshold
        )
        row.add(f"pck_{threshold:g}_px", found, all_groups)
    row.add("detection_rate", detection.detection_rate(visible, detected), all_groups)
    row.values["false_detections"] = int((detected & ~visible).sum())
    return row.values


def detected(results: Results) -> Table:
    """Paper 1's figures: errors of detected landmarks, detection rate, accuracy per view."""
    papers = papers_with(results, "mre_px")
    keys, lines = ["mre_px", "sd_px", "mre_mm", "sd_mm"], results.lines(papers)
    near = results.project.config.evaluation.accuracy_px
    pitches = [results.papers[name].pixel_mm for name in sorted(papers)]
    near_mm = next((near * pitch for pitch in pitches if pitch), None)
    rows = [
        _detected_row(results, part, near_mm) | published(results, part, papers, keys)
        for part in lines
    ]
    accuracies = {"accuracy": f"{near:g} px"}
    if near_mm:
        accuracies["accuracy_mm"] = f"{near_mm:.1f} mm"
    columns = [
        *WHAT,
        Column("mre_px", "Error", "px", 1, spread="sd_px", interval=True, best="min",
               diverged="diverged"),
        Column("published_mre_px", "Published", "px", 1, spread="published_sd_px"),
        Column("mre_mm", "Error", "mm", 1, spread="sd_mm", interval=True, best="min",
               diverged="diverged"),
        Column("published_mre_mm", "Published", "mm", 1, spread="published_sd_mm"),
        Column("pixel_mm", "Pixel", "mm", 3),
        Column("detection_rate", "Detected", "%", 1, 100, interval=True, diverged="diverged"),
        *(
            Column(key, f"Accuracy {said}", "%", 1, 100, interval=True, best="max",
                   diverged="diverged")
            for key, said in accuracies.items()
        ),
        Column("source", "Published in"),
        *HOW_MANY,
    ]  # fmt: skip
    thresholds = {m: results.project.methods[m].detection_threshold for m in _methods_of(rows)}
    notes = [
        "Error: mean ± population sd over visible landmarks that were detected, which is at "
        + ", ".join(
            f"a belief of at least {threshold:g} ({results.method_title(method)})"
            for method, threshold in thresholds.items()
        )
        + ".",
        "Detected: share of visible landmarks. A method that detects few is measured on its easy "
        "ones: read both columns together.",
        f"Accuracy: share of a view's detections with an error below {near:g} px (a landmark outside "
        "the image is a wrong detection), averaged over views. "
        + "; ".join(_in_mm(results, d, near) for d in _with_data(rows))
        + (f"; of the paper's detector, {near_mm:.1f} mm." if near_mm else "."),
        MM_NOTE,
        PX_NOTE,
        *standing_notes(results, lines),
        *notes_of(results, papers),
        *missing_notes(results, lines),
    ]
    return Table("Detected landmarks", pd.DataFrame(rows), columns, results.label, notes, GROUPS)


def _in_mm(results: Results, dataset: str, px: float) -> str:
    settings = dataset_of(results.project, dataset)
    return f"{px:g} px of {settings.title} are {px * settings.detector.pixel_mm:.1f} mm"


def _with_data(rows: list[dict]) -> list[str]:
    return list(dict.fromkeys(row["dataset"] for row in rows if not row["missing"]))


def _methods_of(rows: list[dict]) -> list[str]:
    return [m for m in dict.fromkeys(row["method"] for row in rows) if m != MEAN_POSITION]


def _detected_row(results: Results, part: Part, near_mm: float | None) -> dict:
    row, table = Row(results, part), part.errors
    if part.missing:
        return row.values
    found = table[table["visible"] & table["detected"]]
    groups, near = clusters(found), results.project.config.evaluation.accuracy_px
    for unit, column in (("px", "error_px"), ("mm", "error_detector_mm")):
        values = found[column].to_numpy()
        row.add(f"mre_{unit}", errors.mean_radial_error(values), groups)
        row.values[f"sd_{unit}"] = errors.standard_deviation(values)
    visible, detected = table["visible"].to_numpy(), table["detected"].to_numpy()
    row.add("detection_rate", detection.detection_rate(visible, detected), clusters(table))
    row.add("accuracy", *_accuracy_over_views(table, near, "error_px"))
    if near_mm:
        row.add("accuracy_mm", *_accuracy_over_views(table, near_mm, "error_detector_mm"))
    row.values |= {"points": len(found), "ci_over": groups.kind}
    return row.values


def _accuracy_over_views(table: pd.DataFrame, near: float, error: str) -> tuple[Ratio, Clusters]:
    """Return the mean of the views' accuracies; a view under two seeds is two, in one cluster."""
    views = []
    for _, rows in table.groupby("seed"):
        shown = rows.drop_duplicates("view").set_index("view")[["patient", "subject"]]
        views.append(detection.accuracy_by_view(rows, near, error).join(shown, on="view"))
    views = pd.concat(views)
    return detection.mean_over_views(views["accuracy"].to_numpy()), clusters(views)
