"""The trilinear projector's derivatives against exact differences."""

from functools import cache

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from raymark.geometry.camera import Camera
from raymark.projectors import trilinear
from raymark.projectors.trilinear import Trilinear
from tests.oracles import grid
from tests.unit.projectors.examples import (
    CENTRE_MM,
    COARSE_GRIDS,
    COARSE_VIEWS,
    OBLIQUE,
    SOFT,
    coarse_camera,
    smooth_volume,
)

FINE_XYZ = (80, 80, 80)
FINE = grid("PSR", FINE_XYZ, (1.2, 1.2, 1.2), CENTRE_MM, OBLIQUE)


@cache
def fine_soft_ellipsoid() -> np.ndarray:
    return SOFT.voxelised(FINE_XYZ, FINE)[None].astype(np.float64)


def test_chunks_change_nothing(monkeypatch):
    projector = Trilinear(smooth_volume(), COARSE_GRIDS["PSR-oblique"])
    whole = projector.project(coarse_camera(COARSE_VIEWS[3]))
    monkeypatch.setattr(trilinear, "SAMPLES_AT_ONCE", {"cpu": 5000})
    part = projector.project(coarse_camera(COARSE_VIEWS[3]))
    np.testing.assert_allclose(part, whole, rtol=1e-5, atol=1e-4)


def moved(camera: Camera, motion: np.ndarray) -> Camera:
    """Return the camera after a small motion: (3,) rad about the isocentre and (3,) mm, world axes."""
    about = np.eye(4)
    about[:3, :3] = Rotation.from_rotvec(motion[:3]).as_matrix()
    about[:3, 3] = CENTRE_MM + motion[3:] - about[:3, :3] @ CENTRE_MM
    return Camera(camera.K, camera.world_to_camera @ about, camera.height_px, camera.width_px)


def zoomed(camera: Camera, change: np.ndarray) -> Camera:
    """Return the camera with its focal lengths scaled by 1 + change[0], its centre shifted in px."""
    K = camera.K.copy()
    K[[0, 1], [0, 1]] *= 1 + change[0]
    K[:2, 2] += change[1:]
    return Camera(K, camera.world_to_camera, camera.height_px, camera.width_px)


def differences(function, size: int, step: float = 1e-4) -> np.ndarray:
    """Return central differences (size, ...) of a function of (size,) parameters at zero."""
    return np.array([(function(by) - function(-by)) / (2 * step) for by in step * np.eye(size)])


def relative_error(found: np.ndarray, truth: np.ndarray) -> float:
    return np.linalg.norm(found - truth) / np.linalg.norm(truth)


@pytest.mark.parametrize("view", COARSE_VIEWS)
def test_gradients_agree_with_exact_differences(view):
    """Registration loss of an ellipsoid: autograd through the voxels against the analytic image."""
    camera = coarse_camera(view)
    start = moved(camera, np.array([0.05, -0.04, 0.03, 4.0, -3.0, 6.0]))
    target = SOFT.line_integrals(camera)

    def exact_loss(other: Camera) -> float:
        return ((SOFT.line_integrals(other) - target) ** 2).sum()

    K = torch.tensor(start.K, requires_grad=True)
    world_to_camera = torch.tensor(start.world_to_camera, requires_grad=True)
    image = Trilinear(fine_soft_ellipsoid(), FINE).project_tensor(
        K, world_to_camera, start.shape_yx
    )[0]
    ((image - torch.tensor(target)) ** 2).sum().backward()

    pose_tangents = differences(lambda motion: moved(start, motion).world_to_camera, 6)
    pose_gradient = (world_to_camera.grad.numpy() * pose_tangents).sum(axis=(1, 2))
    exact = differences(lambda motion: exact_loss(moved(start, motion)), 6)
    assert relative_error(pose_gradient[:3], exact[:3]) < 0.02  # per radian
    assert relative_error(pose_gradient[3:], exact[3:]) < 0.02  # per mm
    K_gradient = (K.grad.numpy() * differences(lambda by: zoomed(start, by).K, 3)).sum(axis=(1, 2))
    exact = differences(lambda by: exact_loss(zoomed(start, by)), 3)
    assert relative_error(K_gradient, exact) < 0.02
