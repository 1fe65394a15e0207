"""CTs shorter than the image, images with less than all pixels, and things that the CT does not show."""

from functools import cache

import numpy as np
import pytest

from raymark.geometry.camera import Camera
from raymark.metrics.pose import mtre_mm
from raymark.pose.body import Beyond
from raymark.pose.refine import Registration
from raymark.pose.search import displaced
from raymark.pose.shot import Shot
from tests.unit.pose import chest

CUTS = {"top": ((2, 1),), "both ends": ((2, 0), (2, 1)), "all": chest.FACES}
VIEWS = (0, 0), (30, 20), (90, 0)


@cache
def registration(faces: tuple[tuple[int, int], ...] = ()) -> Registration:
    return Registration(chest.cut(faces), chest.PHYSICS)


def error_mm(
    faces: tuple, camera: Camera, shot: Shot, off_mm: float = 20.0, seed: int = 0
) -> float:
    points, rng = chest.points_mm(), np.random.default_rng(seed)
    start = displaced(camera.world_to_camera, points, off_mm, rng)
    pose = registration(faces).refined([shot], [start], points)[0]
    return mtre_mm(pose, camera.world_to_camera, points)


@pytest.mark.parametrize("place", VIEWS)
@pytest.mark.parametrize("faces", CUTS.values(), ids=CUTS)
def test_a_ct_cut_by_thirty_millimetres_is_no_further_off(faces, place):
    camera = chest.view(*place)
    shot = Shot.whole(chest.xray(*place), camera.K)
    assert max(error_mm(faces, camera, shot, seed=seed) for seed in range(3)) < 1


@pytest.mark.parametrize("valid_yx", [chest.round_field(), chest.collimated()])
def test_pixels_outside_the_mask_say_nothing(valid_yx):
    camera = chest.view(0)
    image = np.where(valid_yx, chest.xray(0), 0.0)
    errors = [error_mm(faces, camera, Shot(image, camera.K, valid_yx)) for faces in CUTS.values()]
    assert max(errors) < 1
    noise = np.random.default_rng(0).normal(5, 5, image.shape)
    other = Shot(np.where(valid_yx, image, noise), camera.K, valid_yx)
    assert error_mm((), camera, other) == error_mm((), camera, Shot(image, camera.K, valid_yx))


@pytest.mark.parametrize("faces", [(), *CUTS.values()])
def test_metal_and_letters_do_not_lead_astray(faces):
    camera = chest.view(30, 20)
    image = chest.with_metal_and_letters(chest.xray(30, 20))
    assert error_mm(faces, camera, Shot.whole(image, camera.K)) < 1


def test_two_views_of_known_geometry_know_the_depth():
    cameras = [chest.view(0), chest.view(90)]
    shots = [Shot.whole(chest.xray(p), c.K) for p, c in zip((0, 90), cameras, strict=True)]
    points = chest.points_mm()
    start = displaced(np.eye(4), points, 20, np.random.default_rng(0))
    starts = [camera.world_to_camera @ start for camera in cameras]
    poses = registration(CUTS["both ends"]).refined(shots, starts, points)
    for pose, camera in zip(poses, cameras, strict=True):
        depth_mm = (pose - camera.world_to_camera)[2] @ [*points.mean(axis=0), 1]
        assert abs(depth_mm) < 0.3
        assert mtre_mm(pose, camera.world_to_camera, points) < 0.5


def test_rays_lose_weight_only_where_the_body_goes_on():
    """80 mm are gone below; beside the body there is air."""
    volume = chest.cut(((2, 0),), 80)
    weight = Beyond(volume.hu_xyz, volume.affine).weight(chest.view(0))
    assert weight[128, 128] == 1  # the middle
    assert weight[128, 3] == 1  # air
    assert weight[240, 128] == 0  # below the CT


def test_a_body_with_air_all_around_keeps_all_weight():
    hu_xyz = np.full((20, 20, 20), -1000, np.int16)
    hu_xyz[5:15, 5:15, 5:15] = 40
    assert Beyond(hu_xyz, np.diag([5.0, 5, 5, 1])).weight(chest.view(0)) is None
