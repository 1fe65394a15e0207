"""Distances in px of a paper's images, and landmarks as its tables name them (LandmarkNet)."""

import pandas as pd

from raymark.datasets.lookup import dataset_of
from raymark.evaluation.results import Part, Results

WITHIN_PX = 8.0  # px of the paper


def in_paper_px(results: Results, part: Part, errors: pd.DataFrame) -> pd.DataFrame:
    """Return some of a part's errors with `error_px` in px of the papers' images."""
    return errors.assign(error_px=errors["error_px"] * _scale(results, part))


def px_note(results: Results, parts: list[Part]) -> str:
    """Say which pixels distances are in."""
    width_px, notes = _paper_width_px(results), []
    for part in {part.dataset: part for part in parts if not part.missing}.values():
        images = dataset_of(results.project, part.dataset)
        detector, scale = images.detector, _scale(results, part)
        size = f"{detector.width_px} px of {detector.pixel_mm:g} mm"
        notes.append(f"{images.title}: {size}, each {scale:.3g} px here")
    whose = f"of images {width_px} px wide" if width_px else "the data set's own, as it states none"
    return f"px of the paper: {whose}. {'; '.join(notes)}."


def _scale(results: Results, part: Part) -> float:
    """Return px of the papers' images per px of a part's: both images taken as equally wide."""
    width_px = _paper_width_px(results)
    ours = dataset_of(results.project, part.dataset).detector.width_px
    return width_px / ours if width_px else 1.0


def _paper_width_px(results: Results) -> int | None:
    widths = (paper.image_width_px for paper in results.papers.values())
    return next((width for width in widths if width), None)


def of_landmark(results: Results, part: Part, landmark: str) -> pd.DataFrame:
    """Return a part's errors of a landmark, or of a type: of its landmarks and left instances."""
    members = results.types.get(part.dataset, {}).get(landmark, [])
    return part.errors[part.errors["landmark"].isin([landmark, *members])]
