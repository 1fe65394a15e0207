"""What a person corrects in an annotation program: a picture and the points that a model found on it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from raymark.core.errors import InputError
from raymark.detection.on_files import Found
from raymark.exports._pictures import to_look_at, write_picture
from raymark.exports.base import Source


@dataclass(frozen=True)
class ToCorrect:
    """One image, upright and bone bright, with what was found on it, in px of this very picture.

    `points` has the columns landmark, x_px, y_px, confidence: only what was detected. `pixel_mm` and
    `patient` travel along where they are known; both programs keep them, and an import reads them.
    """

    name: str
    image_yx: np.ndarray
    points: pd.DataFrame
    landmarks: list[str]
    model: str
    pixel_mm: float | None
    patient: str | None

    @property
    def file(self) -> str:
        return f"{self.name}.png"

    @property
    def known(self) -> dict[str, float | str]:
        """What an import needs besides the points."""
        pairs = {"pixel_mm": self.pixel_mm, "patient": self.patient}
        return {key: value for key, value in pairs.items() if value is not None}

    def write_picture(self, path: Path) -> None:
        write_picture(path, to_look_at(self.image_yx))


def of_views(source: Source) -> Iterator[ToCorrect]:
    """Yield the views of a view set with what the source's model found there."""
    model = f"{source.method}, seed {source.seed}"
    for view in source.views():
        found = source.predictions.loc[[view.name]]
        image_yx = view.arrays["image"].astype(np.float32)
        points = _detected(found, view.name)
        known = view.pixel_mm, view.row.patient
        yield ToCorrect(view.name, image_yx, points, source.shards.landmarks, model, *known)


def of_image(found: Found) -> ToCorrect:
    """Return a user's own image with what was found there."""
    model, xray = found.model, found.xray
    told = f"{model.method}, seed {model.seed}"
    points = _detected(found.table, found.path)
    name = found.stem.name
    return ToCorrect(name, xray.image_yx, points, model.landmarks, told, xray.pixel_mm, None)


def _detected(table: pd.DataFrame, place: str) -> pd.DataFrame:
    detected = table[table["detected"]]
    if (twice := detected["landmark"].duplicated()).any():
        name = detected["landmark"][twice].iloc[0]
        problem = f"has several points of the type {name!r}, and annotations hold one of a name"
        raise InputError(place, problem, "Use a model of landmarks that have a name each")
    return detected[["landmark", "x_px", "y_px", "confidence"]]
