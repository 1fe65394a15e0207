"""The appearance-context paper's Table IV: SMAPE of the three Cobb angles."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from raymark.datasets.lookup import dataset_of
from raymark.evaluation.results import SEEN, Part, Results
from raymark.metrics import errors
from raymark.metrics.cobb import ANGLES, cobb_by_view, smape_percent, true_columns
from raymark.metrics.ratio import Ratio
from raymark.tables._appearance_context import OF_PAPER, OTHER_IMAGES, spines
from raymark.tables._columns import column
from raymark.tables._rows import Row, clusters, of_results, published_rows, rows_of, table_of
from raymark.tables.base import Column, Table

MEAN_SHAPE_NOTE = "The mean position here is the mean shape of the training images."
MEASURED: dict[str, Any] = {"interval": True, "best": "min", "diverged": "diverged"}


def table(results: Results) -> Table:
    """Ours above the published rows."""
    lines = spines(results)
    columns = [
        Column("smape", "SMAPE", "%", 2, 100, **MEASURED),
        *(
            Column(f"{angle}_error", f"{angle.split('_')[0].upper()} error", "°", 1, **MEASURED)
            for angle in ANGLES
        ),
        Column("largest_deg", "Largest true angle", "°", 1),
        column("source"),
    ]
    notes = [
        "Angles from four corners per vertebra, of the predicted and of the true points, as the AASCE "
        "challenge of 2019 computes them: MT the largest, PT above it, TL below it. SMAPE: mean over "
        "images of Σ|a − b| / Σ(a + b) over the three. Errors: mean absolute difference.",
        *_subjects_note(results, lines),
        f"Published as Proposed: on {OF_PAPER}. The other authors' figures are quoted from that paper, "
        f"which does not say on which images they were measured. {OTHER_IMAGES}",
    ]
    rows = [*rows_of(results, lines, _measure), *published_rows(results, "cobb")]
    more: dict[str, Any] = {"counts": ("subjects", "views"), "baseline": MEAN_SHAPE_NOTE}
    return table_of(results, lines, "Cobb angles", columns, rows, notes, **more)


def _subjects_note(results: Results, lines: list[Part]) -> Iterator[str]:
    """Say what is counted as a spine, and that the spines of seen patients are no new ones."""
    datasets = results.project.datasets
    seen = [datasets.get(part.dataset) for part in lines if part.evaluated_on == SEEN]
    trained = [v for d in seen if d for v in d.view_sets.values() if v.role == "train"]
    if any(view_set.virtual_patients for view_set in trained):
        yield (
            "Subjects: spines of patients and deformed copies of them. On new views of training "
            "patients all of these spines, copies too, were trained on: such a row tells of new images "
            "of the same few angles, not of other spines."
        )


def _measure(row: Row) -> None:
    results, dataset = row.results, row.part.dataset
    height_px = dataset_of(results.project, dataset).detector.height_px
    names, seeds = results.landmarks[dataset], row.errors.groupby("seed")
    angles = pd.concat([cobb_by_view(rows, names, height_px) for _, rows in seeds])
    found, true = angles[list(ANGLES)].to_numpy(), angles[true_columns()].to_numpy()
    percent, groups = smape_percent(found, true), clusters(angles)
    row.add("smape", Ratio(percent.numerator_n / 100, percent.denominator_n), groups)
    for angle, off_deg in zip(ANGLES, np.abs(found - true).T, strict=True):
        row.add(f"{angle}_error", errors.mean_radial_error(off_deg), groups)
    row.values |= {"largest_deg": float(np.nanmax(true)), "ci_over": groups.kind}


TABLE = of_results(
    table,
    about="SMAPE and errors of Cobb angles (appearance-context paper, Table IV)",
    caption="Three Cobb angles from the corners of the vertebrae: SMAPE and the error of each angle, "
    "above the published rows (Table IV of the appearance-context paper).",
    publishes="smape",
)
