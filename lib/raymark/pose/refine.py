"""A pose refined until the X-ray rendered from the CT looks like the X-ray at hand.

From a pose near the truth, such as one from landmarks, the correlation of the gradients of both
images (Penney et al. 1998) is raised by Gauss–Newton steps with Levenberg's damping, from coarse
images to finer ones. Edges decide, so that neither the brightness nor the spectrum need agree. Each
pixel's gradients are divided by their size in the X-ray plus the mean size:
else a few pixels of metal, or of noise behind much tissue, would outweigh the anatomy.

The derivatives of the rendered image by the pose are rendered as well: where a body moves by a field
d, its density ρ changes by −∇ρ · d, and for a rigid motion d = ω × x + v. Six line integrals, those of
∇ρ and of x × ∇ρ, thus give a pixel's derivative by any of the six coordinates of a pose.
"""

import numpy as np
from scipy.ndimage import correlate1d

from raymark.config.dataset import Physics
from raymark.ct import Volume
from raymark.geometry.camera import Camera
from raymark.pose.solve import moved, project_with_jacobian
from raymark.projectors.trilinear import Trilinear
from raymark.rendering.physics import MATERIALS, densities_from_hu, mass_attenuation, spectrum_of

LEVELS = ((12.0, 12), (6.0, 12), (3.0, 10))  # px and voxels in mm at the patient, renderings
HIGHEST_HU = 1500  # metal counts as dense bone: its shadow is far from linear
LONGEST = 3.0  # Gauss–Newton steps at once
CONVERGED_PX = 2e-3  # level px by which a step moves the landmarks


class Registration:
    """A CT as X-rays see it; one serves all views of a subject, and several threads."""

    def __init__(self, volume: Volume, physics: Physics):
        attenuation_xyz = attenuation(
            np.minimum(volume.hu_xyz, np.int16(HIGHEST_HU)), spectrum_of(physics).mean_kev
        )
        self.levels = [
            (_Renderer(attenuation_xyz, volume.affine, spacing_mm), spacing_mm, renderings)
            for spacing_mm, renderings in LEVELS
        ]

    def refined(
        self,
        image_yx: np.ndarray,
        K: np.ndarray,
        world_to_camera: np.ndarray,
        points_world_mm: np.ndarray,
    ) -> np.ndarray:
        """Return the pose (4, 4) near `world_to_camera` at which the CT looks most like the image.

        `image_yx` is a log X-ray, dense is high, any scale and offset. The landmarks (n, 3) say what
        part of the body counts: steps are measured by how far they move in the image.
        """
        for renderer, spacing_mm, renderings in self.levels:
            depth_mm = (world_to_camera[2, :3] @ points_world_mm.T).mean() + world_to_camera[2, 3]
            factor = max(1, round(spacing_mm * K[1, 1] / depth_mm))
            image = smoothed(pooled(image_yx, factor))
            fit = _Fit(renderer, image, shrunk(K, factor), points_world_mm)
            world_to_camera = fit.improved(world_to_camera, renderings)
        return world_to_camera


class _Renderer:
    """The CT at one resolution, rendered together with what its derivatives need."""

    def __init__(self, attenuation_xyz: np.ndarray, affine: np.ndarray, spacing_mm: float):
        density_xyz, affine = _coarsened(attenuation_xyz, affine, spacing_mm)
        self.affine = affine
        by_voxel = np.stack(np.gradient(density_xyz))
        gradient = np.tensordot(np.linalg.inv(affine[:3, :3]).T, by_voxel, 1)
        index = np.indices(density_xyz.shape).astype(float)
        self.middle_mm = affine[:3, :3] @ index.mean(axis=(1, 2, 3)) + affine[:3, 3]
        arm = np.tensordot(affine[:3, :3], index, 1) + affine[:3, 3, None, None, None]
        arm -= self.middle_mm[:, None, None, None]
        turning = np.cross(arm, gradient, axis=0)
        fields = np.concatenate([density_xyz[None], gradient, turning]).astype(np.float32)
        step_mm = np.linalg.norm(affine[:3, :3], axis=0).min()
        self.projector = Trilinear(fields, affine, step_mm=step_mm)

    def render(self, camera: Camera, centre_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the image (y, x) and its derivatives (6, y, x) by a step of `pose.moved` about
        `centre_mm` (3,)."""
        image_yx, *fields = self.projector.project(camera).astype(float)
        shift, turn = np.stack(fields[:3]), np.stack(fields[3:])
        lever = (centre_mm - self.middle_mm)[:, None, None]
        turn -= np.cross(np.broadcast_to(lever, shift.shape), shift, axis=0)
        to_camera = camera.world_to_camera[:3, :3]
        return image_yx, -np.concatenate([np.tensordot(to_camera, f, 1) for f in (turn, shift)])


class _Fit:
    """One X-ray at one resolution.

    A step of the pose is taken along six directions, along each of which the landmarks move by one
    px (root mean square) per unit, in unrelated ways. Depth, which hardly shows, is damped no more
    and no less than what shows well.
    """

    def __init__(
        self,
        renderer: _Renderer,
        image_yx: np.ndarray,
        K: np.ndarray,
        points_world_mm: np.ndarray,
    ):
        self.renderer, self.K, self.points = renderer, K, points_world_mm
        self.shape_yx = image_yx.shape
        truth = gradients(image_yx)
        size = np.linalg.norm(truth, axis=0)
        self.weight_yx = 1 / (size + size.mean() + 1e-12)
        self.truth = normalised(truth * self.weight_yx)

    def improved(self, pose: np.ndarray, renderings: int) -> np.ndarray:
        """Return a pose no less similar, found with so many renderings at most.

        Noise makes Gauss–Newton think that depth is better known than it is, and its steps too
        short; those that succeed are lengthened.
        """
        damping, length, unit = 1e-3, 1.0, self._units(pose)
        residual, by_unit = self._compared(pose, unit)
        for _ in range(renderings - 1):
            normal = by_unit.T @ by_unit
            normal += damping * np.trace(normal) / 6 * np.eye(6)
            step = np.linalg.solve(normal, by_unit.T @ residual)
            trial = moved(pose, length * unit @ step, self.points)
            trial_residual, trial_by_unit = self._compared(trial, unit)
            if trial_residual @ trial_residual < residual @ residual:
                pose, residual, by_unit = trial, trial_residual, trial_by_unit
                damping, length = max(damping / 10, 1e-5), min(1.5 * length, LONGEST)
            elif length > 1:
                length = 1.0
            else:
                damping *= 10
            if np.linalg.norm(step) < CONVERGED_PX:
                break
        return pose

    def _units(self, pose: np.ndarray) -> np.ndarray:
        """Return the steps (6, unit) that move the landmarks by one px each."""
        _, jacobian = project_with_jacobian(self.K, pose, self.points)
        square = np.einsum("nij,nik->jk", jacobian, jacobian) / len(self.points)
        return np.linalg.inv(np.linalg.cholesky(square)).T

    def _compared(self, pose: np.ndarray, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what the normalised gradients lack (n,), and their derivatives (n, unit).

        The sum of squares is four times the mean correlation's distance from one.
        """
        centre_mm = self.points.mean(axis=0)
        image_yx, by_step = self.renderer.render(Camera(self.K, pose, *self.shape_yx), centre_mm)
        rendered = gradients(image_yx) * self.weight_yx
        by_unit = gradients(np.tensordot(unit.T, by_step, 1)) * self.weight_yx
        size = np.linalg.norm(rendered, axis=(-2, -1), keepdims=True) + 1e-12
        shape = rendered / size
        along = (by_unit * shape).sum(axis=(-2, -1), keepdims=True)
        by_unit = (by_unit - along * shape) / size
        return (self.truth - shape).ravel(), by_unit.reshape(6, -1).T


def gradients(image_yx: np.ndarray) -> np.ndarray:
    """Return the central differences (..., axis, y, x) of images (..., y, x), less their mean."""
    along_y = image_yx[..., 2:, 1:-1] - image_yx[..., :-2, 1:-1]
    along_x = image_yx[..., 1:-1, 2:] - image_yx[..., 1:-1, :-2]
    both = np.stack([along_y, along_x], axis=-3)
    return both - both.mean(axis=(-2, -1), keepdims=True)


def normalised(images: np.ndarray) -> np.ndarray:
    """Return images (..., y, x) of unit norm."""
    return images / (np.linalg.norm(images, axis=(-2, -1), keepdims=True) + 1e-12)


def shrunk(K: np.ndarray, factor: int) -> np.ndarray:
    """Return `K` (3, 3) for an image whose pixels are the means of `factor` × `factor` ones."""
    middle = (factor - 1) / 2
    return np.array([[1, 0, -middle], [0, 1, -middle], [0, 0, factor]]) / factor @ K


def pooled(array: np.ndarray, factor: int | np.ndarray) -> np.ndarray:
    """Return the means over blocks of `factor` (one for all axes, or one each); a rest is cut off."""
    factors = np.broadcast_to(factor, array.ndim)
    whole = [size // f for size, f in zip(array.shape, factors, strict=True)]
    cut = array[tuple(slice(0, n * f) for n, f in zip(whole, factors, strict=True))]
    blocks = cut.reshape([k for n, f in zip(whole, factors, strict=True) for k in (n, f)])
    return blocks.mean(axis=tuple(range(1, 2 * array.ndim, 2)), dtype=np.float64)


def smoothed(image_yx: np.ndarray) -> np.ndarray:
    """Blur an image as interpolation between voxels as large as its pixels blurs a volume.

    Else bodies in the rendered image look wider than in the X-ray, and the pose too distant: a hat
    two pixels wide has the variance 1/6 px², and so has this kernel.
    """
    for axis in (0, 1):
        image_yx = correlate1d(image_yx, [1 / 12, 10 / 12, 1 / 12], axis, mode="nearest")
    return image_yx


def attenuation(hu_xyz: np.ndarray, energy_kev: float) -> np.ndarray:
    """Return the attenuation (x, y, z) of a CT at one energy, float32 per mm."""
    cm_per_mm = 0.1
    by_density = [mass_attenuation(material, np.array([energy_kev]))[0] for material in MATERIALS]
    weights = np.array(by_density, dtype=np.float32) * np.float32(cm_per_mm)
    return np.tensordot(weights, densities_from_hu(hu_xyz), 1)


def _coarsened(
    density_xyz: np.ndarray, affine: np.ndarray, spacing_mm: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the means over blocks of voxels about `spacing_mm` long, and their affine.

    A rim of nothing is put around, so that the volume's own borders have a gradient.
    """
    block = np.rint(spacing_mm / np.linalg.norm(affine[:3, :3], axis=0)).astype(int)
    block = np.maximum(block, 1)
    rest = -np.array(density_xyz.shape) % block
    coarse_xyz = pooled(np.pad(density_xyz, [(0, n) for n in rest]), block)
    coarse = affine.copy()
    coarse[:3, :3] = affine[:3, :3] * block
    first_voxel = (block - 1) / 2 - block  # of the rim
    coarse[:3, 3] = affine[:3, :3] @ first_voxel + affine[:3, 3]
    return np.pad(coarse_xyz, 1), coarse
