"""What a page is told once, when it opens."""

from typing import Any

import numpy as np

from raymark.core.names import readable
from raymark.viewer.frames import angles_of
from raymark.viewer.shown import Posed, Shown
from raymark.viewer.slices import grid_of
from raymark.views.plan import views_per_subject


def about(shown: Shown) -> dict[str, Any]:
    """Return title, landmarks, grid, view sets, poses and the first view, as JSON has it."""
    return {
        "title": shown.title,
        "landmarks": [
            {"name": name, "title": readable(name), "mm": point}
            for name, point in zip(shown.names, shown.points_mm.tolist(), strict=True)
        ],
        "grid": grid_of(shown),
        "isocentre_mm": shown.isocentre_mm.tolist(),
        "isocentre": shown.dataset.isocentre,
        "view_sets": [_view_set(shown, name) for name in shown.planned],
        "poses": [_pose(shown, number, pose) for number, pose in enumerate(shown.poses)],
        "model": shown.find is not None,
        "labels": shown.labels is not None,
        "start": start_of(shown),
    }


def start_of(shown: Shown) -> dict[str, Any]:
    """Return the view a page begins with: from the front, at the distances of the first view set."""
    dataset = shown.dataset
    first = next(iter(dataset.view_sets.values()))
    return {
        "primary_deg": 0.0,
        "secondary_deg": 0.0,
        "roll_deg": 0.0,
        "isocentre_mm": shown.isocentre_mm.tolist(),
        "source_to_isocentre_mm": float(np.mean(first.source_to_isocentre_mm)),
        "source_to_detector_mm": float(np.mean(first.source_to_detector_mm)),
        "flip": False,
        "field_of_view_share": 1.0,
        "detector": dataset.detector.model_dump(mode="json"),
        "physics": dataset.physics.model_dump(mode="json"),
    }


def _view_set(shown: Shown, name: str) -> dict[str, Any]:
    settings = shown.dataset.view_sets[name]
    rows = shown.views(name, settings, shown.isocentre_mm)
    return {
        "name": name,
        "title": settings.title or name,
        "count": views_per_subject(settings),
        "field_of_view_share": settings.field_of_view_share,
        "views": [_planned(row) for row in rows],
    }


def _planned(row: dict[str, Any]) -> dict[str, Any]:
    same = "primary_deg", "secondary_deg", "roll_deg", "flip"
    distances = "source_to_isocentre_mm", "source_to_detector_mm"
    return {
        "view": row["view"],
        "isocentre_mm": [row[f"isocentre_{axis}_mm"] for axis in "xyz"],
        **{key: row[key] for key in (*same, *distances)},
    }


def _pose(shown: Shown, number: int, pose: Posed) -> dict[str, Any]:
    primary_deg, secondary_deg = angles_of(pose.camera)
    return {
        "name": pose.name,
        "primary_deg": primary_deg,
        "secondary_deg": secondary_deg,
        "xray": pose.image_yx is not None,
    }
