"""Objects whose X-ray image is known exactly, and the volumes that sample them.

Nothing here uses the package's own projection code: rays come from solving the 3 × 4 projection
matrix for a world direction.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

from raymark.geometry.camera import Camera


@dataclass(frozen=True)
class Ellipsoid:
    """A solid ellipsoid: points ``centre_mm + axes_mm @ u`` with ``|u| <= 1``.

    The columns of `axes_mm` (3, 3) are its semi-axes, in any direction.
    """

    centre_mm: np.ndarray
    axes_mm: np.ndarray
    density: float = 1.0

    def line_integrals(self, camera: Camera) -> np.ndarray:
        """Return the exact image (row, column) in density times mm."""
        directions = ray_directions(camera)
        to_unit_ball = np.linalg.inv(self.axes_mm)
        source = to_unit_ball @ (source_position(camera) - self.centre_mm)
        along = directions @ to_unit_ball.T
        squared = (along**2).sum(axis=-1)
        half_chord = np.sqrt(np.maximum((along @ source) ** 2 / squared - source @ source + 1, 0))
        mm_per_unit = np.linalg.norm(directions, axis=-1) / np.sqrt(squared)
        return self.density * self.through_unit_ball(half_chord) * mm_per_unit

    def voxelised(
        self, shape_xyz: tuple[int, int, int], voxel_to_world: np.ndarray, supersampling: int = 4
    ) -> np.ndarray:
        """Return the mean density in each voxel (x, y, z), from `supersampling`³ points in it."""
        offsets = (np.arange(supersampling) + 0.5) / supersampling - 0.5
        index = np.stack(np.indices(shape_xyz), axis=-1).astype(np.float64)
        to_unit_ball = np.linalg.inv(self.axes_mm)
        matrix = to_unit_ball @ voxel_to_world[:3, :3]
        shift = to_unit_ball @ (voxel_to_world[:3, 3] - self.centre_mm)
        position = index @ matrix.T + shift
        total = np.zeros(shape_xyz)
        for offset in product(offsets, repeat=3):
            total += self.in_unit_ball(((position + matrix @ offset) ** 2).sum(axis=-1))
        return (self.density * total / supersampling**3).astype(np.float32)

    def in_unit_ball(self, squared_radius: np.ndarray) -> np.ndarray:
        """Return the relative density at a squared distance from the centre of the unit ball."""
        return (squared_radius <= 1).astype(np.float64)

    def through_unit_ball(self, half_chord: np.ndarray) -> np.ndarray:
        """Return the integral of `in_unit_ball` along a chord of the unit ball."""
        return 2 * half_chord


class SoftEllipsoid(Ellipsoid):
    """An ellipsoid whose density falls as 1 − |u|² to zero at its surface.

    Its image has a derivative everywhere; the solid one's has none at the silhouette.
    """

    def in_unit_ball(self, squared_radius: np.ndarray) -> np.ndarray:
        return np.maximum(1 - squared_radius, 0)

    def through_unit_ball(self, half_chord: np.ndarray) -> np.ndarray:
        return 4 / 3 * half_chord**3


def source_position(camera: Camera) -> np.ndarray:
    """Return the X-ray source (3,) in world mm: where P = K [R | t] vanishes."""
    P = camera.K @ camera.world_to_camera[:3]
    return -np.linalg.solve(P[:, :3], P[:, 3])


def ray_directions(camera: Camera) -> np.ndarray:
    """Return the world direction (row, column, 3) of every pixel's ray, unnormalised."""
    y, x = np.indices(camera.shape_yx)
    pixels = np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3).astype(np.float64)
    P = camera.K @ camera.world_to_camera[:3]
    return np.linalg.solve(P[:, :3], pixels.T).T.reshape(*camera.shape_yx, 3)


def grid(
    codes: str,
    shape_xyz: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    centre_mm: np.ndarray,
    turn: np.ndarray | None = None,
) -> np.ndarray:
    """Return the affine (4, 4) of a voxel grid whose axes run towards `codes`, e.g. "LPS" or "SAR".

    `turn` (3, 3) rotates the whole grid about its centre and makes it oblique.
    """
    towards = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}
    axes = np.zeros((3, 3))
    for column, code in enumerate(codes):
        axes[towards[code], column] = 1.0 if code in "RAS" else -1.0
    if turn is not None:
        axes = turn @ axes
    affine = np.eye(4)
    affine[:3, :3] = axes * np.asarray(spacing_mm)
    affine[:3, 3] = centre_mm - affine[:3, :3] @ ((np.asarray(shape_xyz) - 1) / 2)
    return affine


def bead(
    shape_xyz: tuple[int, int, int],
    voxel_to_world: np.ndarray,
    centre_mm: np.ndarray,
    diameter_mm: float = 1.5,
) -> np.ndarray:
    """Return the density (x, y, z) of a ball of unit mass whose centre of mass is `centre_mm`.

    The ball is a cloud of points, symmetric about its centre; each point is shared among its eight
    neighbouring voxels by trilinear weights, which keep every first moment, so the voxels' centre of
    mass is exact however coarse or oblique the grid.
    """
    steps = np.linspace(-1, 1, 9) * diameter_mm / 2
    cloud_mm = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    cloud_mm = cloud_mm[np.linalg.norm(cloud_mm, axis=1) <= diameter_mm / 2 * 1.0001]
    world_to_voxel = np.linalg.inv(voxel_to_world)
    points = (centre_mm + cloud_mm) @ world_to_voxel[:3, :3].T + world_to_voxel[:3, 3]
    below = np.floor(points).astype(int)
    fraction = points - below
    density = np.zeros(shape_xyz)
    for corner in product((0, 1), repeat=3):
        weights = np.where(corner, fraction, 1 - fraction).prod(axis=1)
        np.add.at(density, tuple((below + corner).T), weights / len(points))
    return density.astype(np.float32)


def centre_of_mass(density_xyz: np.ndarray, voxel_to_world: np.ndarray) -> np.ndarray:
    """Return the centre of mass (3,) of a volume in world mm."""
    index = np.indices(density_xyz.shape).reshape(3, -1)
    mean = index @ density_xyz.ravel().astype(np.float64) / density_xyz.sum(dtype=np.float64)
    return voxel_to_world[:3, :3] @ mean + voxel_to_world[:3, 3]


def centroid_px(image_yx: np.ndarray) -> np.ndarray:
    """Return the intensity centroid (x, y) of an image in px."""
    image = image_yx.astype(np.float64)
    y, x = np.indices(image.shape)
    return np.array([(image * x).sum(), (image * y).sum()]) / image.sum()
