"""Poses found from poor starts, or from none: many tries on coarse images, the best refined.

From a start, the refinement may end in a wrong place that looks alike; so it starts again from poses
around, and what looks most like the X-ray counts. From nothing, the CT is rendered from directions over
the view sphere; where it lies in the image is found by correlation of edges for all shifts at once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft

from raymark.core.seeds import generator
from raymark.ct import Volume
from raymark.geometry.camera import Camera, carm_rotation
from raymark.metrics.pose import mtre_mm
from raymark.pose.body import TISSUE_FROM_HU
from raymark.pose.refine import LEVELS, Registration, across_mm, edges
from raymark.pose.shot import Shot
from raymark.pose.solve import moved

Poses = list[np.ndarray]
SCORED_AT_MM, FINEST_MM = LEVELS[1].spacing_mm, LEVELS[-1].spacing_mm
RESTARTS_MM = (8.0, 16.0, 24.0) * 2
ROUNDS = 3
SAME_MM = 3.0  # ends nearer to each other are one
PRIMARY_DEG, SECONDARY_DEG = range(-180, 180, 20), (-40, -20, 0, 20, 40)
DEPTHS = (0.65, 0.75, 0.85)  # of the source from the patient, by that from the detector
KEPT, BEST = 24, 4
FINISHED = 2
SAMPLED, BONE_FROM_HU = 200, 200


@dataclass(frozen=True)
class Found:
    """The most similar poses found, with what tells whether to trust them (`raymark.pose.trust`).

    `similarity` is that of the finest images, `told` the part of their edges the CT says something about,
    `area_cm2` how much of them was compared; `agreement` the share of restarts that ended there too,
    `moved_mm` how far the start was off.
    """

    poses: Poses
    similarity: float
    told: float
    area_cm2: float
    agreement: float
    moved_mm: float


def registered(
    registration: Registration,
    shots: Sequence[Shot],
    starts: Sequence[Poses],
    points_world_mm: np.ndarray,
) -> Found:
    """Refine the best of several starts (each one pose a shot), started anew from around its end.

    Where a restart ends in a better place, there are restarts from around that, too.
    """
    args = registration, shots, points_world_mm
    start, first, _ = max(((s, *_improved(*args, s)) for s in starts), key=lambda end: end[-1])
    rng, ends = generator("restarts of a registration"), [_improved(*args, first)]
    for _ in range(ROUNDS):
        middle = max(ends, key=lambda end: end[-1])[0]
        around = [
            _improved(*args, _displaced_together(middle, points_world_mm, target_mm, rng))
            for target_mm in RESTARTS_MM
        ]
        ends += around
        better = max(ends, key=lambda end: end[-1])[0]
        if mtre_mm(better[0], middle[0], points_world_mm) < SAME_MM:
            break
    finished = []
    for poses in _apart(ends, points_world_mm)[:FINISHED]:
        final = registration.refined(shots, poses, points_world_mm, registration.fine)
        fit = registration.fit(shots, final, points_world_mm, FINEST_MM)
        finished.append((fit.score(np.eye(4)), fit, final, poses))
    _, fit, final, coarse = max(finished, key=lambda end: end[0])
    near = [across_mm(end[0], coarse[0], points_world_mm) < SAME_MM for end, _ in around]
    moved_mm = mtre_mm(start[0], final[0], points_world_mm)
    alike, told, area_cm2 = fit.similarity(np.eye(4)), fit.told(), fit.area_cm2()
    return Found(final, alike, told, area_cm2, float(np.mean(near)), moved_mm)


def _displaced_together(
    poses: Poses, points_world_mm: np.ndarray, target_mm: float, rng: np.random.Generator
) -> Poses:
    motion = np.linalg.inv(poses[0]) @ displaced(poses[0], points_world_mm, target_mm, rng)
    return [pose @ motion for pose in poses]


def _apart(ends: Sequence[tuple[Poses, float]], points_world_mm: np.ndarray) -> list[Poses]:
    """Return the ends that are not one, the most similar first."""
    kept: list[Poses] = []
    for poses, _ in sorted(ends, key=lambda end: -end[1]):
        if all(mtre_mm(poses[0], other[0], points_world_mm) > SAME_MM for other in kept):
            kept.append(poses)
    return kept


def from_nothing(
    registration: Registration,
    shot: Shot,
    points_world_mm: np.ndarray,
    depths_mm: Iterable[float],
) -> list[Poses]:
    """Return the few most similar poses over the view sphere, the camera upright, best first."""
    tries = [
        _shifted(registration, shot, points_world_mm.mean(axis=0), (primary, secondary), depth_mm)
        for primary in PRIMARY_DEG
        for secondary in SECONDARY_DEG
        for depth_mm in depths_mm
    ]
    kept = sorted(tries, key=lambda found: -found[1])[:KEPT]
    args = registration, [shot], points_world_mm
    ends = [_improved(*args, [pose]) for pose, _ in kept]
    return [poses for poses, _ in sorted(ends, key=lambda end: -end[1])[:BEST]]


def sampled_points(volume: Volume) -> np.ndarray:
    """Return points (n, 3) spread over the bone of a CT, or over its tissue where it has little."""
    bone = volume.hu_xyz > BONE_FROM_HU
    return points_in(
        bone if bone.sum() > SAMPLED else volume.hu_xyz > TISSUE_FROM_HU, volume.affine
    )


def points_in(mask_xyz: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Return points (n, 3) in world mm spread over a mask."""
    inside = np.flatnonzero(mask_xyz)
    chosen = inside[:: max(1, len(inside) // SAMPLED)]
    index = np.column_stack(np.unravel_index(chosen, mask_xyz.shape))
    return index @ affine[:3, :3].T + affine[:3, 3]


def displaced(
    pose: np.ndarray, points_world_mm: np.ndarray, target_mm: float, rng: np.random.Generator
) -> np.ndarray:
    """Return the pose turned and shifted so far that the points' mTRE is `target_mm`.

    A degree about any axis is as likely as a millimetre along any.
    """
    direction = rng.standard_normal(6)
    direction[:3] = np.deg2rad(direction[:3])
    size = 1.0
    for _ in range(20):
        trial = moved(pose, size * direction, points_world_mm)
        size *= target_mm / mtre_mm(trial, pose, points_world_mm)
    return moved(pose, size * direction, points_world_mm)


def _improved(
    registration: Registration, shots: Sequence[Shot], points_world_mm: np.ndarray, poses: Poses
) -> tuple[Poses, float]:
    """Return poses refined on coarse images, and their score."""
    poses = registration.refined(shots, poses, points_world_mm, registration.coarse)
    return poses, registration.fit(shots, poses, points_world_mm, SCORED_AT_MM).score(np.eye(4))


def _shifted(
    registration: Registration,
    shot: Shot,
    centre_mm: np.ndarray,
    angles_deg: tuple[float, float],
    depth_mm: float,
) -> tuple[np.ndarray, float]:
    """Return the pose of a direction with the best shift across the beam, and its correlation.

    The CT is rendered on a field twice as wide as the image, its centre in the middle; the window of the
    field whose edges are the image's tells where the centre lies in the image.
    """
    pose = np.eye(4)
    pose[:3, :3] = carm_rotation(*angles_deg)
    pose[:3, 3] = [0, 0, depth_mm] - pose[:3, :3] @ centre_mm
    view = registration.fit([shot], [pose], centre_mm[None], LEVELS[0].spacing_mm).views[0]
    height, width = view.valid_yx.shape
    K = view.K.copy()
    K[:2, 2] = width - 0.5, height - 0.5
    camera = Camera(K, pose, 2 * height, 2 * width)
    found = edges(view.grid.cast(camera, np.ones(camera.shape_yx, dtype=bool))[..., 0])
    size = np.linalg.norm(found, axis=-1)
    share = view.beyond.weight(camera)
    share = np.ones(camera.shape_yx) if share is None else share.astype(float)
    found *= (share / (size + size.mean() + 1e-12))[..., None]
    truth = view.truth * (view.weight * view.valid_yx)[..., None]
    similar = _correlations(truth, view.valid_yx, found, share)
    row, column = np.unravel_index(similar.argmax(), similar.shape)
    centre_px = K[:2, 2] - [column, row]
    pose[:2, 3] += (centre_px - view.K[:2, 2]) / np.diag(view.K)[:2] * depth_mm
    return pose, float(similar[row, column])


def _correlations(
    truth: np.ndarray, valid_yx: np.ndarray, found: np.ndarray, share_yx: np.ndarray
) -> np.ndarray:
    """Return how alike an image's edges (h, w, yx) and each window's of a field (2h, 2w, yx) are.

    A correlation times the root of the part of the image's edges about which the window says something.
    """
    height, width = valid_yx.shape

    def summed(image: np.ndarray, field: np.ndarray) -> np.ndarray:
        spectrum = np.conj(fft.rfft2(image, share_yx.shape)) * fft.rfft2(field)
        return fft.irfft2(spectrum, share_yx.shape)[: height + 1, : width + 1]

    common = sum(summed(truth[..., axis], found[..., axis]) for axis in (0, 1))
    of_truth = (truth**2).sum()
    of_field = summed(valid_yx.astype(float), (found**2).sum(axis=-1))
    told = summed((truth**2).sum(axis=-1), share_yx) / of_truth
    enough = of_field > 1e-3 * of_field.max()
    size = np.sqrt(of_truth * np.maximum(of_field, 1e-30))
    return np.where(enough, common / size * np.sqrt(np.maximum(told, 0)), 0.0)
