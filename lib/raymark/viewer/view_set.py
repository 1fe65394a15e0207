"""A view set about what a page shows, as YAML to paste into a data set file, and the views it plans."""

from typing import Any

import numpy as np
import yaml
from pydantic import Field

from raymark.config.dataset import ViewSet
from raymark.core.sections import Section, checked
from raymark.viewer.frames import Asked
from raymark.viewer.shown import Shown

NAME = "from_page"


class Around(Section):
    """How far the views go to either side of the one shown, and how many they are."""

    primary_deg: float = Field(0.0, ge=0, le=180)
    secondary_deg: float = Field(0.0, ge=0, le=90)
    count: int = Field(1, ge=1, le=10**6)
    isocentre: str | None = None


def view_set_of(asked: Asked, around: Around) -> ViewSet:
    """Return the set: one view, or a segment of the sphere about it, drawn evenly by solid angle."""
    primary = _range(asked.primary_deg, around.primary_deg, 360)
    secondary = _range(asked.secondary_deg, around.secondary_deg, 90)
    kind = "sphere" if around.primary_deg or around.secondary_deg else "box"
    sampling = {
        "kind": kind,
        "count": around.count if kind == "sphere" else 1,
        "primary_deg": primary,
        "secondary_deg": secondary,
        "roll_deg": _range(asked.roll_deg, 0, 360),
    }
    distances = {
        key: [getattr(asked, key)] * 2
        for key in ("source_to_isocentre_mm", "source_to_detector_mm")
    }
    values: dict[str, Any] = {"of": "test", "role": "evaluate", "sampling": sampling, **distances}
    if asked.flip:
        values["flip_probability"] = 1.0
    if asked.field_of_view_share < 1:
        values["field_of_view_share"] = asked.field_of_view_share
    return checked(ViewSet, values, "the view set")


def _range(middle: float, around: float, limit: float) -> list[float]:
    return [round(float(np.clip(middle + s * around, -limit, limit)), 2) for s in (-1, 1)]


def as_yaml(asked: Asked, around: Around) -> str:
    """Return detector, beam, isocentre and view set as they stand in a data set file."""
    settings = view_set_of(asked, around).model_dump(mode="json", exclude_unset=True)
    detector = asked.detector.model_dump(mode="json", exclude_defaults=True) | {
        key: getattr(asked.detector, key) for key in ("height_px", "width_px", "pixel_mm")
    }
    physics = asked.physics.model_dump(mode="json", include=_beam(asked.physics.spectrum))
    content: dict[str, Any] = {
        "isocentre": around.isocentre,
        "detector": detector,
        "physics": physics,
    }
    return yaml.safe_dump(
        {**content, "view_sets": {NAME: settings}},
        sort_keys=False,
        default_flow_style=None,
        width=100,
    )


def _beam(spectrum: str) -> set[str]:
    """Name the keys that count for a spectrum."""
    own = {"mono": {"energy_kev"}, "kv": {"tube_kvp", "filtration_mm_al"}, "mv": set()}[spectrum]
    return {"spectrum", "photons_per_px", *own}


def planned(shown: Shown, asked: Asked, around: Around) -> dict[str, Any]:
    """Return the YAML, and the directions of its views (primary, secondary) in degrees."""
    rows = shown.views(NAME, view_set_of(asked, around), np.array(asked.isocentre_mm))
    angles = [[round(r["primary_deg"], 2), round(r["secondary_deg"], 2)] for r in rows]
    return {"yaml": as_yaml(asked, around), "views": angles}
