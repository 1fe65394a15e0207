"""Shares of landmarks within a distance, and Cobb angles: papers 3 and 4 beside ours."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from raymark.datasets.lookup import dataset_of
from raymark.evaluation.results import SEEN, Part, Results
from raymark.metrics import detection, errors
from raymark.metrics.cobb import ANGLES, cobb_by_view, smape_percent, true_columns
from raymark.metrics.ratio import Ratio
from raymark.tables.base import Column, Table
from raymark.tables.cephalometry import shows_cephalograms
from raymark.tables.instances import paper_scale, px_note
from raymark.tables.rows import (
    GROUPS,
    HOW_MANY,
    WHAT,
    Row,
    clusters,
    missing_notes,
    notes_of,
    papers_of,
    papers_with,
    pointless_notes,
    published,
    published_rows,
    standing_notes,
)

SDR_MM = (2, 3, 4, 6)  # of the appearance-context paper's Table III
MEAN_SHAPE_NOTE = "The mean position here is the mean shape of the training images."
OTHER_IMAGES = "Rendered spines are other images: their figures are no comparison."
OF_PAPER = (
    "57 X-rays of the public AP spine data, chosen by the paper's authors, with 281 to train on"
)


def pck(results: Results) -> Table:
    """LandmarkNet's Table 3 and Fig. 4a: landmarks within a distance in px, mean deviation."""
    papers = papers_with(results, "pck_8_px")
    lines = results.lines(papers)
    thresholds = results.project.config.evaluation.pck_px
    keys = [*(f"pck_{t:g}_px" for t in thresholds), "mean_px"]
    compared = sorted({n for p in papers for n in results.papers[p].compared_landmarks})
    rows = [
        _pck_row(results, part, papers, names, what) | published(results, part, papers, keys)
        for part in lines
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
        "all visible landmarks that have a point, detected or not.",
        "Instances of a landmark type have the name of the one they are paired with (table "
        "`instances`).",
        *pointless_notes(results, lines),
        px_note(results, papers, lines),
        *standing_notes(results, lines),
        *notes_of(results, papers),
        *missing_notes(results, lines),
    ]
    groups = (*GROUPS, "landmarks")
    frame = pd.DataFrame(rows).sort_values(list(groups), kind="stable", ignore_index=True)
    return Table("Landmarks within a distance", frame, columns, results.label, notes, groups)


def _pck_row(
    results: Results, part: Part, papers: set[str], names: list[str] | None, what: str
) -> dict:
    row, table = Row(results, part), part.errors
    row.values["landmarks"] = what
    if part.missing:
        return row.values
    if names is not None:
        table = table[table["landmark"].isin(names)]
    table = table.assign(error_px=table["error_px"] * paper_scale(results, part, papers))
    seen, groups = table[table["visible"]], clusters(table)
    columns = (table[key].to_numpy() for key in ("error_px", "visible", "detected"))
    error_px, visible, detected = columns
    for threshold in results.project.config.evaluation.pck_px:
        found = detection.correct_keypoints(error_px, visible, detected, threshold)
        row.add(f"pck_{threshold:g}_px", found, groups)
    of_seen = errors.mean_radial_error(seen["error_px"].to_numpy())
    row.add("mean_px", of_seen, clusters(seen))
    row.values |= {"points": len(seen), "ci_over": groups.kind}
    return row.values


def sdr(results: Results) -> Table:
    """The appearance-context paper's Table III: landmarks within a distance in mm of the patient."""
    lines = _spines(results, "sdr")
    rows = [_sdr_row(results, part) for part in lines]
    columns = [
        *WHAT,
        *(
            Column(f"sdr_{t:g}_mm", f"SDR {t:g} mm", "%", 2, 100, interval=True, best="max",
                   diverged="diverged")
            for t in SDR_MM
        ),
        Column("source", "Published in"),
        *HOW_MANY,
    ]  # fmt: skip
    notes = [
        "SDR: share of visible landmarks, detected or not, within the distance; mm of the patient, at "
        "the isocentre's depth; of imported X-rays by 35 mm between L4 and L5, as in the paper.",
        f"Published figures are of {OF_PAPER}. {OTHER_IMAGES}",
        *pointless_notes(results, lines),
        *standing_notes(results, lines),
        *notes_of(results, papers_of(results, "sdr")),
        *missing_notes(results, lines),
    ]
    frame = pd.DataFrame([*rows, *published_rows(results, "sdr")])
    return Table("Successful detection", frame, columns, results.label, notes, GROUPS)


def _spines(results: Results, table: str) -> list[Part]:
    """List our rows of that paper's tables about spines: its cephalograms have tables of their own."""
    lines = results.lines(papers_of(results, table))
    return [part for part in lines if not shows_cephalograms(results, part.dataset)]


def _sdr_row(results: Results, part: Part) -> dict:
    row = Row(results, part)
    if part.missing:
        return row.values
    seen = part.errors[part.errors["visible"]]
    groups = clusters(seen)
    for threshold in SDR_MM:
        share = errors.success_rate(seen["error_isocentre_mm"].to_numpy(), threshold)
        row.add(f"sdr_{threshold:g}_mm", share, groups)
    row.values |= {"points": len(seen), "ci_over": groups.kind}
    return row.values


def cobb(results: Results) -> Table:
    """The appearance-context paper's Table IV: SMAPE of the three Cobb angles."""
    lines = _spines(results, "cobb")
    rows = [_cobb_row(results, part) for part in lines]
    columns = [
        *WHAT,
        Column("smape", "SMAPE", "%", 2, 100, interval=True, best="min", diverged="diverged"),
        *(
            Column(f"{angle}_error", f"{angle.split('_')[0].upper()} error", "°", 1, interval=True,
                   best="min", diverged="diverged")
            for angle in ANGLES
        ),
        Column("largest_deg", "Largest true angle", "°", 1),
        Column("source", "Published in"),
        *HOW_MANY[:2],
        Column("subjects", "Spines", digits=0),
        *(column for column in HOW_MANY[2:] if column.key != "points"),
    ]  # fmt: skip
    notes = [
        "Angles from four corners per vertebra, of the predicted and of the true points, as the AASCE "
        "challenge of 2019 computes them: MT the largest, PT above it, TL below it. SMAPE: mean over "
        "images of Σ|a − b| / Σ(a + b) over the three. Errors: mean absolute difference.",
        *_spines_note(results, lines),
        f"Published as Proposed: on {OF_PAPER}. The other authors' figures are quoted from that paper, "
        f"which does not say on which images they were measured. {OTHER_IMAGES}",
        *standing_notes(results, lines, MEAN_SHAPE_NOTE),
        *notes_of(results, papers_of(results, "cobb")),
        *missing_notes(results, lines),
    ]
    frame = pd.DataFrame([*rows, *published_rows(results, "cobb")])
    return Table("Cobb angles", frame, columns, results.label, notes, GROUPS)


def _spines_note(results: Results, lines: list[Part]) -> Iterator[str]:
    """Say what is counted as a spine, and that the spines of seen patients are no new ones."""
    datasets = results.project.datasets
    seen = [datasets.get(part.dataset) for part in lines if part.evaluated_on == SEEN]
    trained = [v for d in seen if d for v in d.view_sets.values() if v.role == "train"]
    if any(view_set.virtual_patients for view_set in trained):
        yield (
            "Spines: patients and deformed copies of them. On new views of training patients all "
            "of these spines, copies too, were trained on: such a row tells of new images of the "
            "same few angles, not of other spines."
        )


def _cobb_row(results: Results, part: Part) -> dict:
    row = Row(results, part)
    if part.missing:
        return row.values
    height_px = dataset_of(results.project, part.dataset).detector.height_px
    names = results.landmarks[part.dataset]
    angles = pd.concat(
        [cobb_by_view(table, names, height_px) for _, table in part.errors.groupby("seed")]
    )
    found, true = angles[list(ANGLES)].to_numpy(), angles[true_columns()].to_numpy()
    percent, groups = smape_percent(found, true), clusters(angles)
    row.add("smape", Ratio(percent.numerator_n / 100, percent.denominator_n), groups)
    for angle, off_deg in zip(ANGLES, np.abs(found - true).T, strict=True):
        row.add(f"{angle}_error", errors.mean_radial_error(off_deg), groups)
    row.values |= {"largest_deg": float(np.nanmax(true)), "ci_over": groups.kind}
    return row.values
