"""Axial, coronal and sagittal slices of a CT, as radiologists look at them.

All show the patient from the feet, the front or the left: columns run to the left or the back, rows to
the back or the feet, which is down both axes of a canonical volume.
"""

import colorsys
from typing import Any

import numpy as np

from raymark.core.errors import InputError
from raymark.viewer.frames import jpeg
from raymark.viewer.shown import Shown

AXES = {"sagittal": 0, "coronal": 1, "axial": 2}
DARKEST_HU, BRIGHTEST_HU = -400.0, 1200.0
TINT = 0.35


def slice_picture(shown: Shown, kind: str, index: int) -> bytes:
    """Return slice `index` of a kind of `AXES` as JPEG, a pixel a voxel, with labels in colours."""
    if kind not in AXES:
        raise InputError("slice", f"{kind!r} is not known", f"Known: {', '.join(AXES)}")
    hu_xyz = shown.volume.hu_xyz
    index = int(np.clip(index, 0, hu_xyz.shape[AXES[kind]] - 1))
    hu = upright(hu_xyz, kind, index).astype(np.float32)
    image = np.clip((hu - DARKEST_HU) / (BRIGHTEST_HU - DARKEST_HU), 0, 1)
    if shown.labels is None:
        return jpeg(image)
    ids = upright(shown.labels.labels_xyz, kind, index)
    colours = np.repeat(image[..., None], 3, axis=-1)
    for number in np.unique(ids[ids > 0]):
        where = ids == number
        colours[where] = (1 - TINT) * colours[where] + TINT * np.array(colour_of(int(number)))
    return jpeg(colours)


def upright(values_xyz: np.ndarray, kind: str, index: int) -> np.ndarray:
    """Return one slice (row, column) of values on a canonical grid."""
    return np.take(values_xyz, index, axis=AXES[kind]).T[::-1, ::-1]


def colour_of(label: int) -> tuple[float, float, float]:
    """Return the colour of a label's id: neighbours differ by the golden angle."""
    return colorsys.hls_to_rgb(label * 0.381966 % 1, 0.55, 0.65)


def grid_of(shown: Shown) -> dict[str, Any]:
    """Return the CT's voxels and the landmarks' places in them, for a page to draw on slices."""
    to_voxel = np.linalg.inv(shown.volume.affine)
    voxels = shown.points_mm @ to_voxel[:3, :3].T + to_voxel[:3, 3]
    return {
        "shape": list(shown.volume.hu_xyz.shape),
        "spacing_mm": shown.volume.spacing_mm.tolist(),
        "landmarks": voxels.round(2).tolist(),
    }
