"""Poses from poor starts and from none, and whether a wrong one is ever called right."""

import numpy as np
import pytest

from raymark.metrics.pose import mtre_mm
from raymark.pose.search import (
    Found,
    displaced,
    from_nothing,
    registered,
    sampled_points,
)
from raymark.pose.shot import Shot
from raymark.pose.trust import verdict
from tests.unit.pose import chest
from tests.unit.pose.test_truncated import CUTS, registration

POINTS = chest.points_mm()


def shot_of(place, image=None):
    camera = chest.view(*place)
    return camera, Shot.whole(chest.xray(*place) if image is None else image, camera.K)


@pytest.mark.parametrize("place", [(30, 20), (90, 0)])
@pytest.mark.parametrize("faces", [(), CUTS["both ends"]])
def test_the_view_sphere_holds_the_pose(faces, place):
    camera, shot = shot_of(place)
    starts = from_nothing(registration(faces), shot, POINTS, [750.0])
    found = registered(registration(faces), [shot], starts, POINTS)
    assert mtre_mm(found.poses[0], camera.world_to_camera, POINTS) < 1
    assert verdict(found).trusted


def test_restarts_find_back_from_far_and_say_how_far():
    camera, shot = shot_of((30, 20))
    start = displaced(camera.world_to_camera, POINTS, 35, np.random.default_rng(2))
    found = registered(registration(), [shot], [[start]], POINTS)
    assert mtre_mm(found.poses[0], camera.world_to_camera, POINTS) < 1
    assert found.moved_mm == pytest.approx(35, abs=1)
    assert found.agreement >= 0.5
    assert found.told > 0.5


def test_the_best_of_several_starts_counts():
    camera, shot = shot_of((0, 0))
    far = displaced(camera.world_to_camera, POINTS, 110, np.random.default_rng(0))
    near = displaced(camera.world_to_camera, POINTS, 5, np.random.default_rng(1))
    found = registered(registration(), [shot], [[far], [near]], POINTS)
    assert found.moved_mm < 6


def flipped(place):
    """The body's other side."""
    return chest.xray(*place)[::-1].copy()


@pytest.mark.parametrize(
    "spoil", [flipped, lambda place: -chest.xray(*place), lambda place: np.exp(-chest.xray(*place))]
)
@pytest.mark.parametrize("faces", [(), CUTS["both ends"]])
def test_wrong_poses_are_not_trusted(faces, spoil):
    camera, shot = shot_of((30, 20), spoil((30, 20)))
    start = displaced(camera.world_to_camera, POINTS, 15, np.random.default_rng(0))
    found = registered(registration(faces), [shot], [[start]], POINTS)
    wrong = mtre_mm(found.poses[0], camera.world_to_camera, POINTS) > 5
    assert wrong
    assert not verdict(found).trusted


def test_an_image_beside_the_ct_is_told():
    camera, shot = shot_of((0, 0))
    pose = camera.world_to_camera.copy()
    pose[0, 3] += 900
    found = registered(registration(), [shot], [[pose]], POINTS)
    assert not verdict(found).trusted


@pytest.mark.parametrize(
    ("values", "trusted", "told"),
    [
        ((0.9, 0.8, 400, 1.0), True, "edges agree to 0.90"),
        ((0.5, 0.8, 400, 1.0), False, "do not look alike"),
        ((0.9, 0.8, 400, 0.2), False, "other starts end elsewhere"),
        ((0.9, 0.8, 30, 1.0), False, "too little of the X-ray"),
        ((0.9, 0.05, 400, 1.0), False, "hardly lies in the image"),
        ((0.0, 0.0, 0, 1.0), False, "is not in the image"),
    ],
)
def test_each_reason_is_told(values, trusted, told):
    judged = verdict(Found([np.eye(4)], *values, moved_mm=0.0))
    assert judged.trusted == trusted
    assert told in judged.reason


def test_sampled_points_lie_in_bone():
    volume = chest.chest()
    points = sampled_points(volume)
    index = np.rint((points - volume.affine[:3, 3]) @ np.linalg.inv(volume.affine[:3, :3]).T)
    assert len(points) >= 200
    assert (volume.hu_xyz[tuple(index.astype(int).T)] > 200).all()


def test_a_displaced_pose_is_as_far_as_asked():
    rng = np.random.default_rng(0)
    for target_mm in (0.5, 12.0, 60.0):
        pose_mm = displaced(np.eye(4), POINTS, target_mm, rng)
        assert mtre_mm(pose_mm, np.eye(4), POINTS) == pytest.approx(target_mm)
