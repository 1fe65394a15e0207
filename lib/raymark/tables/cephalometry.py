"""Tables I and II of the appearance-context paper: landmarks and clinical classes of cephalograms."""

from dataclasses import replace
from itertools import groupby

import numpy as np
import pandas as pd

from raymark.evaluation.results import Part, Results
from raymark.metrics import errors
from raymark.metrics.cephalometry import (
    LANDMARKS,
    MEASURES,
    classes_by_view,
    mean_class_success_rate,
    success_classification_rate,
)
from raymark.metrics.ratio import Ratio
from raymark.tables.base import Column, Table
from raymark.tables.rows import (
    HOW_MANY,
    WHAT,
    Row,
    clusters,
    missing_notes,
    notes_of,
    papers_of,
    published_rows,
    standing_notes,
)

SDR_MM = (2, 2.5, 3, 4)  # of the ISBI 2015 challenge
TOGETHER = " + "  # between the names of the test sets that a row pools
GROUPS = ("view_set",)  # the challenge's test sets are the same images for everybody


def shows_cephalograms(results: Results, dataset: str) -> bool:
    return set(LANDMARKS) <= set(results.landmarks[dataset])


def cephalometry(results: Results) -> Table:
    """Table I: radial errors and successful detection, for each test set and for both together."""
    lines = _lines(results, "cephalometry")
    rows = [_errors_row(results, part) for part in lines]
    columns = [
        *WHAT,
        Column("mre_mm", "MRE", "mm", 2, spread="sd_mm", interval=True, best="min",
               diverged="diverged"),
        *(
            Column(f"sdr_{t:g}_mm", f"SDR {t:g} mm", "%", 2, 100, interval=True, best="max",
                   diverged="diverged")
            for t in SDR_MM
        ),
        Column("outside", "Cut off", digits=0),
        Column("source", "Published in"),
        *HOW_MANY,
    ]  # fmt: skip
    notes = [
        "MRE ± population sd, and SDR (≤), of all 19 landmarks of every image, detected or not, in mm "
        "of the X-ray as it was taken: predictions are taken back through its registration. Cut off: "
        "landmarks that the registered image does not show; they count all the same.",
        *_common_notes(results, "cephalometry", lines),
    ]
    return _table("Cephalometric landmarks", rows, columns, notes, results, "cephalometry")


def cephalometric_classes(results: Results) -> Table:
    """Table II: success classification rate of the eight clinical measures."""
    lines = _lines(results, "cephalometric_classes")
    rows = [_classes_row(results, part) for part in lines]
    columns = [
        *WHAT,
        *(
            Column(name, name.split("_")[0].upper(), "%", 2, 100, best="max", diverged="diverged")
            for name in MEASURES
        ),
        Column("scr", "Mean", "%", 2, 100, interval=True, best="max", diverged="diverged"),
        Column("mean_class_scr", "Mean over classes", "%", 2, 100, diverged="diverged"),
        Column("source", "Published in"),
        *(column for column in HOW_MANY if column.key != "points"),
    ]
    notes = [
        "Success classification rate: share of images whose class of a measure, by its limits (Wang et "
        "al. 2016), is that of the true points. Mean: of the eight measures.",
        "Mean over classes: of the shares of each true class that are right, the challenge's own "
        "figure. The cells of Lindner, Ibragimov and Wang are no multiples of one image in 150: they "
        "are to be compared with it.",
        *_common_notes(results, "cephalometric_classes", lines),
    ]
    title = "Clinical classes of cephalograms"
    return _table(title, rows, columns, notes, results, "cephalometric_classes")


def _lines(results: Results, table: str) -> list[Part]:
    """List what is a row of ours: every test set, and those of a method and data set together."""
    lines = results.lines(papers_of(results, table))
    lines = [part for part in lines if shows_cephalograms(results, part.dataset)]

    def of(part: Part) -> tuple[str, str, str]:
        return part.dataset, part.method, part.evaluated_on

    pooled = []
    for _, alike in groupby(sorted(lines, key=of), key=of):
        sets = list(alike)
        if len(sets) > 1:
            name = TOGETHER.join(part.view_set for part in sets)
            table = pd.concat([part.errors for part in sets], ignore_index=True)
            lacking = next((part.missing for part in sets if part.missing), "")
            pooled.append(replace(sets[0], view_set=name, errors=table, missing=lacking))
    return pooled + lines


def _errors_row(results: Results, part: Part) -> dict:
    row, table = Row(results, part), part.errors
    if part.missing:
        return row.values
    table = table[table["landmark"].isin(LANDMARKS)]
    groups, mm = clusters(table), table["error_isocentre_mm"].to_numpy()
    row.add("mre_mm", errors.mean_radial_error(mm), groups)
    for threshold in SDR_MM:
        row.add(f"sdr_{threshold:g}_mm", errors.success_rate(mm, threshold), groups)
    row.values |= {
        "sd_mm": errors.standard_deviation(mm),
        "outside": int((~table["visible"]).sum()),
        "points": len(table),
        "ci_over": groups.kind,
    }
    return row.values


def _classes_row(results: Results, part: Part) -> dict:
    row = Row(results, part)
    if part.missing:
        return row.values
    shown = part.errors.groupby("view")[["patient", "subject"]].first()
    found, true, views = [], [], []
    for _, table in part.errors.groupby("seed"):
        names, found_vm, true_vm = classes_by_view(table, results.mm_per_px[part.dataset])
        found.append(found_vm)
        true.append(true_vm)
        views.append(shown.loc[names].reset_index())
    found, true, views = (
        np.concatenate(found),
        np.concatenate(true),
        pd.concat(views, ignore_index=True),
    )
    of_classes = []
    for measure, own, right in zip(MEASURES, found.T, true.T, strict=True):
        row.add(measure, success_classification_rate(own, right), clusters(views))
        of_classes.append(mean_class_success_rate(own, right).value)
        row.values[f"{measure}_mean_class"] = of_classes[-1]
    right = (found == true).astype(float).ravel()
    groups = clusters(views.loc[views.index.repeat(len(MEASURES))])
    row.add("scr", Ratio(right, np.ones(len(right))), groups)
    row.values |= {"mean_class_scr": float(np.mean(of_classes)), "ci_over": groups.kind}
    return row.values


def _common_notes(results: Results, table: str, lines: list[Part]) -> list[str]:
    notes = notes_of(results, papers_of(results, table))
    single = [part for part in lines if TOGETHER not in part.view_set]
    return [*standing_notes(results, lines), *notes, *missing_notes(results, single)]


def _table(
    title: str,
    rows: list[dict],
    columns: list[Column],
    notes: list[str],
    results: Results,
    name: str,
) -> Table:
    """Put published rows below ours, test set by test set, the two together first as in Table I."""
    frame = pd.DataFrame([*rows, *published_rows(results, name)])
    together = ~frame["view_set"].str.contains(TOGETHER, regex=False)
    frame = frame.assign(together=together).sort_values(["together", "view_set"], kind="stable")
    frame = frame.drop(columns="together").reset_index(drop=True)
    return Table(title, frame, columns, results.label, notes, GROUPS)
