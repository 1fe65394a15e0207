"""One bone, or some, registered by itself: bones move against each other after a CT.

The bone alone moves; all else is rendered once, where the whole body's registration left it, so that the
image still shows everything. Only rays through the bone or close by it count.
"""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import binary_dilation

from raymark.config.dataset import Physics
from raymark.core.errors import InputError
from raymark.ct import LabelMap, Volume
from raymark.geometry.camera import Camera
from raymark.pose.body import BEYOND_PX, Beyond, Grid, attenuation, coarsened, enlarged
from raymark.pose.refine import LEVELS, Fit, Registration, pyramid
from raymark.pose.shot import Shot
from raymark.rendering.physics import spectrum_of

SOFT_HU = 40  # what stays where the bone was
CLOSE_MM, CLOSE_VOXEL_MM = 20.0, 5.0
LEAST_VOXELS = 50
RIM = 2  # voxels


class PartRegistration(Registration):
    """A part of a CT that moves, `mask_xyz`, before the rest of it at `poses`."""

    coarse = LEVELS[1:2]  # at 12 mm a bone's own shape is hardly seen
    fine = LEVELS[2:3]  # what stands still about a bone is a background of its own

    def __init__(
        self, volume: Volume, physics: Physics, mask_xyz: np.ndarray, poses: Sequence[np.ndarray]
    ):
        kev = spectrum_of(physics).mean_kev
        mask_xyz = binary_dilation(
            mask_xyz, iterations=RIM
        )  # half-filled voxels belong to the bone
        rest_hu = np.where(mask_xyz, np.minimum(volume.hu_xyz, np.int16(SOFT_HU)), volume.hu_xyz)
        rest = attenuation(rest_hu, kev)
        self.grids = pyramid(attenuation(volume.hu_xyz, kev) - rest, volume.affine)
        self.rest, self.poses = pyramid(rest, volume.affine), poses
        self.close = _Close(mask_xyz, volume)
        self.beyond = self.close.beyond

    def fit(
        self,
        shots: Sequence[Shot],
        poses: Sequence[np.ndarray],
        points_world_mm: np.ndarray,
        spacing_mm: float,
        window_mm: float = 0.0,
    ) -> Fit:
        """Return the comparison of shots and CT, the rest of it standing still."""
        fit = super().fit(shots, poses, points_world_mm, spacing_mm, window_mm)
        for view, pose in zip(fit.views, self.poses, strict=True):
            camera = Camera(view.K, pose, *view.valid_yx.shape)
            view.beyond = _Fixed(self.close.weight(camera))
            view.still_yx = self.rest[spacing_mm].cast(camera, view.wanted_yx)[..., 0]
        return fit


class _Fixed:
    """Weights that do not move with the part: all its poses are compared in the same place."""

    def __init__(self, weight_yx: np.ndarray):
        self.weight_yx = weight_yx

    def weight(self, _: Camera) -> np.ndarray:
        return self.weight_yx


class _Close:
    """Rays count that meet the part or come close to it, and nothing that the CT lacks."""

    def __init__(self, mask_xyz: np.ndarray, volume: Volume):
        self.beyond = Beyond(volume.hu_xyz, volume.affine)
        share_xyz, affine = coarsened(mask_xyz.astype(np.float32), volume.affine, CLOSE_VOXEL_MM)
        rounds = round(CLOSE_MM / np.linalg.norm(affine[:3, :3], axis=0).mean())
        self.grid = Grid(binary_dilation(share_xyz > 0, iterations=max(1, rounds)), affine)

    def weight(self, camera: Camera) -> np.ndarray:
        height, width = (-(-size // BEYOND_PX) + 1 for size in camera.shape_yx)
        scale = np.diag([1 / BEYOND_PX, 1 / BEYOND_PX, 1])
        small = Camera(scale @ camera.K, camera.world_to_camera, height, width)
        through_mm = self.grid.cast(small, np.ones((height, width), dtype=bool))[..., 0]
        close = enlarged(np.clip(through_mm / CLOSE_VOXEL_MM, 0, 1), camera.shape_yx)
        lacking = self.beyond.weight(camera)
        return close if lacking is None else close * lacking


def parts_of(
    source: str, labels: LabelMap, chosen: Sequence[int], each: bool
) -> dict[str, np.ndarray]:
    """Return the masks (x, y, z) of chosen labels, all as one or each its own, by name.

    No chosen label means all. InputError for one that the map lacks.
    """
    there = [int(value) for value in np.unique(labels.labels_xyz) if value]
    unknown = [value for value in chosen if value not in there]
    if unknown or not there:
        problem = f"has no label {unknown[0]}" if unknown else "holds no label"
        raise InputError(source, problem, f"It has {', '.join(map(str, there[:20])) or 'none'}")
    wanted = list(chosen) or there
    if not each:
        return {"+".join(map(str, wanted)): np.isin(labels.labels_xyz, wanted)}
    masks = {str(value): labels.labels_xyz == value for value in wanted}
    return {name: mask for name, mask in masks.items() if mask.sum() > LEAST_VOXELS}
