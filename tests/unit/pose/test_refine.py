"""Registration to X-rays whose line integrals are exact: ellipsoids, never rendered by our projectors."""

from functools import cache

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from raymark.config.dataset import Physics
from raymark.ct import Volume
from raymark.geometry.camera import Camera, Detector, carm_camera
from raymark.metrics.pose import mtre_mm, rotation_error_deg
from raymark.pose.body import Motions, pooled
from raymark.pose.refine import Registration, shrunk
from raymark.pose.shot import Shot
from raymark.pose.solve import moved
from tests.oracles import SoftEllipsoid, grid

CENTRE_MM = np.array([10.0, -40.0, 300.0])
SHAPE_XYZ = (44, 42, 40)
AFFINE = grid("RAS", SHAPE_XYZ, (3.0, 3.0, 3.0), CENTRE_MM)
POINTS = CENTRE_MM + np.random.default_rng(1).uniform(-45, 45, (12, 3))


@cache
def bodies():
    """A soft block and denser bodies in it, in total no denser than soft tissue at 100 HU."""
    rng = np.random.default_rng(0)
    made = [SoftEllipsoid(CENTRE_MM, np.diag([58.0, 52, 50]), 0.3)]
    for _ in range(9):
        turn = Rotation.from_rotvec(rng.normal(size=3)).as_matrix()
        place = CENTRE_MM + rng.uniform(-32, 32, 3)
        made.append(SoftEllipsoid(place, turn @ np.diag(rng.uniform(7, 18, 3)), 0.25))
    return made


@cache
def registration():
    density = sum(body.voxelised(SHAPE_XYZ, AFFINE, 2) for body in bodies())
    hu = np.rint(1000 * density - 1000).astype(np.int16)
    assert hu.max() <= 100  # where attenuation is a straight line in HU
    return Registration(Volume(hu, AFFINE), Physics(spectrum="mono"))


def view(primary=25, secondary=-15, flip=False) -> Camera:
    return carm_camera(
        Detector(96, 112, 2.2, (4.0, -3.0)),
        primary_deg=primary,
        secondary_deg=secondary,
        flip=flip,
        isocentre_world_mm=CENTRE_MM,
        source_to_isocentre_mm=700.0,
        source_to_detector_mm=1050.0,
    )


def xray(camera: Camera) -> np.ndarray:
    return sum(body.line_integrals(camera) for body in bodies())


def displaced(camera: Camera, turn_deg=3.0, shift_mm=5.0, seed=0) -> np.ndarray:
    turn, shift = np.random.default_rng(seed).normal(size=(2, 3))
    turn *= np.deg2rad(turn_deg) / np.linalg.norm(turn)
    shift *= shift_mm / np.linalg.norm(shift)
    return moved(camera.world_to_camera, np.concatenate([turn, shift]), POINTS)


def refined(image_yx: np.ndarray, camera: Camera, start: np.ndarray) -> np.ndarray:
    return registration().refined([Shot.whole(image_yx, camera.K)], [start], POINTS)[0]


@pytest.mark.parametrize(("place", "seed"), [((0, 0), 0), ((50, 30), 1), ((-20, 10, True), 2)])
def test_finds_the_pose_from_five_millimetres_and_three_degrees(place, seed):
    camera = view(*place)
    start = displaced(camera, seed=seed)
    assert mtre_mm(start, camera.world_to_camera, POINTS) > 4
    pose = refined(xray(camera), camera, start)
    assert mtre_mm(pose, camera.world_to_camera, POINTS) < 0.5
    assert rotation_error_deg(pose, camera.world_to_camera) < 0.2
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)


def test_brightness_and_contrast_do_not_matter():
    camera = view()
    image, start = xray(camera), displaced(camera)
    poses = [refined(i, camera, start) for i in (image, 0.1 * image + 7)]
    np.testing.assert_allclose(*poses, atol=1e-6)


def test_a_tool_that_the_ct_lacks_hardly_moves_the_pose():
    camera = view()
    image = xray(camera)
    image[30:70, 50:54] += 3 * image.max()
    pose = refined(image, camera, displaced(camera))
    assert mtre_mm(pose, camera.world_to_camera, POINTS) < 2


def test_rendered_derivatives_are_those_of_the_image():
    """Against differences of the analytic image."""
    camera, everywhere = view(), np.ones((96, 112), dtype=bool)
    turn, shift = np.concatenate([np.eye(3), np.zeros((3, 3))]), np.eye(6)[:, 3:]
    motions = Motions(POINTS.mean(axis=0), turn, shift)
    image_yx, *by_motion = registration().grids[3.0].cast(camera, everywhere, motions).T
    scale = image_yx.max() / xray(camera).max()
    to_camera = np.kron(np.eye(2), camera.world_to_camera[:3, :3])
    for derivative, axis, size in zip(by_motion, np.eye(6), [1e-3] * 3 + [0.1] * 3, strict=True):
        ahead, behind = (
            xray(Camera(camera.K, moved(camera.world_to_camera, s, POINTS), *camera.shape_yx))
            for s in (size * to_camera @ axis, -size * to_camera @ axis)
        )
        exact = scale * (ahead - behind) / (2 * size)
        error = np.linalg.norm(derivative.T - exact) / np.linalg.norm(exact)
        assert error < 0.3  # the voxels blur it


def test_a_shrunk_camera_sees_points_where_pooled_pixels_are():
    camera = view()
    points_px = camera.project(POINTS)
    small = shrunk(camera.K, 4) @ camera.world_to_camera[:3]
    seen = POINTS @ small[:, :3].T + small[:, 3]
    np.testing.assert_allclose(seen[:, :2] / seen[:, 2:], (points_px - 1.5) / 4)
    x = np.arange(12.0)
    np.testing.assert_allclose(pooled(x[None] * np.ones((8, 1)), 4)[0], [1.5, 5.5, 9.5])


def test_coarse_voxels_stay_in_place():
    """The centre of mass of the density is the same at every level, rests included."""
    centres = []
    for coarse in registration().grids.values():
        index = np.stack(np.indices(coarse.values_xyz.shape)).reshape(3, -1)
        density = coarse.values_xyz.astype(float)
        mean = index @ density.ravel() / density.sum()
        centres.append(coarse.affine[:3, :3] @ mean + coarse.affine[:3, 3])
    np.testing.assert_allclose(centres, [centres[-1]] * 3, atol=0.01)
