"""The pose of an X-ray from landmarks seen in it and their known places in the CT.

Bier 2018 (section 3.2) finds the pose "in closed form" from pairs of 2D and 3D landmarks, as Hartley
and Zisserman (Multiple View Geometry, 2nd edition, algorithm 7.1) do. `closed_form` is that, for a
known `K`; `robust` is what follows where some landmarks are wrong. Poses are `world_to_camera`
(4, 4) in mm, rotations proper, as in `raymark.geometry.camera`; `K` may hold either sign, so mirrored views
need nothing special. Everything is float64.
"""

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from raymark.geometry.camera import project

LEAST_LANDMARKS = 6  # a projection matrix has 11 degrees of freedom, a landmark gives 2 equations

SUBSETS = 30  # with a quarter of 16 landmarks wrong, 97 % of the draws hold a clean subset
POLISHED = 2
SCALE_ROUNDS = 3
STEPS = 12
LEAST_FALL = 1e-6  # share of the cost below which another step is not worth its time
CAUCHY = 3.0  # standard deviations at which a landmark's weight is halved
LEAST_SCALE_PX = 0.05


def closed_form(
    K: np.ndarray, points_world_mm: np.ndarray, points_px: np.ndarray
) -> np.ndarray | None:
    """Return the pose from landmarks (n, 3) in the world and (n, 2) in the image, n ≥ 6.

    The direct linear transform, normalised, of the image points freed from `K`; its left 3 × 3 part
    is then replaced by the nearest rotation, and the translation follows linearly. Landmarks in one
    plane do not determine a projection matrix: a homography from their plane is tried as well, and
    what reprojects better is returned. None if neither puts every landmark before the source.
    """
    _check_count(points_world_mm)
    seen = _freed_from_K(K, points_px)
    centre = points_world_mm.mean(axis=0)
    axes = np.linalg.svd(points_world_mm - centre, full_matrices=False)[2]
    axes[2] *= np.linalg.det(axes)
    points = (points_world_mm - centre) @ axes.T
    poses = []
    for rotation in (_rotation_of_space(points, seen), _rotation_of_plane(points[:, :2], seen)):
        pose = np.eye(4)
        pose[:3, :3] = rotation @ axes
        pose[:3, 3] = _translation(points @ rotation.T, seen) - pose[:3, :3] @ centre
        poses.append(pose)
    return _best(K, poses, points_world_mm, points_px)


def _best(
    K: np.ndarray,
    poses: Sequence[np.ndarray],
    points_world_mm: np.ndarray,
    points_px: np.ndarray,
) -> np.ndarray | None:
    squares = [_squares(K, pose, points_world_mm, points_px).sum() for pose in poses]
    best = int(np.argmin(squares))
    return poses[best] if np.isfinite(squares[best]) else None


def robust(
    K: np.ndarray, points_world_mm: np.ndarray, points_px: np.ndarray, rng: np.random.Generator
) -> np.ndarray | None:
    """Return the pose that most landmarks agree on, wrong ones having next to no weight.

    Closed forms of all landmarks and of random subsets of six are ranked by how far off all but the
    worst landmarks are (least quantile of squares: Rousseeuw and Leroy 1987); the first few are
    polished by Levenberg–Marquardt under Cauchy's weights, whose scale is estimated from the same
    quantile. With only six landmarks none of them can be wrong. None where no closed form exists.
    """
    _check_count(points_world_mm)
    n, known = len(points_world_mm), (points_world_mm, points_px)
    subsets = [rng.choice(n, LEAST_LANDMARKS, replace=False) for _ in range(SUBSETS * (n > 6))]
    closed = [closed_form(K, *known), *(closed_form(K, *(x[s] for x in known)) for s in subsets)]
    ranked = sorted(
        (pose for pose in closed if pose is not None),
        key=lambda pose: _noise_px(_squares(K, pose, *known)),
    )
    polished = [_polished(K, pose, *known) for pose in ranked[:POLISHED]]
    return min(polished, key=lambda pose: _noise_px(_squares(K, pose, *known)), default=None)


def _polished(
    K: np.ndarray, pose: np.ndarray, points_world_mm: np.ndarray, points_px: np.ndarray
) -> np.ndarray:
    for _ in range(SCALE_ROUNDS):
        noise_px = _noise_px(_squares(K, pose, points_world_mm, points_px))
        scale_px = CAUCHY * max(noise_px, LEAST_SCALE_PX)
        pose = _fitted(K, pose, points_world_mm, points_px, scale_px)
    return pose


def _fitted(
    K: np.ndarray,
    pose: np.ndarray,
    points_world_mm: np.ndarray,
    points_px: np.ndarray,
    scale_px: float,
) -> np.ndarray:
    """Lower the sum of Cauchy's losses of the reprojection errors by Levenberg–Marquardt."""
    damping, squares = 1e-3, _squares(K, pose, points_world_mm, points_px) / scale_px**2
    for _ in range(STEPS):
        image_px, jacobian = project_with_jacobian(K, pose, points_world_mm)
        weighted = jacobian / (1 + squares)[:, None, None]
        normal = np.einsum("nij,nik->jk", weighted, jacobian)
        towards = np.einsum("nij,ni->j", weighted, points_px - image_px)
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), towards)
        trial = moved(pose, step, points_world_mm)
        trial_squares = _squares(K, trial, points_world_mm, points_px) / scale_px**2
        cost, trial_cost = np.log1p(squares).sum(), np.log1p(trial_squares).sum()
        if trial_cost >= cost:
            damping *= 10
            continue
        pose, squares, damping = trial, trial_squares, damping / 10
        if cost - trial_cost < LEAST_FALL * cost:
            break
    return pose


def moved(world_to_camera: np.ndarray, step: np.ndarray, points_world_mm: np.ndarray) -> np.ndarray:
    """Return the pose after a step (6,): a turn in rad about the centroid of the points, a shift in mm.

    Both are along the camera's axes; the turn is a rotation vector.
    """
    centre = world_to_camera[:3, :3] @ points_world_mm.mean(axis=0) + world_to_camera[:3, 3]
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec(step[:3]).as_matrix()
    motion[:3, 3] = centre + step[3:] - motion[:3, :3] @ centre
    return motion @ world_to_camera


def project_with_jacobian(
    K: np.ndarray, world_to_camera: np.ndarray, points_world_mm: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return image points (n, 2) in px and their derivatives (n, 2, 6) by the step of `moved`."""
    camera = points_world_mm @ world_to_camera[:3, :3].T + world_to_camera[:3, 3]
    homogeneous = camera @ K.T
    image_px = homogeneous[:, :2] / homogeneous[:, 2:]
    by_camera = (K[:2] - image_px[..., None] * K[2]) / homogeneous[:, 2, None, None]
    arm = camera - camera.mean(axis=0)
    return image_px, np.concatenate([np.cross(arm[:, None], by_camera), by_camera], axis=-1)


def _check_count(points: np.ndarray) -> None:
    if len(points) < LEAST_LANDMARKS:
        raise ValueError(f"{len(points)} landmarks; the closed form needs {LEAST_LANDMARKS}")


def _squares(
    K: np.ndarray, pose: np.ndarray, points_world_mm: np.ndarray, points_px: np.ndarray
) -> np.ndarray:
    """Return the squared reprojection errors (n,) in px²; infinite behind the source."""
    squares = ((project(K, pose, points_world_mm) - points_px) ** 2).sum(axis=-1)
    return np.where(np.isnan(squares), np.inf, squares)


def _noise_px(squares: np.ndarray) -> float:
    """Estimate the standard deviation, along x and along y, of all landmarks but the worst ones.

    Of n landmarks the (n + 6) // 2 nearest are looked at, so that six are never overruled; the
    largest of their errors is compared with that quantile of the Rayleigh distribution, and
    corrected for the six degrees of freedom that were fitted.
    """
    n = len(squares)
    kept = (n + LEAST_LANDMARKS) // 2
    quantile = np.sqrt(-2 * np.log1p(-kept / (n + 1)))
    return np.sqrt(np.sort(squares)[kept - 1]) / quantile * np.sqrt(n / (n - 3))


def _freed_from_K(K: np.ndarray, points_px: np.ndarray) -> np.ndarray:
    """Return where rays meet the plane one unit before the source, (n, 2)."""
    homogeneous = np.column_stack([points_px, np.ones(len(points_px))])
    rays = np.linalg.solve(K, homogeneous.T).T
    return rays[:, :2] / rays[:, 2:]


def _linear_transform(points: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return the matrix (3, d + 1), up to a factor, that takes points (n, d) to `seen` (n, 2)."""
    to_points, to_seen = _normalisation(points), _normalisation(seen)
    known, image = (
        np.column_stack([x, np.ones(len(x))]) @ t.T
        for x, t in ((points, to_points), (seen, to_seen))
    )
    nothing = np.zeros_like(known)
    rows = [
        np.hstack([known, nothing, -image[:, :1] * known]),
        np.hstack([nothing, known, -image[:, 1:2] * known]),
    ]
    solution = np.linalg.svd(np.vstack(rows), full_matrices=False)[2][-1].reshape(3, -1)
    return np.linalg.solve(to_seen, solution @ to_points)


def _normalisation(points: np.ndarray) -> np.ndarray:
    """Return the matrix that moves points (n, d) to mean zero and root mean square √d."""
    dimensions = points.shape[1]
    centre = points.mean(axis=0)
    scale = 1 / (np.std(points - centre) or 1.0)
    matrix = scale * np.eye(dimensions + 1)
    matrix[:-1, -1], matrix[-1, -1] = -scale * centre, 1.0
    return matrix


def _rotation_of_space(points: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return the rotation nearest to the projection matrix of points (n, 3)."""
    u, _, v = np.linalg.svd(_linear_transform(points, seen)[:, :3])
    return np.linalg.det(u @ v) * u @ v


def _rotation_of_plane(points: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return the rotation nearest to the homography of points (n, 2) in the plane z = 0."""
    homography = _linear_transform(points, seen)
    u, _, v = np.linalg.svd(homography[:, :2], full_matrices=False)
    first, second = (u @ v * np.where(homography[2, 2] < 0, -1.0, 1.0)).T
    return np.column_stack([first, second, np.cross(first, second)])


def _translation(turned: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return the translation (3,) after which turned points (n, 3) are seen at `seen` (n, 2)."""
    x, y, z = turned.T
    one, nothing = np.ones(len(turned)), np.zeros(len(turned))
    rows = [
        np.column_stack([one, nothing, -seen[:, 0]]),
        np.column_stack([nothing, one, -seen[:, 1]]),
    ]
    values = np.concatenate([seen[:, 0] * z - x, seen[:, 1] * z - y])
    return np.linalg.lstsq(np.vstack(rows), values, rcond=None)[0]
