"""A pose refined until the X-ray rendered from the CT looks like the X-ray at hand.

From a pose near the truth, such as one from landmarks, the correlation of the gradients of both
images (Penney et al. 1998) is raised by Gauss–Newton steps with Levenberg's damping, from coarse
images to finer ones. Edges decide, so that neither the brightness nor the spectrum need agree. Each
pixel's gradients are divided by their size in the X-ray plus the mean size: else a few pixels of metal,
or of noise behind much tissue, would outweigh the anatomy. Pixels that are no X-ray and rays that meet
what the CT lacks (`raymark.pose.body`) carry no weight. Scatter adds a smooth background to an X-ray, which
makes bodies look nearer or farther than they are; at last, where depth is decided, both images are compared
without their means over a window. Where that still moves the pose across the beam, it is not the background
that is in the way, but something else that the CT lacks, and the pose stays.

Several X-rays of one body are refined together: it is the body that moves, before all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from scipy.ndimage import binary_erosion, correlate1d, gaussian_filter1d
from scipy.spatial.transform import Rotation

from raymark.config.dataset import Physics
from raymark.ct import Volume
from raymark.geometry.camera import Camera
from raymark.metrics.pose import mtre_mm
from raymark.pose._rays import FIELDS, products
from raymark.pose.body import Beyond, Grid, Motions, attenuation, coarsened, pooled
from raymark.pose.shot import Shot
from raymark.pose.solve import project_with_jacobian
from raymark.rendering.physics import spectrum_of


class Level(NamedTuple):
    """Images with px, and voxels, of `spacing_mm` at the patient; so many renderings at most.

    They lose their means over a Gaussian window of the deviation `window_mm`; 0: they keep them.
    """

    spacing_mm: float
    renderings: int
    window_mm: float = 0.0


LEVELS = (Level(12.0, 12), Level(6.0, 12), Level(3.0, 8), Level(3.0, 8, window_mm=10.0))
LONGEST = 3.0  # Gauss–Newton steps at once
CONVERGED_PX = 2e-3  # level px by which a step moves the landmarks
FARTHEST_MM = 120.0  # from the start, where no refinement leads rightly
SETTLED_MM = 1.0  # across the beam, by which images without a background may still move the pose
NEAREST_MM = 20.0  # to the source, where a landmark may be
EDGE_PX = 2  # from what is no X-ray, within which an edge may be its border


class Weighing(Protocol):
    """What tells how much each ray of a camera counts."""

    def weight(self, camera: Camera) -> np.ndarray | None: ...


class Registration:
    """A CT as X-rays see it; one serves all views of a subject, and several threads."""

    coarse: Sequence[Level] = LEVELS[:2]  # where the search for a pose is done
    fine: Sequence[Level] = LEVELS[2:]  # and where it ends

    def __init__(self, volume: Volume, physics: Physics):
        density = attenuation(volume.hu_xyz, spectrum_of(physics).mean_kev), volume.affine
        self.beyond: Weighing = Beyond(volume.hu_xyz, volume.affine)
        self.grids = pyramid(*density)

    def refined(
        self,
        shots: Sequence[Shot],
        poses: Sequence[np.ndarray],
        points_world_mm: np.ndarray,
        levels: Sequence[Level] = LEVELS,
    ) -> list[np.ndarray]:
        """Return the poses (4, 4) near `poses` at which the CT looks most like the shots.

        All move together. The landmarks (n, 3) say what part of the body counts: steps are measured by
        how far they move in the images. Where they run away nothing was found: `poses` are returned.
        """
        motion = np.eye(4)
        for spacing_mm, renderings, window_mm in levels:
            fit = self.fit(shots, poses, points_world_mm, spacing_mm, window_mm)
            before, motion = motion, fit.improved(motion, renderings)
            moved = [across_mm(pose @ before, pose @ motion, points_world_mm) for pose in poses]
            if window_mm and max(moved) > SETTLED_MM:
                motion = before
            if mtre_mm(motion, np.eye(4), points_world_mm) > FARTHEST_MM:
                return list(poses)
        return [pose @ motion for pose in poses]

    def fit(
        self,
        shots: Sequence[Shot],
        poses: Sequence[np.ndarray],
        points_world_mm: np.ndarray,
        spacing_mm: float,
        window_mm: float = 0.0,
    ) -> "Fit":
        """Return the comparison of shots and CT at one resolution."""
        grid, level = self.grids[spacing_mm], (spacing_mm, window_mm)
        views = [
            View(grid, self.beyond, shot, pose, points_world_mm, *level)
            for shot, pose in zip(shots, poses, strict=True)
        ]
        return Fit(views, points_world_mm, spacing_mm)


def across_mm(pose: np.ndarray, other: np.ndarray, points_world_mm: np.ndarray) -> float:
    """Return how far apart points are under two poses (mean), but for depth, which hardly shows."""
    motion = (pose - other)[:2]
    return float(np.linalg.norm(points_world_mm @ motion[:, :3].T + motion[:, 3], axis=-1).mean())


def pyramid(density_xyz: np.ndarray, affine: np.ndarray) -> dict[float, Grid]:
    """Return a density at each of `LEVELS`, by the spacing in mm."""
    density, grids = (density_xyz, affine), {}
    for spacing_mm in sorted({level.spacing_mm for level in LEVELS}):
        density = coarsened(*density, spacing_mm)
        grids[spacing_mm] = Grid(*density)
    return grids


@dataclass(frozen=True)
class Comparison:
    """One X-ray and the CT at one pose: edges, the rendering (row, column, 7) and each pixel's share."""

    truth: np.ndarray
    rendered: np.ndarray
    share_yx: np.ndarray


class View:
    """One X-ray at one resolution, taken at `pose` but for how the body moves."""

    def __init__(
        self,
        grid: Grid,
        beyond: Weighing,
        shot: Shot,
        pose: np.ndarray,
        points_world_mm: np.ndarray,
        spacing_mm: float,
        window_mm: float,
    ):
        depth_mm = (pose[2, :3] @ points_world_mm.T).mean() + pose[2, 3]
        factor = max(1, round(spacing_mm * abs(shot.K[1, 1]) / depth_mm))
        self.grid, self.beyond, self.pose = grid, beyond, pose
        self.K = shrunk(shot.K, factor)
        image, valid = pooled(shot.image_yx, factor), pooled(shot.valid_yx, factor) == 1
        self.valid_yx = binary_erosion(valid, np.ones((3, 3)), EDGE_PX, border_value=1)
        self.wanted_yx = valid
        self.window_px = window_mm / spacing_mm
        self.image = smoothed(np.where(valid, image, image[valid].mean()))
        alone = self.image[..., None]
        if self.window_px:
            alone = without_means(alone, valid, self.window_px)
        self.truth = edges(alone[..., 0])
        size = np.linalg.norm(self.truth, axis=-1)
        self.still_yx = np.zeros(valid.shape, np.float32)  # of what does not move with the body
        self.weight = 1 / (size + size[self.valid_yx].mean() + 1e-12)

    def camera(self, motion: np.ndarray) -> Camera:
        return Camera(self.K, self.pose @ motion, *self.valid_yx.shape)

    def compared(self, motion: np.ndarray, motions: Motions | None = None) -> Comparison:
        camera = self.camera(motion)
        share, seen = self.valid_yx.astype(np.float32), self.beyond.weight(camera)
        if seen is not None:
            share *= seen
        rendered = self.grid.cast(camera, self.wanted_yx, motions)
        rendered[..., 0] += self.still_yx
        if not self.window_px:
            return Comparison(self.truth, rendered, share)
        fields = np.concatenate([self.image[..., None], rendered], axis=-1)
        fields = without_means(fields, share, self.window_px)
        return Comparison(edges(fields[..., 0]), np.ascontiguousarray(fields[..., 1:]), share)

    def products(
        self, comparison: Comparison, share_yx: np.ndarray, fields: int = FIELDS
    ) -> np.ndarray:
        """Return what X-ray, rendering and derivatives have in common: (1 + fields, 1 + fields)."""
        out = np.empty((1 + fields, 1 + fields))
        products(comparison.rendered, comparison.truth, self.weight, share_yx, fields, out)
        return out

    def told(self, comparison: Comparison) -> float:
        """Return the part of the X-ray's edges about which the CT says something, 0 to 1."""
        edges_yx = (self.truth**2).sum(axis=-1) * self.weight**2 * self.valid_yx
        return float((edges_yx * (comparison.share_yx > 0)).sum() / (edges_yx.sum() + 1e-30))

    def correlation(self, comparison: Comparison, share_yx: np.ndarray) -> float:
        return _correlation(self.products(comparison, share_yx, 1))


class Fit:
    """X-rays at one resolution.

    A step of the body is taken along six directions, along each of which the landmarks move by one
    px (root mean square) per unit, in unrelated ways. Depth, which hardly shows, is damped no more
    and no less than what shows well.
    """

    def __init__(self, views: Sequence[View], points_world_mm: np.ndarray, spacing_mm: float):
        self.views, self.points, self.spacing_mm = views, points_world_mm, spacing_mm

    def similarity(self, motion: np.ndarray) -> float:
        """Return the mean correlation of edges, −1 to 1, where the CT says something."""
        both = [(view, view.compared(motion)) for view in self.views]
        return float(np.mean([view.correlation(c, c.share_yx) for view, c in both]))

    def score(self, motion: np.ndarray) -> float:
        """Return the similarity, less where the CT says nothing about many of the edges."""
        both = [(view, view.compared(motion)) for view in self.views]
        scores = [v.correlation(c, c.share_yx) * np.sqrt(v.told(c)) for v, c in both]
        return float(np.mean(scores))

    def area_cm2(self) -> float:
        """Return how large, at the patient, the part of the X-rays is that was compared, unmoved."""
        shares = [view.compared(np.eye(4)).share_yx for view in self.views]
        px = sum(float(share.sum() / (share.max() + 1e-12)) for share in shares)
        return px * (self.spacing_mm / 10) ** 2

    def told(self) -> float:
        """Return the mean part of the X-rays' edges that the CT says something about, unmoved."""
        return float(np.mean([view.told(view.compared(np.eye(4))) for view in self.views]))

    def improved(self, motion: np.ndarray, renderings: int) -> np.ndarray:
        """Return a motion no less similar, found with so many renderings at most.

        Noise makes Gauss–Newton think that depth is better known than it is, and its steps too
        short; those that succeed are lengthened. Two poses are compared where both say something.
        """
        if not self._before_sources(motion):
            return motion
        damping, length = 1e-3, 1.0
        steps = self._steps(motion)
        here = [view.compared(motion, steps) for view in self.views]
        for _ in range(renderings - 1):
            normal, towards = self._normal_equations(here)
            if np.trace(normal) == 0:
                break  # nothing of the CT is in the image
            normal += damping * np.trace(normal) / 6 * np.eye(6)
            step = np.linalg.solve(normal, towards)
            trial = _moved(motion, steps, length * step)
            if not self._before_sources(trial):
                break
            there = [view.compared(trial, self._steps(trial)) for view in self.views]
            if self._gain(here, there) > 0:
                motion, here, steps = trial, there, self._steps(trial)
                damping, length = max(damping / 10, 1e-5), min(1.5 * length, LONGEST)
            elif length > 1:
                length = 1.0
            else:
                damping *= 10
            if np.linalg.norm(step) < CONVERGED_PX:
                break
        return motion

    def _before_sources(self, motion: np.ndarray) -> bool:
        """Tell whether all landmarks lie between source and detector, and not at the source itself."""
        poses = [view.pose @ motion for view in self.views]
        depths = [self.points @ pose[2, :3] + pose[2, 3] for pose in poses]
        return all(depth.min() > NEAREST_MM for depth in depths)

    def _steps(self, motion: np.ndarray) -> Motions:
        """Return the six motions that move the landmarks by one px each, from where they now are."""
        square = np.zeros((6, 6))
        for view in self.views:
            pose = view.pose @ motion
            by_camera = project_with_jacobian(view.K, pose, self.points)[1]
            jacobian = by_camera @ np.kron(np.eye(2), pose[:3, :3])
            square += np.einsum("nij,nik->jk", jacobian, jacobian) / len(self.points)
        unit = np.linalg.inv(np.linalg.cholesky(square))
        return Motions(self.points.mean(axis=0), unit[:, :3], unit[:, 3:])

    def _normal_equations(self, here: Sequence[Comparison]) -> tuple[np.ndarray, np.ndarray]:
        """Return the Gauss–Newton matrix (6, 6) and right side (6,) of what the edges lack.

        The sum of squares of normalised edges is twice the correlation's distance from one.
        """
        normal, towards = np.zeros((6, 6)), np.zeros(6)
        for view, comparison in zip(self.views, here, strict=True):
            common = view.products(comparison, comparison.share_yx)
            size = np.sqrt(np.diag(common)[:2]) + 1e-12
            by_truth, by_self = common[0, 2:] / size[0], common[1, 2:] / size[1]
            normal += (common[2:, 2:] - np.outer(by_self, by_self)) / size[1] ** 2
            towards += (by_truth - _correlation(common) * by_self) / size[1]
        return normal, towards

    def _gain(self, here: Sequence[Comparison], there: Sequence[Comparison]) -> float:
        """Return how much more alike the images are `there`."""
        gain = 0.0
        for view, one, other in zip(self.views, here, there, strict=True):
            share = one.share_yx * other.share_yx
            gain += view.correlation(other, share) - view.correlation(one, share)
        return gain


def _moved(motion: np.ndarray, steps: Motions, step: np.ndarray) -> np.ndarray:
    """Return the motion (4, 4) after a step (6,) of the body along `steps`."""
    further = np.eye(4)
    further[:3, :3] = Rotation.from_rotvec(step @ steps.turn).as_matrix()
    further[:3, 3] = steps.centre_mm + step @ steps.shift - further[:3, :3] @ steps.centre_mm
    return motion @ further


def _correlation(common: np.ndarray) -> float:
    """Return the correlation of the first two of weighted products, 0 where one has no edges."""
    size = common[0, 0] * common[1, 1]
    return float(common[0, 1] / np.sqrt(size)) if size > 0 else 0.0


def edges(image_yx: np.ndarray) -> np.ndarray:
    """Return the central differences (row, column, yx) of an image; its rim has none."""
    both = np.zeros((*image_yx.shape, 2))
    both[1:-1, :, 0] = image_yx[2:] - image_yx[:-2]
    both[:, 1:-1, 1] = image_yx[:, 2:] - image_yx[:, :-2]
    return both


def without_means(fields: np.ndarray, share_yx: np.ndarray, window_px: float) -> np.ndarray:
    """Take from fields (row, column, n) their means over a Gaussian window, pixels weighed by their share.

    Its ends are soft: those of a square one would be seen as edges about everything bright.
    """

    def summed(values: np.ndarray) -> np.ndarray:
        for axis in (0, 1):
            values = gaussian_filter1d(values, window_px, axis=axis, mode="constant", truncate=2.5)
        return values

    share = share_yx[..., None].astype(float)
    return fields - summed(fields * share) / np.maximum(summed(share), 1e-12)


def shrunk(K: np.ndarray, factor: int) -> np.ndarray:
    """Return `K` (3, 3) for an image whose pixels are the means of `factor` × `factor` ones."""
    middle = (factor - 1) / 2
    return np.array([[1, 0, -middle], [0, 1, -middle], [0, 0, factor]]) / factor @ K


def smoothed(image_yx: np.ndarray) -> np.ndarray:
    """Blur an image as interpolation between voxels as large as its pixels blurs a volume.

    Else bodies in the rendered image look wider than in the X-ray, and the pose too distant: a hat
    two pixels wide has the variance 1/6 px², and so has this kernel.
    """
    for axis in (0, 1):
        image_yx = correlate1d(image_yx, [1 / 12, 10 / 12, 1 / 12], axis, mode="nearest")
    return image_yx
