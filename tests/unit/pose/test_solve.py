"""Poses from landmarks: exact pairs, noise against the Cramér–Rao bound, outliers, degenerate layouts."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from raymark.geometry.camera import Detector, carm_camera
from raymark.metrics.pose import (
    mtre_mm,
    reprojection_error_px,
    rotation_error_deg,
    translation_error_mm,
)
from raymark.pose.solve import closed_form, moved, project_with_jacobian, robust

CENTRE_MM = np.array([12.0, -35.0, 820.0])
VIEWS = [(0, 0, 0, False), (35, -20, 7, False), (-60, 45, -40, True), (90, 10, 170, True)]


def camera(primary=20, secondary=-10, roll=3, flip=False):
    return carm_camera(
        Detector(479, 615, 0.616, (12.0, -7.5)),
        primary_deg=primary,
        secondary_deg=secondary,
        roll_deg=roll,
        flip=flip,
        isocentre_world_mm=CENTRE_MM,
        source_to_isocentre_mm=750.0,
        source_to_detector_mm=1200.0,
    )


def landmarks(count, seed=0, size_mm=(110, 70, 90)):
    """Points spread as those of a pelvis are."""
    return CENTRE_MM + np.random.default_rng(seed).uniform(-1, 1, (count, 3)) * size_mm


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("count", [6, 7, 23])
def test_exact_pairs_give_the_pose(view, count):
    seen, points = camera(*view), landmarks(count)
    for pose in (
        closed_form(seen.K, points, seen.project(points)),
        robust(seen.K, points, seen.project(points), rng()),
    ):
        assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)
        assert rotation_error_deg(pose, seen.world_to_camera) < 1e-6
        assert mtre_mm(pose, seen.world_to_camera, points) < 1e-6


@pytest.mark.parametrize("view", VIEWS[:3])
def test_landmarks_in_a_plane(view):
    """The plane is oblique; the direct linear transform alone has no answer there."""
    seen = camera(*view)
    turn = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()
    points = CENTRE_MM + (landmarks(9, size_mm=(90, 60, 0)) - CENTRE_MM) @ turn.T
    pose = closed_form(seen.K, points, seen.project(points))
    assert mtre_mm(pose, seen.world_to_camera, points) < 1e-6


def test_jacobian_is_the_derivative_along_a_step():
    seen, points = camera(), landmarks(7)
    image_px, jacobian = project_with_jacobian(seen.K, seen.world_to_camera, points)
    np.testing.assert_allclose(image_px, seen.project(points))
    for axis in range(6):
        step = 1e-5 * np.eye(6)[axis]
        ahead, behind = (
            project_with_jacobian(seen.K, moved(seen.world_to_camera, s, points), points)[0]
            for s in (step, -step)
        )
        np.testing.assert_allclose(
            jacobian[..., axis], (ahead - behind) / 2e-5, rtol=1e-6, atol=1e-6
        )


def test_noise_costs_what_the_cramer_rao_bound_says():
    """The bound's information matrix comes from differences of `geometry.project` alone.

    An efficient estimate's error e has E[eᵀ F e] = 6. The closed form ignores how errors in the
    image and in depth weigh; it is worse, but not wild.
    """
    sigma_px, seen, points = 1.5, camera(), landmarks(20)
    exact, true = seen.project(points), seen.world_to_camera
    by_step = np.stack(
        [
            (_projected(seen.K, moved(true, 1e-4 * unit, points), points) - exact).ravel() / 1e-4
            for unit in np.eye(6)
        ],
        axis=1,
    )
    information = by_step.T @ by_step / sigma_px**2
    costs = {"closed": [], "robust": []}
    for trial in range(40):
        noisy = exact + rng(trial).normal(0, sigma_px, exact.shape)
        for name, pose in (
            ("closed", closed_form(seen.K, points, noisy)),
            ("robust", robust(seen.K, points, noisy, rng(trial))),
        ):
            error = _step_between(true, pose, points)
            costs[name].append(error @ information @ error)
    assert 4.5 < np.mean(costs["robust"]) < 8.5
    assert np.mean(costs["robust"]) < np.mean(costs["closed"]) < 6 * 30


def _projected(K, pose, points):
    image = (points @ pose[:3, :3].T + pose[:3, 3]) @ K.T
    return image[:, :2] / image[:, 2:]


def _step_between(true, pose, points):
    motion = pose @ np.linalg.inv(true)
    centre = true[:3, :3] @ points.mean(axis=0) + true[:3, 3]
    shift = motion[:3, :3] @ centre + motion[:3, 3] - centre
    return np.concatenate([Rotation.from_matrix(motion[:3, :3]).as_rotvec(), shift])


@pytest.mark.parametrize(("count", "wrong"), [(9, 1), (16, 4)])
def test_wrong_landmarks_break_the_closed_form_alone(count, wrong):
    seen, points = camera(), landmarks(count)
    exact = seen.project(points) + rng().normal(0, 0.3, (count, 2))
    spoiled = exact.copy()
    spoiled[:wrong] += np.array([120.0, -90.0])
    closed = closed_form(seen.K, points, spoiled)
    assert closed is None or mtre_mm(closed, seen.world_to_camera, points) > 30
    right = robust(seen.K, points[wrong:], exact[wrong:], rng())
    pose = robust(seen.K, points, spoiled, rng())
    assert mtre_mm(pose, seen.world_to_camera, points) < 8
    assert mtre_mm(pose, right, points) < 2  # as if they had not been there


def test_the_same_generator_gives_the_same_pose():
    seen, points = camera(), landmarks(10)
    noisy = seen.project(points) + rng().normal(0, 2, (10, 2))
    one, two = (robust(seen.K, points, noisy, rng(4)) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_fewer_than_six_landmarks_are_refused():
    seen, points = camera(), landmarks(5)
    for estimate in (closed_form, lambda *pairs: robust(*pairs, rng())):
        with pytest.raises(ValueError, match="5 landmarks"):
            estimate(seen.K, points, seen.project(points))


def test_nonsense_is_no_crash():
    seen, points = camera(), landmarks(8)
    for px in (np.zeros((8, 2)), rng().uniform(0, 500, (8, 2))):
        for pose in (closed_form(seen.K, points, px), robust(seen.K, points, px, rng())):
            assert pose is None or np.isfinite(pose).all()


def test_errors_of_known_motions():
    seen, points = camera(), landmarks(8)
    true = seen.world_to_camera
    turned = moved(true, np.array([0, 0, np.deg2rad(3.0), 0, 0, 0]), points)
    assert rotation_error_deg(turned, true) == pytest.approx(3.0)
    shifted = moved(true, np.array([0, 0, 0, 2.0, 0, 0]), points)
    assert rotation_error_deg(shifted, true) == 0
    assert translation_error_mm(shifted, true, CENTRE_MM) == pytest.approx(2.0)
    assert mtre_mm(shifted, true, points) == pytest.approx(2.0)
    at_isocentre = reprojection_error_px(seen.K, shifted, true, CENTRE_MM[None])
    assert at_isocentre == pytest.approx(2.0 * 1200 / 750 / 0.616)
    assert np.isnan(reprojection_error_px(seen.K, shifted, true, points[:0]))
    half_turn = moved(true, np.array([0, np.pi, 0, 0, 0, 0]), points)
    assert rotation_error_deg(half_turn, true) == pytest.approx(180)
