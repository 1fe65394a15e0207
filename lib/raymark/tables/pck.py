"""LandmarkNet's Table 3 and Fig. 4a: landmarks within a distance in px, and how far they are off."""

from typing import Any

import numpy as np
import pandas as pd

from raymark.evaluation.results import Part, Results
from raymark.metrics import detection, errors
from raymark.tables._columns import column, published_column
from raymark.tables._paper_px import WITHIN_PX, in_paper_px, px_note
from raymark.tables._rows import (
    GROUPS,
    PLACE,
    Row,
    clusters,
    of_results,
    pointless_notes,
    published,
    table_of,
)
from raymark.tables.base import Column, Table


def table(results: Results) -> Table:
    """Every landmark together, and each that the paper compares methods on."""
    lines, thresholds = results.lines(), results.project.config.evaluation.pck_px
    keys = [*(f"pck_{t:g}_paper_px" for t in thresholds), "mre_paper_px"]
    compared = sorted({n for paper in results.papers.values() for n in paper.compared_landmarks})
    rows = [
        _row(results, part, names, what) | published(results, part, keys)
        for part in lines
        for what, names in [("all", None), *((name, [name]) for name in compared)]
    ]
    for row in rows:  # the published cells are those of the compared landmarks
        if row["which_landmarks"] == "all":
            row |= {f"published_{key}": np.nan for key in keys} | {"source": ""}
    pck = {t: column("pck_{t}_paper_px", t, interval=t == WITHIN_PX) for t in thresholds}
    mre = column("mre_paper_px", interval=True)
    columns = [
        *pck.values(),
        published_column(column("pck_{t}_paper_px", WITHIN_PX), digits=2),
        mre,
        published_column(mre),
        column("source"),
    ]
    notes = [
        "PCK: share of visible landmarks that are detected within the distance. MRE (in the paper: "
        "mean deviation): of all visible landmarks that have a point, detected or not.",
        "Instances of a landmark type have the name of the one they are paired with (table "
        "`instances`).",
        *pointless_notes(results, lines),
        px_note(results, lines),
    ]
    groups = (*GROUPS, "which_landmarks")
    frame = pd.DataFrame(rows).sort_values(list(groups), kind="stable", ignore_index=True)
    more: dict[str, Any] = {
        "what": [*PLACE, Column("which_landmarks", "Which landmarks"), column("method_title")],
        "counts": ("views", "visible_landmarks"),
        "groups": groups,
    }
    return table_of(results, lines, "Landmarks within a distance", columns, frame, notes, **more)


def _row(results: Results, part: Part, names: list[str] | None, what: str) -> dict:
    row, rows = Row(results, part), part.errors
    row.values["which_landmarks"] = what
    if part.missing:
        return row.values
    if names is not None:
        rows = rows[rows["landmark"].isin(names)]
    rows = in_paper_px(results, part, rows)
    seen, groups = rows[rows["visible"]], clusters(rows)
    error_px, visible, detected = (rows[k].to_numpy() for k in ("error_px", "visible", "detected"))
    for t in results.project.config.evaluation.pck_px:
        found = detection.correct_keypoints(error_px, visible, detected, t)
        row.add(f"pck_{t:g}_paper_px", found, groups, drawn_as=f"pck_{t:g}_px")
    mre = errors.mean_radial_error(seen["error_px"].to_numpy())
    row.add("mre_paper_px", mre, clusters(seen), drawn_as="mean_px")
    row.values |= {"visible_landmarks": len(seen), "ci_over": groups.kind}
    return row.values


TABLE = of_results(
    table,
    about="landmarks within a distance in px (LandmarkNet, Table 3)",
    caption="Landmarks found within 4 to 12 px and their mean deviation, all together and for the one "
    "that LandmarkNet compares methods on, beside its Table 3. px are of images as wide as the "
    "paper's.",
    publishes="pck_8_paper_px",
)
