"""Shares of landmarks within a distance, and Cobb angles: papers 3 and 4 beside ours."""

import numpy as np
import pandas as pd

from raymark.metrics import detection, errors
from raymark.metrics.cobb import ANGLES, cobb_by_view, smape_percent, true_columns
from raymark.metrics.ratio import Ratio
from raymark.tables.results import Part, Results
from raymark.tables.rows import (
    BASELINE_NOTE,
    GROUPS,
    HOW_MANY,
    WHAT,
    Row,
    clusters,
    interval_note,
    notes_of,
    papers_with,
    published,
)
from raymark.tables.table import Column, Table


def pck(results: Results) -> Table:
    """LandmarkNet's Table 3 and Fig. 4a: landmarks within a distance in px, mean deviation."""
    papers = papers_with(results, "pck_8_px")
    thresholds = results.project.config.evaluation.pck_px
    keys = [*(f"pck_{t:g}_px" for t in thresholds), "mean_px"]
    compared = sorted({n for p in papers for n in results.papers[p].compared_landmarks})
    rows = [
        _pck_row(results, part, thresholds, names, what) | published(results, part, papers, keys)
        for part in results.parts_of(papers)
        for what, names in [("all", None), *((name, [name]) for name in compared)]
    ]
    for row in rows:  # the published cells are those of the compared landmarks
        if row["landmarks"] == "all":
            row |= {f"published_{key}": np.nan for key in keys} | {"source": ""}
    columns = [
        *WHAT[:-1],
        Column("landmarks", "Landmarks"),
        WHAT[-1],
        *(
            Column(f"pck_{t:g}_px", f"PCK {t:g} px", "%", 1, 100, interval=t == 8, best="max",
                   diverged="diverged")
            for t in thresholds
        ),
        Column("published_pck_8_px", "Published PCK 8 px", "%", 2, 100),
        Column("mean_px", "Mean deviation", "px", 2, interval=True, best="min", diverged="diverged"),
        Column("published_mean_px", "Published", "px", 2),
        Column("source", "Published in"),
        *HOW_MANY,
    ]  # fmt: skip
    notes = [
        "PCK: share of visible landmarks that are detected within the distance. Mean deviation: of "
        "all visible landmarks, detected or not.",
        "px are the data set's own: "
        + "; ".join(_pitch(results, name) for name in dict.fromkeys(r["dataset"] for r in rows))
        + ".",
        interval_note(results),
        BASELINE_NOTE,
        *notes_of(results, papers),
    ]
    groups = (*GROUPS, "landmarks")
    frame = pd.DataFrame(rows).sort_values(list(groups), kind="stable", ignore_index=True)
    return Table("Landmarks within a distance", frame, columns, results.label, notes, groups)


def _pck_row(
    results: Results, part: Part, thresholds: list[float], names: list[str] | None, what: str
) -> dict:
    row, table = Row(results, part), part.errors
    if names is not None:
        table = table[table["landmark"].isin(names)]
    seen, groups = table[table["visible"]], clusters(table)
    columns = (table[key].to_numpy() for key in ("error_px", "visible", "detected"))
    error_px, visible, detected = columns
    for threshold in thresholds:
        found = detection.correct_keypoints(error_px, visible, detected, threshold)
        row.add(f"pck_{threshold:g}_px", found, groups)
    of_seen = errors.mean_radial_error(seen["error_px"].to_numpy())
    row.add("mean_px", of_seen, clusters(seen))
    row.values |= {"landmarks": what, "points": len(seen), "ci_over": groups.kind}
    return row.values


def _pitch(results: Results, dataset: str) -> str:
    settings = results.project.datasets[dataset]
    return f"{settings.detector.pixel_mm:g} mm for {settings.title}"


def sdr(results: Results) -> Table:
    """The appearance-context paper's Table III: landmarks within a distance in mm of the patient."""
    papers = papers_with(results, "sdr_2_mm")
    thresholds = results.project.config.evaluation.sdr_mm
    keys = [f"sdr_{t:g}_mm" for t in thresholds]
    rows = [
        _sdr_row(results, part, thresholds) | published(results, part, papers, keys)
        for part in results.parts_of(papers)
    ]
    shown = [t for t in thresholds if any(pd.notna(r[f"published_sdr_{t:g}_mm"]) for r in rows)]
    columns = [*WHAT]
    for threshold in shown:
        key = f"sdr_{threshold:g}_mm"
        columns += [
            Column(key, f"SDR {threshold:g} mm", "%", 1, 100, interval=True, best="max",
                   diverged="diverged"),
            Column(f"published_{key}", "published", "%", 2, 100),
        ]  # fmt: skip
    columns += [Column("source", "Published in"), *HOW_MANY]
    notes = [
        "SDR: share of visible landmarks, detected or not, within the distance; mm of the patient, at "
        "the isocentre's depth.",
        interval_note(results),
        BASELINE_NOTE,
        *notes_of(results, papers),
    ]
    return Table("Successful detection", pd.DataFrame(rows), columns, results.label, notes, GROUPS)


def _sdr_row(results: Results, part: Part, thresholds: list[float]) -> dict:
    row, seen = Row(results, part), part.errors[part.errors["visible"]]
    groups = clusters(seen)
    for threshold in thresholds:
        share = errors.success_rate(seen["error_isocentre_mm"].to_numpy(), threshold)
        row.add(f"sdr_{threshold:g}_mm", share, groups)
    row.values |= {"points": len(seen), "ci_over": groups.kind}
    return row.values


def cobb(results: Results) -> Table:
    """The appearance-context paper's Table IV: SMAPE of the three Cobb angles."""
    papers = papers_with(results, "smape")
    rows = [
        _cobb_row(results, part) | published(results, part, papers, ["smape"])
        for part in results.parts_of(papers)
    ]
    columns = [
        *WHAT,
        Column("smape", "SMAPE", "%", 1, 100, interval=True, best="min", diverged="diverged"),
        Column("published_smape", "Published", "%", 2, 100),
        *(
            Column(f"{angle}_error", f"{angle.split('_')[0].upper()} error", "°", 1, best="min",
                   diverged="diverged")
            for angle in ANGLES
        ),
        Column("largest_deg", "Largest true angle", "°", 1),
        Column("source", "Published in"),
        *(column for column in HOW_MANY if column.key != "points"),
    ]  # fmt: skip
    notes = [
        "Angles from four corners per vertebra, of the predicted and of the true points, as the AASCE "
        "challenge of 2019 computes them: MT the largest, PT above it, TL below it. SMAPE: mean over "
        "images of Σ|a − b| / Σ(a + b) over the three. Errors: mean absolute difference.",
        "The mean position here is the mean shape of the training images.",
        interval_note(results),
        *notes_of(results, papers),
    ]
    return Table("Cobb angles", pd.DataFrame(rows), columns, results.label, notes, GROUPS)


def _cobb_row(results: Results, part: Part) -> dict:
    row, height_px = Row(results, part), results.project.datasets[part.dataset].detector.height_px
    names = results.landmarks[part.dataset]
    angles = pd.concat(
        [cobb_by_view(table, names, height_px) for _, table in part.errors.groupby("seed")]
    )
    found, true = angles[list(ANGLES)].to_numpy(), angles[true_columns()].to_numpy()
    percent, groups = smape_percent(found, true), clusters(angles)
    row.add("smape", Ratio(percent.numerator_n / 100, percent.denominator_n), groups)
    for angle, error in zip(ANGLES, np.nanmean(np.abs(found - true), axis=0), strict=True):
        row.values[f"{angle}_error"] = float(error)
    row.values |= {"largest_deg": float(np.nanmax(true)), "ci_over": groups.kind}
    return row.values
