"""LandmarkNet's Table 2: landmark types, some with several instances in an image."""

import pandas as pd

from raymark.config.papers import Row as PublishedRow
from raymark.datasets.lookup import dataset_of
from raymark.evaluation.errors import MEAN_POSITION
from raymark.evaluation.results import Part, Results
from raymark.metrics import detection, errors
from raymark.metrics.instances import counted, image_pck, of_images
from raymark.tables.base import Column, Table
from raymark.tables.rows import (
    BASELINE_NOTE,
    GROUPS,
    HOW_MANY,
    Row,
    clusters,
    missing_notes,
    notes_of,
    papers_with,
    standing_notes,
)

WITHIN_PX = 8.0


def instances(results: Results) -> Table:
    """Each landmark type that the paper measures: found by landmark and by image, and how many."""
    papers = papers_with(results, "pck_image_8_px")
    cells = [
        (name, row) for name in sorted(papers) for row in results.papers[name].rows if row.landmark
    ]
    lines = [(part, *cell) for cell in cells for part in _parts(results, *cell)]
    parts = [part for part, *_ in lines]
    rows = [_row(results, *line) for line in lines]
    columns = [
        Column("landmark_title", "Landmark"),
        Column("dataset_title", "Images"),
        Column("view_set_title", "View set"),
        Column("evaluated_on", "Evaluated on"),
        Column("method_title", "Method"),
        Column("pck_8_px", "PCK by landmark", "%", 1, 100, interval=True, best="max",
               diverged="diverged"),
        Column("published_pck_8_px", "published", "%", 2, 100),
        Column("pck_image_8_px", "PCK by image", "%", 1, 100, interval=True, best="max",
               diverged="diverged"),
        Column("published_pck_image_8_px", "published", "%", 2, 100),
        Column("mean_px", "Mean deviation", "px", 2, interval=True, diverged="diverged"),
        Column("published_mean_px", "published", "px", 2),
        Column("shown", "True per image", digits=2),
        Column("found", "Found per image", digits=2, diverged="diverged"),
        Column("counted", "Number right", "%", 1, 100, interval=True, diverged="diverged"),
        Column("source", "Published in"),
        *HOW_MANY,
    ]  # fmt: skip
    notes = [
        f"PCK by landmark: share of visible landmarks that are found within {WITHIN_PX:g} px. PCK by "
        "image (in the paper: by patient): share of images that show any, with at least one found "
        "within that distance. Mean deviation: of the landmarks that are found, near or far.",
        "Instances of a type have no names: in each image they are paired with the true landmarks so "
        "that the distances add up to the least. An instance that is left is false; a landmark that "
        "is left is missed. Found per image counts the false ones too; number right: share of images "
        "with as many found as true.",
        px_note(results, papers, parts),
        *standing_notes(results, parts, BASELINE_NOTE + " It knows which process is which."),
        *notes_of(results, papers),
        *missing_notes(results, parts),
    ]
    groups = (*GROUPS, "landmark")
    return Table("Landmark types", pd.DataFrame(rows), columns, results.label, notes, groups)


def paper_scale(results: Results, part: Part, papers: set[str]) -> float:
    """Return px of the papers' images per px of a part's: both images taken as equally wide."""
    width_px = _paper_width_px(results, papers)
    ours = dataset_of(results.project, part.dataset).detector.width_px
    return width_px / ours if width_px else 1.0


def px_note(results: Results, papers: set[str], parts: list[Part]) -> str:
    """Say which pixels distances are in."""
    width_px, notes = _paper_width_px(results, papers), []
    for part in {part.dataset: part for part in parts if not part.missing}.values():
        images = dataset_of(results.project, part.dataset)
        detector, scale = images.detector, paper_scale(results, part, papers)
        size = f"{detector.width_px} px of {detector.pixel_mm:g} mm"
        notes.append(f"{images.title}: {size}, each {scale:.3g} px here")
    whose = f"of images {width_px} px wide, as in the paper" if width_px else "the data set's own"
    return f"px are {whose}. {'; '.join(notes)}."


def _paper_width_px(results: Results, papers: set[str]) -> int | None:
    widths = (results.papers[name].image_width_px for name in sorted(papers))
    return next((width for width in widths if width), None)


def of_landmark(results: Results, part: Part, landmark: str) -> pd.DataFrame:
    """Return a part's errors of a landmark, or of a type: of its landmarks and left instances."""
    members = results.types.get(part.dataset, {}).get(landmark, [])
    return part.errors[part.errors["landmark"].isin([landmark, *members])]


def _parts(results: Results, paper: str, row: PublishedRow) -> list[Part]:
    """List ours for a published cell: its method and the baseline, where the landmark is seen."""
    parts = [
        part
        for part in results.lines({paper})
        if part.dataset == row.dataset and part.method in (row.method, MEAN_POSITION)
    ]
    return [p for p in parts if p.missing or of_landmark(results, p, row.landmark)["visible"].any()]


def _row(results: Results, part: Part, paper: str, published: PublishedRow) -> dict:
    row = Row(results, part)
    row.values |= {
        "landmark": published.landmark,
        "landmark_title": published.landmark.replace("_", " ").capitalize(),
        "source": "",
    }
    if part.method == published.method:
        row.values |= {f"published_{key}": value for key, value in published.values.items()}
        row.values["source"] = results.papers[paper].cited(published)
    if part.missing:
        return row.values
    table = of_landmark(results, part, published.landmark)
    table = table.assign(error_px=table["error_px"] * paper_scale(results, part, {paper}))
    seen, images = table[table["visible"]], of_images(table, WITHIN_PX)
    by_landmark = detection.correct_keypoints(
        *(seen[key].to_numpy() for key in ("error_px", "visible", "detected")), WITHIN_PX
    )
    found = seen[seen["detected"]]
    groups = clusters(images)
    row.add("pck_8_px", by_landmark, clusters(seen))
    row.add("pck_image_8_px", image_pck(images), groups)
    row.add("mean_px", errors.mean_radial_error(found["error_px"].to_numpy()), clusters(found))
    if part.method != MEAN_POSITION:  # which finds as many as there are landmarks
        row.add("counted", counted(images), groups)
        row.values["found"] = images["found"].mean()
    row.values |= {
        "shown": images["shown"].mean(),
        "views": images["view"].nunique(),
        "points": len(seen),
        "ci_over": groups.kind,
    }
    return row.values
