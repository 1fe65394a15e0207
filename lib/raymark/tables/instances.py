"""LandmarkNet's Table 2: landmark types, some with several instances in an image."""

from typing import Any

from raymark.config.papers import Paper
from raymark.config.papers import Row as PublishedRow
from raymark.evaluation.errors import MEAN_POSITION
from raymark.evaluation.results import Part, Results
from raymark.metrics import detection, errors
from raymark.metrics.instances import counted, image_pck, of_images
from raymark.tables._columns import column, published_column
from raymark.tables._paper_px import WITHIN_PX, in_paper_px, of_landmark, px_note
from raymark.tables._rows import BASELINE_NOTE, GROUPS, WHAT, Row, clusters, of_results, table_of
from raymark.tables.base import Column, Table


def table(results: Results) -> Table:
    """Each landmark type that the paper measures: found by landmark and by image, and how many."""
    lines = [
        (part, paper, row, row.landmark)
        for paper in results.papers.values()
        for row in paper.rows
        if row.landmark
        for part in _parts(results, row, row.landmark)
    ]
    parts = [part for part, *_ in lines]
    pck, by_image = (
        column(key, WITHIN_PX, interval=True)
        for key in ("pck_{t}_paper_px", "pck_image_{t}_paper_px")
    )
    mre = column("mre_found_paper_px", interval=True)
    columns = [
        *(c for ours in (pck, by_image, mre) for c in (ours, published_column(ours, digits=2))),
        Column("shown", "True per image", digits=2),
        Column("found", "Found per image", digits=2, diverged="diverged"),
        Column("counted", "Number right", "%", 1, 100, interval=True, diverged="diverged"),
        column("source"),
    ]
    notes = [
        f"PCK: share of visible landmarks that are found within {WITHIN_PX:g} px. PCK by "
        "image (in the paper: by patient): share of images that show any, with at least one found "
        "within that distance. MRE of found (in the paper: mean deviation): of the landmarks that are "
        "found, near or far.",
        "Instances of a type have no names: in each image they are paired with the true landmarks so "
        "that the distances add up to the least. An instance that is left is false; a landmark that "
        "is left is missed. Found per image counts the false ones too; number right: share of images "
        "with as many found as true.",
        px_note(results, parts),
    ]
    rows = [_row(results, *line) for line in lines]
    more: dict[str, Any] = {
        "what": [column("landmark_title"), *WHAT],
        "counts": ("views_showing", "visible_landmarks"),
        "groups": (*GROUPS, "landmark"),
        "baseline": f"{BASELINE_NOTE} It knows which process is which.",
    }
    return table_of(results, parts, "Landmark types", columns, rows, notes, **more)


def _parts(results: Results, row: PublishedRow, landmark: str) -> list[Part]:
    """List ours for a published cell: its method and the baseline, where the landmark is seen."""
    return [
        part
        for part in results.lines()
        if part.dataset == row.dataset
        and part.method in (row.method, MEAN_POSITION)
        and (part.missing or of_landmark(results, part, landmark)["visible"].any())
    ]


def _row(
    results: Results, part: Part, paper: Paper, published: PublishedRow, landmark: str
) -> dict:
    row = Row(results, part)
    row.values |= {
        "landmark": landmark,
        "landmark_title": landmark.replace("_", " ").capitalize(),
        "source": "",
    }
    if part.method == published.method:
        row.values |= {f"published_{key}": value for key, value in published.values.items()}
        row.values["source"] = paper.cited(published)
    if part.missing:
        return row.values
    rows = in_paper_px(results, part, of_landmark(results, part, landmark))
    seen, images = rows[rows["visible"]], of_images(rows, WITHIN_PX)
    error_px, visible, detected = (seen[k].to_numpy() for k in ("error_px", "visible", "detected"))
    by_landmark = detection.correct_keypoints(error_px, visible, detected, WITHIN_PX)
    found = seen[seen["detected"]]
    mre = errors.mean_radial_error(found["error_px"].to_numpy())
    groups, within = clusters(images), f"{WITHIN_PX:g}"
    pck, by_image = f"pck_{within}", f"pck_image_{within}"
    row.add(f"{pck}_paper_px", by_landmark, clusters(seen), drawn_as=f"{pck}_px")
    row.add(f"{by_image}_paper_px", image_pck(images), groups, drawn_as=f"{by_image}_px")
    row.add("mre_found_paper_px", mre, clusters(found), drawn_as="mean_px")
    if part.method != MEAN_POSITION:  # which finds as many as there are landmarks
        row.add("counted", counted(images), groups)
        row.values["found"] = images["found"].mean()
    row.values |= {
        "shown": images["shown"].mean(),
        "views_showing": images["view"].nunique(),
        "visible_landmarks": len(seen),
        "ci_over": groups.kind,
    }
    return row.values


TABLE = of_results(
    table,
    about="landmark types, by landmark and by image, and how many are found (LandmarkNet, Table 2)",
    caption="Landmark types, of which an image may show several: found by landmark and by image, "
    "their deviation, and how many are found, beside Table 2 of LandmarkNet. px are of images as wide "
    "as the paper's.",
    publishes="pck_image_8_paper_px",
)
