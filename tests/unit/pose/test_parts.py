"""Bones that moved against each other: the whole body's pose is wrong for some, each bone's own is right."""

from functools import cache

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from raymark.config.dataset import Physics
from raymark.core.errors import InputError
from raymark.ct import LabelMap, Volume
from raymark.geometry.camera import Camera, Detector, carm_camera
from raymark.imports.c_arm import CArm
from raymark.imports.stored_image import Xray
from raymark.pose.asked import Registered, View
from raymark.pose.parts import parts_of
from raymark.pose.refine import Registration, across_mm
from raymark.pose.register import with_parts
from raymark.pose.search import points_in, registered, sampled_points
from raymark.pose.shot import Shot
from raymark.pose.trust import verdict
from tests.oracles import Ellipsoid, grid

SHAPE_XYZ = (100, 76, 92)
AFFINE = grid("RAS", SHAPE_XYZ, (3.0, 3.0, 3.0), np.zeros(3))
HEAD_MM = np.array([70.0, 0, -20])  # the joint about which the thigh turns


def turned(points_mm: np.ndarray, motion: np.ndarray) -> np.ndarray:
    return points_mm @ motion[:3, :3].T + motion[:3, 3]


def motion_of_the_thigh() -> np.ndarray:
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec(np.deg2rad([4, 14, 3])).as_matrix()
    motion[:3, 3] = HEAD_MM - motion[:3, :3] @ HEAD_MM
    return motion


@cache
def bones() -> dict[int, list[Ellipsoid]]:
    rng = np.random.default_rng(4)
    pelvis = [
        Ellipsoid(place, np.diag(size), 0.6)
        for place, size in [
            ((-60, 5, 40), (45, 12, 30)),
            ((62, 5, 42), (44, 12, 28)),
            ((0, -20, 20), (25, 14, 40)),
            ((0, 25, -15), (30, 8, 12)),
        ]
    ]
    pelvis += [
        Ellipsoid(rng.uniform(-60, 60, 3) * [1, 0.3, 0.5], np.eye(3) * 8, 0.4) for _ in range(8)
    ]
    thigh = [
        Ellipsoid(HEAD_MM, np.eye(3) * 20, 0.6),
        Ellipsoid(HEAD_MM + np.array([12, 0, -60]), np.diag([12.0, 12, 55]), 0.7),
        Ellipsoid(HEAD_MM + np.array([26, 2, -22]), np.diag([11.0, 10, 16]), 0.6),
        *(
            Ellipsoid(HEAD_MM + np.array(place), np.eye(3) * size, 0.9)
            for place, size in [
                ((22, 14, -40), 7),
                ((2, -16, -70), 8),
                ((24, -14, -88), 7),
                ((-8, 12, -52), 6),
            ]
        ),
    ]
    return {1: pelvis, 2: thigh}


def placed(moved: bool) -> dict[int, list[Ellipsoid]]:
    """The bones by label, the thigh where it is in the X-ray or where it was in the CT."""
    motion = motion_of_the_thigh() if moved else np.eye(4)
    pelvis, thigh = bones().values()
    return {
        1: [Ellipsoid(np.array(b.centre_mm), b.axes_mm, b.density) for b in pelvis],
        2: [
            Ellipsoid(turned(np.array(b.centre_mm), motion), motion[:3, :3] @ b.axes_mm, b.density)
            for b in thigh
        ],
    }


TRUNK = Ellipsoid(np.zeros(3), np.diag([140.0, 95, 125]), 1.0)


@cache
def body() -> tuple[Volume, LabelMap]:
    density = TRUNK.voxelised(SHAPE_XYZ, AFFINE, 2)
    labels = np.zeros(SHAPE_XYZ, np.uint8)
    for label, parts in placed(moved=False).items():
        for part in parts:
            share = part.voxelised(SHAPE_XYZ, AFFINE, 3)
            density += share
            labels[share > 0.5 * part.density] = label
    return Volume(np.rint(1000 * density - 1000).astype(np.int16), AFFINE), LabelMap(labels, AFFINE)


def view() -> Camera:
    return carm_camera(
        Detector(270, 270, 1.4667),
        primary_deg=8,
        secondary_deg=5,
        isocentre_world_mm=np.zeros(3),
        source_to_isocentre_mm=750.0,
        source_to_detector_mm=1100.0,
    )


@cache
def shot() -> Shot:
    """The exact X-ray of the moved body."""
    there = [TRUNK, *(part for parts in placed(moved=True).values() for part in parts)]
    return Shot.whole(sum(part.line_integrals(view()) for part in there), view().K)


@cache
def whole():
    volume, _ = body()
    points = sampled_points(volume)
    registration = Registration(volume, Physics())
    return registered(registration, [shot()], [[view().world_to_camera]], points)


def registered_by_parts():
    volume, labels = body()
    view_of = View("shot", Xray(shot().image_yx, 1.6), CArm(), view().K, 1100.0, shot().valid_yx)
    result = Registered(
        view_of, whole().poses[0], whole().poses[0], "", "log", whole(), verdict(whole()), 0.0
    )
    return with_parts([result], volume, parts_of("labels", labels, [], each=True))[0]


def test_each_bones_pose_is_right_where_the_whole_bodys_is_flagged():
    """Across the beam; along it a bone alone hardly shows."""
    _, labels = body()
    result = registered_by_parts()
    assert not result.verdict.trusted
    assert "bones moved against each other since the CT: label 2 by" in result.verdict.reason
    thigh = points_in(labels.labels_xyz == 2, AFFINE)
    truth = {"1": view().world_to_camera, "2": view().world_to_camera @ motion_of_the_thigh()}
    assert across_mm(whole().poses[0], truth["2"], thigh) > 5
    for part in result.parts:
        points = points_in(labels.labels_xyz == int(part.name), AFFINE)
        assert part.verdict.trusted
        assert across_mm(part.world_to_camera, truth[part.name], points) < 2


def test_labels_become_parts():
    _, labels = body()
    assert list(parts_of("labels", labels, [], each=True)) == ["1", "2"]
    (both,) = parts_of("labels", labels, [1, 2], each=False).values()
    assert both.sum() == (labels.labels_xyz > 0).sum()
    with pytest.raises(InputError, match="has no label 7"):
        parts_of("labels", labels, [7], each=False)
    with pytest.raises(InputError, match="holds no label"):
        parts_of("labels", LabelMap(np.zeros((3, 3, 3), np.uint8), AFFINE), [], each=True)
