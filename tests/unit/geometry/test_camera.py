"""The convention against anatomy, similar triangles and SciPy's rotations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from raymark.geometry.camera import Camera, Detector, carm_camera, carm_rotation, inside, project
from tests.oracles import ray_directions, source_position

ISOCENTRE = np.array([12.0, -34.0, 560.0])
LEFT, ANTERIOR, HEAD = np.array([-1.0, 0, 0]), np.array([0, 1.0, 0]), np.array([0, 0, 1.0])
DETECTOR = Detector(height_px=481, width_px=620, pixel_mm=0.6)

angle = st.floats(-180, 180)
tilt = st.floats(-90, 90)
offset = st.floats(-200, 200)


def view(primary=0.0, secondary=0.0, roll=0.0, flip=False, detector=DETECTOR) -> Camera:
    return carm_camera(
        detector,
        primary_deg=primary,
        secondary_deg=secondary,
        roll_deg=roll,
        flip=flip,
        isocentre_world_mm=ISOCENTRE,
        source_to_isocentre_mm=750.0,
        source_to_detector_mm=1200.0,
    )


def towards_detector(camera: Camera) -> np.ndarray:
    """The unit vector from the X-ray source to the isocentre."""
    ray = ISOCENTRE - source_position(camera)
    return ray / np.linalg.norm(ray)


def rotation_by_scipy(primary, secondary, roll) -> np.ndarray:
    """The same C-arm, built by turning a machine: about the patient's long axis, then its own axes.

    At (0, 0) the machine's x, y, z are the patient's right, down to the feet, and forwards.
    """
    start = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]]).T
    to_left = Rotation.from_rotvec(np.deg2rad(primary) * HEAD).as_matrix()
    to_head = Rotation.from_rotvec(np.deg2rad(secondary) * np.array([1.0, 0, 0])).as_matrix()
    about_ray = Rotation.from_rotvec(np.deg2rad(roll) * np.array([0, 0, 1.0])).as_matrix()
    return (to_left @ to_head @ start @ about_ray).T


def test_ap_shows_the_patients_left_on_the_right_and_the_head_up():
    middle, left, head = view().project(
        np.stack([ISOCENTRE, ISOCENTRE + 10 * LEFT, ISOCENTRE + 10 * HEAD])
    )
    np.testing.assert_allclose(middle, [309.5, 240.0])
    np.testing.assert_allclose(left, [309.5 + 10 * 1.6 / 0.6, 240.0])
    np.testing.assert_allclose(head, [309.5, 240.0 - 10 * 1.6 / 0.6])


def test_ap_has_the_source_behind_the_patient():
    np.testing.assert_allclose(view().source_world_mm, ISOCENTRE - 750 * ANTERIOR)


@pytest.mark.parametrize(
    ("primary", "secondary", "detector_stands"),
    [
        (90, 0, LEFT),
        (-90, 0, -LEFT),
        (180, 0, -ANTERIOR),
        (30, 0, np.cos(np.pi / 6) * ANTERIOR + np.sin(np.pi / 6) * LEFT),
        (0, 90, HEAD),
        (0, -90, -HEAD),
        (0, 30, np.cos(np.pi / 6) * ANTERIOR + np.sin(np.pi / 6) * HEAD),
    ],
)
def test_lao_is_towards_the_left_and_cranial_towards_the_head(primary, secondary, detector_stands):
    np.testing.assert_allclose(
        towards_detector(view(primary, secondary)), detector_stands, atol=1e-12
    )


def test_left_lateral_faces_the_patient_from_the_left():
    """Seen from the detector at the patient's left, the patient looks to the image's left."""
    camera = view(primary=90)
    front = camera.project(ISOCENTRE + 10 * ANTERIOR) - camera.project(ISOCENTRE)
    np.testing.assert_allclose(front, [-10 * 1.6 / 0.6, 0], atol=1e-9)


@given(angle, tilt, angle)
def test_rotation_is_the_turned_machine(primary, secondary, roll):
    rotation = carm_rotation(primary, secondary, roll)
    np.testing.assert_allclose(rotation, rotation_by_scipy(primary, secondary, roll), atol=1e-12)


@given(angle, tilt, angle, st.booleans())
def test_every_pose_is_a_proper_rigid_motion(primary, secondary, roll, flip):
    rotation = view(primary, secondary, roll, flip).world_to_camera[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)


@given(angle, tilt, angle, st.booleans())
def test_source_is_where_the_distances_say(primary, secondary, roll, flip):
    camera = view(primary, secondary, roll, flip)
    np.testing.assert_allclose(camera.source_world_mm, source_position(camera), atol=1e-8)
    assert np.linalg.norm(camera.source_world_mm - ISOCENTRE) == pytest.approx(750.0)


@pytest.mark.parametrize("depth_mm", [400.0, 750.0, 1200.0])
def test_magnification_is_detector_distance_over_depth(depth_mm):
    camera = view(primary=37, secondary=-21, roll=15)
    on_axis = source_position(camera) + depth_mm * towards_detector(camera)
    aside = np.cross(towards_detector(camera), HEAD)
    aside *= 8 / np.linalg.norm(aside)
    length_px = np.linalg.norm(camera.project(on_axis + aside) - camera.project(on_axis))
    assert length_px == pytest.approx(8 * 1200 / depth_mm / 0.6)


@given(angle, tilt, angle, offset, offset, st.tuples(offset, offset, offset))
def test_flip_mirrors_about_the_middle_column(primary, secondary, roll, x, y, point):
    detector = Detector(481, 620, 0.6, (x, y))
    world = ISOCENTRE + np.array(point)
    plain = view(primary, secondary, roll, False, detector).project(world)
    mirrored = view(primary, secondary, roll, True, detector).project(world)
    np.testing.assert_allclose(mirrored, [619 - plain[0], plain[1]], atol=1e-8)


def test_roll_turns_the_image_and_keeps_the_ray():
    """A positive roll turns what the image shows clockwise."""
    plain, rolled = view(20, 10), view(20, 10, roll=90)
    np.testing.assert_allclose(towards_detector(rolled), towards_detector(plain), atol=1e-12)
    centre = np.array([309.5, 240.0])
    world = ISOCENTRE + np.array([5.0, -9.0, 14.0])
    (x, y), after = plain.project(world) - centre, rolled.project(world) - centre
    np.testing.assert_allclose(after, [-y, x], atol=1e-9)


@pytest.mark.parametrize("flip", [False, True])
def test_principal_point_is_where_the_central_ray_lands(flip):
    camera = view(40, -30, 12, flip, Detector(481, 620, 0.6, (31.0, -17.0)))
    expected = [619 / 2 + (-31.0 if flip else 31.0), 480 / 2 - 17.0]
    for depth_mm in (100.0, 750.0, 2000.0):
        point = source_position(camera) + depth_mm * towards_detector(camera)
        np.testing.assert_allclose(camera.project(point), expected, atol=1e-9)


@given(angle, tilt, angle, st.booleans(), offset, offset)
def test_rays_meet_what_is_projected_to_their_pixel(primary, secondary, roll, flip, x, y):
    camera = view(primary, secondary, roll, flip, Detector(5, 7, 40.0, (x, y)))
    rows, columns = np.indices(camera.shape_yx)
    pixels = np.stack([columns, rows, np.ones_like(rows)], axis=-1)
    rays = pixels @ camera.pixel_to_ray.T
    np.testing.assert_allclose(rays, ray_directions(camera), atol=1e-9)
    np.testing.assert_allclose(rays @ camera.world_to_camera[2, :3], 1.0)  # one mm of depth
    points = camera.source_world_mm + 321.0 * rays
    np.testing.assert_allclose(camera.project(points), pixels[..., :2], atol=1e-7)


def test_points_behind_or_in_the_source_have_no_image():
    camera = view(10, 20)
    behind = source_position(camera) - 5 * towards_detector(camera)
    points = np.stack([behind, ISOCENTRE])
    found = camera.project(points)
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()
    assert np.isnan(project(np.eye(3), np.eye(4), np.zeros(3))).all()


def test_projection_keeps_leading_axes():
    points = ISOCENTRE + np.arange(24.0).reshape(2, 4, 3)
    found = view(15, 25, 35).project(points)
    assert found.shape == (2, 4, 2)
    np.testing.assert_array_equal(found[1, 2], view(15, 25, 35).project(points[1, 2]))


def test_inside_includes_the_pixels_borders():
    points = np.array([[-0.5, -0.5], [6.5, 4.5], [6.51, 0], [0, 4.51], [-0.51, 0], [np.nan, 0]])
    assert inside(points, (5, 7)).tolist() == [True, True, False, False, False, False]
