"""One image of an import, with all that is known before it is read again to be written."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raymark.annotations.base import Annotation
from raymark.geometry.affine2d import Affine

BY_SIZE, TEMPLATE, REGISTERED, FAILED = "by size", "template", "registered", "failed"


@dataclass(frozen=True)
class Planned:
    """An image of `shape_yx` with its points (landmark, xy) px and the pitch of its own pixels.

    `to_shard` maps a point of the image into the shard; `alignment` says where that map is from:
    `BY_SIZE` (heights and middles agree), `TEMPLATE` (this image is the template), `REGISTERED` to
    it, or `FAILED`: the registration did, and the image is aligned by size.
    """

    annotation: Annotation
    path: Path
    view_set: str
    patient: str
    shape_yx: tuple[int, int]
    points_px: np.ndarray
    file_pixel_mm: float
    to_shard: Affine
    alignment: str = BY_SIZE
    doubts: tuple[str, ...] = ()

    @property
    def pixel_mm(self) -> float:
        """The mean pitch in the shard."""
        return self.file_pixel_mm / self.to_shard.scale


def scaled_and_cropped(shape_yx: tuple[int, int], height_px: int, width_px: int) -> Affine:
    """Return the map that scales an image to a height and crops or pads it about its middle."""
    scale = height_px / shape_yx[0]
    middle_px = (np.array(shape_yx[::-1]) - 1) / 2
    target_px = (np.array([width_px, height_px]) - 1) / 2
    return Affine.scaling(scale, target_px - scale * middle_px)
