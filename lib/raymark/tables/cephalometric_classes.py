"""The appearance-context paper's Table II: how often clinical classes of cephalograms are right."""

import numpy as np
import pandas as pd

from raymark.evaluation.results import Results
from raymark.metrics.cephalometry import (
    MEASURES,
    classes_by_view,
    mean_class_success_rate,
    success_classification_rate,
)
from raymark.metrics.ratio import Ratio
from raymark.tables._appearance_context import table_of_cephalograms
from raymark.tables._columns import column
from raymark.tables._rows import Row, clusters, of_results
from raymark.tables.base import Column, Table


def table(results: Results) -> Table:
    """Success classification rate of the eight clinical measures."""
    columns = [
        *(
            Column(name, name.split("_")[0].upper(), "%", 2, 100, best="max", diverged="diverged")
            for name in MEASURES
        ),
        Column("scr", "Mean", "%", 2, 100, interval=True, best="max", diverged="diverged"),
        Column("mean_class_scr", "Mean over classes", "%", 2, 100, diverged="diverged"),
        column("source"),
    ]
    notes = [
        "Success classification rate: share of images whose class of a measure, by its limits (Wang et "
        "al. 2016), is that of the true points. Mean: of the eight measures.",
        "Mean over classes: of the shares of each true class that are right, the challenge's own "
        "figure. The cells of Lindner, Ibragimov and Wang are no multiples of one image in 150: they "
        "are to be compared with it.",
    ]
    name, title = "cephalometric_classes", "Clinical classes of cephalograms"
    return table_of_cephalograms(name, title, results, columns, ("views",), _measure, notes)


def _measure(row: Row) -> None:
    shown = row.errors.groupby("view")[["patient", "subject"]].first()
    mm_per_px = row.results.mm_per_px[row.part.dataset]
    seeds = [classes_by_view(rows, mm_per_px) for _, rows in row.errors.groupby("seed")]
    views = pd.concat([shown.loc[names].reset_index() for names, _, _ in seeds], ignore_index=True)
    found, true = (np.concatenate([of_seed[which] for of_seed in seeds]) for which in (1, 2))
    of_classes = []
    for measure, own, right in zip(MEASURES, found.T, true.T, strict=True):
        row.add(measure, success_classification_rate(own, right), clusters(views))
        of_classes.append(mean_class_success_rate(own, right).value)
        row.values[f"{measure}_mean_class"] = of_classes[-1]
    right = (found == true).astype(float).ravel()
    groups = clusters(views.loc[views.index.repeat(len(MEASURES))])
    row.add("scr", Ratio(right, np.ones(len(right))), groups)
    row.values |= {"mean_class_scr": float(np.mean(of_classes)), "ci_over": groups.kind}


TABLE = of_results(
    table,
    about="how often the class of eight clinical measures is right (appearance-context paper, Table II)",
    caption="How often the class of eight clinical measures is right, with every published row (Table "
    "II of the appearance-context paper).",
    publishes="scr",
)
