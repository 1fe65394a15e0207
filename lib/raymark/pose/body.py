"""A CT as the refinement renders it: coarse voxels, derivatives, and where the body goes on beyond it.

A CT is nearly always shorter than the body. Where tissue touches a face of the volume, the face cuts
the body, and its edge is no anatomy. The tissue at such a face is carried on outwards; a ray that meets
what is carried on shows something that the CT lacks.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_fill_holes

from raymark.geometry.camera import Camera
from raymark.pose._rays import FIELDS, cast
from raymark.projectors.joseph import BORDER
from raymark.rendering.physics import MATERIALS, densities_from_hu, mass_attenuation

HIGHEST_HU = 1500  # metal counts as dense bone: its shadow is far from linear
TISSUE_FROM_HU = -500
BEYOND_VOXEL_MM, BEYOND_MM = 15.0, 300.0
LEAST_CUT_MM2 = 400.0  # a smaller touch, such as a finger's or a tube's, hardly shows
LACKING_MM = 10.0  # of tissue, with which a ray has lost all weight
THROUGH = 0.1  # weight of rays that cross a cut face head on: all miss about as much
BEYOND_PX = 4  # the weights change slowly


@dataclass(frozen=True)
class Motions:
    """Six motions of the body about `centre_mm` (3,): turns (6, 3) in rad and shifts (6, 3) in mm.

    All are in the world's frame: X goes to X + turn × (X − centre) + shift.
    """

    centre_mm: np.ndarray
    turn: np.ndarray
    shift: np.ndarray


class Grid:
    """Values (x, y, z) on voxels, cast along rays together with their derivatives."""

    def __init__(self, values_xyz: np.ndarray, affine: np.ndarray):
        self.values_xyz, self.affine = np.asarray(values_xyz, np.float32), affine
        self._padded = np.ascontiguousarray(np.pad(self.values_xyz, BORDER))
        self._to_voxel = np.linalg.inv(affine)

    def cast(
        self, camera: Camera, wanted_yx: np.ndarray, motions: Motions | None = None
    ) -> np.ndarray:
        """Return line integrals and their derivatives by the motions (row, column, 7), float32."""
        linear, shift = self._to_voxel[:3, :3], self._to_voxel[:3, 3]
        source, fields, turns = camera.source_world_mm, np.zeros((6, 3)), np.zeros((6, 3, 3))
        if motions is not None:
            at_source = np.cross(motions.turn, source - motions.centre_mm) + motions.shift
            fields = at_source @ linear.T
            turned = np.cross(motions.turn[:, None], camera.pixel_to_ray.T).transpose(0, 2, 1)
            turns = linear @ turned
        out = np.empty((*camera.shape_yx, FIELDS), np.float32)
        cast(
            self._padded,
            linear @ source + shift + BORDER,
            np.ascontiguousarray(linear @ camera.pixel_to_ray),
            np.linalg.inv(camera.K),
            np.ascontiguousarray(fields),
            np.ascontiguousarray(turns),
            wanted_yx,
            out,
        )
        return out


class Beyond:
    """Where the body goes on beyond a CT: for each axis of the volume, behind its two faces."""

    def __init__(self, hu_xyz: np.ndarray, affine: np.ndarray):
        spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
        size_mm = spacing_mm * hu_xyz.shape
        shape = np.maximum(np.rint(size_mm / BEYOND_VOXEL_MM).astype(int), 2)
        step = np.array(hu_xyz.shape) / shape
        rim = np.ceil(BEYOND_MM / (step * spacing_mm)).astype(int)
        everywhere = np.pad(
            _cut_tissue(hu_xyz, spacing_mm, shape), [(n, n) for n in rim], mode="edge"
        )
        outside = [(i < n) | (i >= n + size)
                   for i, n, size in zip(np.indices(everywhere.shape), rim, shape, strict=True)]  # fmt: skip
        coarse = affine.copy()
        coarse[:3, :3] = affine[:3, :3] * step
        coarse[:3, 3] += affine[:3, :3] @ ((step - 1) / 2 - rim * step)
        self.axes = affine[:3, :3] / spacing_mm
        lacking = [everywhere * out for out in outside]
        self.grids = [Grid(share, coarse) if share.any() else None for share in lacking]

    def weight(self, camera: Camera) -> np.ndarray | None:
        """Return the weight (row, column) of each ray, 0 to 1; None where the CT is whole.

        Faces that the beam crosses head on take something from every ray, and their own edges are not
        seen: rays through them keep a small weight, which counts where there are no others.
        """
        if not any(self.grids):
            return None
        height, width = (-(-size // BEYOND_PX) + 1 for size in camera.shape_yx)
        small = Camera(
            np.diag([1 / BEYOND_PX, 1 / BEYOND_PX, 1]) @ camera.K,
            camera.world_to_camera,
            height,
            width,
        )
        everything = np.ones((height, width), dtype=bool)
        head_on = int(np.abs(self.axes.T @ camera.world_to_camera[2, :3]).argmax())
        weight = np.ones((height, width), np.float32)
        for axis, grid in enumerate(self.grids):
            if grid is not None:
                lacking_mm = grid.cast(small, everything)[..., 0]
                least = THROUGH if axis == head_on else 0.0
                weight *= np.clip(1 - lacking_mm / LACKING_MM, least, 1)
        return enlarged(weight, camera.shape_yx)


def _cut_tissue(hu_xyz: np.ndarray, spacing_mm: np.ndarray, shape_xyz: np.ndarray) -> np.ndarray:
    """Return, on a coarse grid, the share of the body in the outermost voxels; inner ones are zero.

    What is enclosed, such as lungs, is body too.
    """
    cut = np.zeros(shape_xyz, np.float32)
    for axis in range(3):
        area_mm2 = np.prod(np.delete(spacing_mm, axis))
        for end in (0, -1):
            tissue = np.take(hu_xyz, end, axis=axis) > TISSUE_FROM_HU
            if tissue.sum() * area_mm2 > LEAST_CUT_MM2:
                share = _binned(binary_fill_holes(tissue), np.delete(shape_xyz, axis))
                face = tuple(end if a == axis else slice(None) for a in range(3))
                cut[face] = np.maximum(cut[face], share)
    return cut


def _binned(mask: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Return the means of a mask over `shape` bins of nearly equal size."""
    share: np.ndarray = mask.astype(np.float32)
    for axis, count in enumerate(shape):
        starts = np.arange(count) * mask.shape[axis] // count
        sizes = np.diff([*starts, mask.shape[axis]])
        share = np.add.reduceat(share, starts, axis=axis) / np.expand_dims(sizes, 1 - axis)
    return share


def enlarged(small: np.ndarray, shape_yx: tuple[int, int]) -> np.ndarray:
    """Return an image sampled at every `BEYOND_PX`-th pixel, interpolated to all."""
    for axis, size in enumerate(shape_yx):
        at, part = np.divmod(np.arange(size), BEYOND_PX)
        part = np.expand_dims((part / BEYOND_PX).astype(np.float32), 1 - axis)
        small = np.take(small, at, axis) * (1 - part) + np.take(small, at + 1, axis) * part
    return small


def attenuation(hu_xyz: np.ndarray, energy_kev: float) -> np.ndarray:
    """Return the attenuation (x, y, z) of a CT at one energy, float32 per mm."""
    cm_per_mm = 0.1
    by_density = [mass_attenuation(material, np.array([energy_kev]))[0] for material in MATERIALS]
    weights = np.array(by_density, dtype=np.float32) * np.float32(cm_per_mm)
    every_hu = np.arange(np.iinfo(np.int16).min, HIGHEST_HU + 1, dtype=np.int16)
    table = np.tensordot(weights, densities_from_hu(every_hu), 1)
    return table[np.minimum(hu_xyz, HIGHEST_HU).astype(np.int32) - every_hu[0]]


def coarsened(
    density_xyz: np.ndarray, affine: np.ndarray, spacing_mm: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the means over blocks of voxels about `spacing_mm` long, and their affine."""
    block = np.rint(spacing_mm / np.linalg.norm(affine[:3, :3], axis=0)).astype(int)
    block = np.maximum(block, 1)
    rest = -np.array(density_xyz.shape) % block
    if (block > 1).any():
        density_xyz = pooled(np.pad(density_xyz, [(0, n) for n in rest]), block)
    coarse = affine.copy()
    coarse[:3, :3] = affine[:3, :3] * block
    coarse[:3, 3] += affine[:3, :3] @ ((block - 1) / 2)
    return density_xyz, coarse


def pooled(array: np.ndarray, factor: int | np.ndarray) -> np.ndarray:
    """Return the means over blocks of `factor` (one for all axes, or one each); a rest is cut off."""
    exact = np.result_type(array, np.float32).type
    for axis, size in enumerate(np.broadcast_to(factor, array.ndim)):
        whole = array.shape[axis] // size * size
        before = (slice(None),) * axis
        total = array[(*before, slice(0, whole, size))].astype(exact)
        for offset in range(1, size):
            total += array[(*before, slice(offset, whole, size))]
        array = total / exact(size)
    return array
