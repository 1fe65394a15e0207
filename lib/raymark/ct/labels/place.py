"""Labels of another grid than the CT's, brought onto it by nearest neighbours."""

from pathlib import Path

import numpy as np

from raymark.core.errors import InputError
from raymark.ct.grid import SAME_PLACE_MM, LabelMap, Volume, corners_mm

OUTSIDE_SHARE = 0.01  # of the labelled voxels: more of them beside the CT is said
SLAB_VOXELS = 2**22


def on_grid(path: Path, labels: LabelMap, like: Volume) -> LabelMap:
    """Return labels (any axes close to RAS) on the grid of `like`; unchanged where they lie on it.

    Every voxel of the CT takes the label of the voxel whose centre is nearest, none beyond the
    labels' own grid. Said is what lies beside the CT, and by how much grids of one size differ.
    """
    same_shape = labels.labels_xyz.shape == like.hu_xyz.shape
    if same_shape:
        corners = corners_mm(labels.affine, like.hu_xyz.shape)
        drift_mm = float(np.abs(corners - corners_mm(like.affine, like.hu_xyz.shape)).max())
        if drift_mm < SAME_PLACE_MM:
            voxels = np.ascontiguousarray(labels.labels_xyz)
            return LabelMap(voxels, like.affine, labels.names, labels.doubts)
    placed, inside = _nearest(labels, like), _share_inside(labels, like)
    if labels.labels_xyz.any() and not placed.any():
        raise InputError(
            path,
            "has no labelled voxel within the CT",
            "Give the labels that were made from this CT; compare both in a viewer",
        )
    how = f"by up to {drift_mm:.2g} mm" if same_shape else f"{_spacing(labels)} mm voxels"
    doubts = [f"is on another grid than the CT ({how}): taken by nearest neighbours"]
    if inside < 1 - OUTSIDE_SHARE:
        doubts.append(f"only {inside:.0%} of what it labels lies within the CT")
    return LabelMap(placed, like.affine, labels.names, (*labels.doubts, *doubts))


def _nearest(labels: LabelMap, like: Volume) -> np.ndarray:
    to_labels = np.linalg.inv(labels.affine) @ like.affine
    shape, size = like.hu_xyz.shape, np.array(labels.labels_xyz.shape)
    placed = np.zeros(shape, labels.labels_xyz.dtype)
    thickness = max(1, SLAB_VOXELS // (shape[1] * shape[2]))
    for start in range(0, shape[0], thickness):
        slab = placed[start : start + thickness]
        index = np.moveaxis(np.indices(slab.shape), 0, -1)
        index = np.floor(
            (index + np.array([start, 0, 0])) @ to_labels[:3, :3].T + to_labels[:3, 3] + 0.5
        ).astype(int)
        known = ((index >= 0) & (index < size)).all(axis=-1)
        slab[known] = labels.labels_xyz[tuple(index[known].T)]
    return placed


def _share_inside(labels: LabelMap, like: Volume) -> float:
    """Return which share of the labelled voxels has its centre within the CT."""
    where = np.argwhere(labels.labels_xyz)
    if not len(where):
        return 1.0
    to_ct = np.linalg.inv(like.affine) @ labels.affine
    index = where @ to_ct[:3, :3].T + to_ct[:3, 3]
    return float(((index > -0.5) & (index < np.array(like.hu_xyz.shape) - 0.5)).all(axis=1).mean())


def _spacing(labels: LabelMap) -> str:
    return " × ".join(f"{mm:.3g}" for mm in labels.spacing_mm)
