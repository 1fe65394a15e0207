"""Bier 2018, section 3.1: errors of detected landmarks, detection rate, accuracy per view."""

from functools import partial

import pandas as pd

from raymark.datasets.lookup import dataset_of
from raymark.evaluation.errors import MEAN_POSITION
from raymark.evaluation.results import Results
from raymark.metrics import detection, errors
from raymark.metrics.bootstrap import Clusters
from raymark.metrics.ratio import Ratio
from raymark.tables._columns import column, published_column
from raymark.tables._rows import Row, clusters, of_results, published, rows_of, table_of
from raymark.tables.base import Table

UNITS = ("px", "detector_mm")


def table(results: Results) -> Table:
    """The paper's figures beside ours."""
    lines, near = results.lines(), results.project.config.evaluation.accuracy_px
    pitches = [paper.pixel_mm for paper in results.papers.values() if paper.pixel_mm]
    near_mm = near * pitches[0] if pitches else None
    keys = [f"{what}_found_{unit}" for unit in UNITS for what in ("mre", "sd")]
    ours = rows_of(results, lines, partial(_measure, near_mm=near_mm))
    rows = [row | published(results, part, keys) for row, part in zip(ours, lines, strict=True)]
    found = [
        column(f"mre_found_{unit}", spread=f"sd_found_{unit}", interval=True) for unit in UNITS
    ]
    columns = [
        *(each for ours in found for each in (ours, published_column(ours))),
        column("pixel_mm"),
        column("detection_rate", interval=True),
        column("accuracy_px", near, interval=True),
        *([column("accuracy_detector_mm", round(near_mm, 1), interval=True)] if near_mm else []),
        column("source"),
    ]
    methods = dict.fromkeys(row["method"] for row in rows if row["method"] != MEAN_POSITION)
    thresholds = {name: results.project.methods[name].detection_threshold for name in methods}
    shown = dict.fromkeys(row["dataset"] for row in rows if not row["missing"])
    notes = [
        "MRE of found: mean ± population sd of the errors of visible landmarks that were detected, "
        "which is at "
        + ", ".join(
            f"a belief of at least {threshold:g} ({results.method_title(name)})"
            for name, threshold in thresholds.items()
        )
        + ".",
        "Detected: share of visible landmarks. A method that detects few is measured on its easy "
        "ones: read both columns together.",
        f"Accuracy: share of a view's detections with an error below {near:g} px (a landmark outside "
        "the image is a wrong detection), averaged over views. "
        + "; ".join(_in_mm(results, name, near) for name in shown)
        + (f"; of the paper's detector, {near_mm:.1f} mm." if near_mm else "."),
    ]
    title, counts = "Detected landmarks", ("views", "found_landmarks")
    return table_of(results, lines, title, columns, rows, notes, counts=counts)


def _in_mm(results: Results, dataset: str, px: float) -> str:
    settings = dataset_of(results.project, dataset)
    return f"{px:g} px of {settings.title} are {px * settings.detector.pixel_mm:.1f} mm"


def _measure(row: Row, near_mm: float | None) -> None:
    rows, near = row.errors, row.results.project.config.evaluation.accuracy_px
    found = rows[rows["visible"] & rows["detected"]]
    groups = clusters(found)
    for unit in UNITS:
        values = found[f"error_{unit}"].to_numpy()
        mean = errors.mean_radial_error(values)
        row.add(f"mre_found_{unit}", mean, groups, drawn_as=f"mre_{unit.removeprefix('detector_')}")
        row.values[f"sd_found_{unit}"] = errors.standard_deviation(values)
    visible, detected = rows["visible"].to_numpy(), rows["detected"].to_numpy()
    row.add("detection_rate", detection.detection_rate(visible, detected), clusters(rows))
    row.add("accuracy_px", *_over_views(rows, near, "error_px"), drawn_as="accuracy")
    if near_mm:
        accuracy = _over_views(rows, near_mm, "error_detector_mm")
        row.add("accuracy_detector_mm", *accuracy, drawn_as="accuracy_mm")
    row.values |= {"found_landmarks": len(found), "ci_over": groups.kind}


def _over_views(rows: pd.DataFrame, near: float, error: str) -> tuple[Ratio, Clusters]:
    """Return the mean of the views' accuracies; a view under two seeds is two, in one cluster."""
    views = []
    for _, of_seed in rows.groupby("seed"):
        shown = of_seed.drop_duplicates("view").set_index("view")[["patient", "subject"]]
        views.append(detection.accuracy_by_view(of_seed, near, error).join(shown, on="view"))
    views = pd.concat(views)
    return detection.mean_over_views(views["accuracy"].to_numpy()), clusters(views)


TABLE = of_results(
    table,
    about="errors of detected landmarks and accuracy per view (Bier 2018)",
    caption="Errors of detected landmarks, detection rate and accuracy, beside the figures of Bier "
    "2018 (Section 3.1). Published px are of 0.616 mm; accuracy is stated within 15 of ours and of "
    "theirs.",
    publishes="mre_found_px",
)
