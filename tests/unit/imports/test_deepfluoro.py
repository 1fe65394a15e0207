"""DeepFluoro's conventions: its published numbers, and a small file in its layout."""

import h5py
import numpy as np
import pytest

from raymark.core.errors import InputError
from raymark.geometry.camera import project
from raymark.imports.deepfluoro import (
    camera_matrix,
    for_intensities,
    our_name,
    read_specimen,
    read_subject,
    read_views,
    read_xrays,
    specimens,
    world_to_camera,
)

INTRINSIC = np.array([[-5257.732, 0, 767.5], [0, -5257.732, 767.5], [0, 0, 1]])
EXTRINSIC = np.array(
    [
        [0.0014173903, 5.773302e-6, 0.9999991, -157.58221],
        [-0.99999076, -0.004075836, 0.0014174007, -2.6757495],
        [0.0040758415, -0.99999183, 0, -631.7765],
        [0, 0, 0, 1],
    ]
)
POSE = np.array(
    [
        [0.16417126, -0.13765, 0.9767806, -124.5839],
        [-0.016588, -0.990461, -0.136789, 191.90346],
        [0.9862925, 0.0062534, -0.164888, -848.7315],
        [0, 0, 0, 1],
    ]
)
FEMORAL_HEAD_LPS_MM = np.array([93.2263, 37.9197, -941.5])
SEEN_PX, TURNED_PX, DEPTH_MM = (1405.28, 1118.72), (129.72, 416.28), 753.95


def test_the_left_femoral_head_is_seen_where_the_data_set_says():
    ras = FEMORAL_HEAD_LPS_MM * [-1, -1, 1]
    pose, K = world_to_camera(EXTRINSIC, POSE), camera_matrix(INTRINSIC)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1, abs=1e-4)
    assert (K[0, 0] < 0) & (K[1, 1] > 0)
    np.testing.assert_allclose(project(K, pose, ras), SEEN_PX, atol=0.05)
    assert pose[2] @ [*ras, 1] == pytest.approx(DEPTH_MM, abs=0.05)
    turned = world_to_camera(EXTRINSIC, POSE, turned=True)
    np.testing.assert_allclose(project(K, turned, ras), TURNED_PX, atol=0.05)


def test_their_own_formula_sees_the_same():
    """p = K (extrinsic · inverse(P) · X), in LPS, where visible points have z < 0."""
    points = FEMORAL_HEAD_LPS_MM + np.random.default_rng(0).uniform(-60, 60, (6, 3))
    homogeneous = np.column_stack([points, np.ones(6)])
    camera = (EXTRINSIC @ np.linalg.inv(POSE) @ homogeneous.T)[:3]
    assert (camera[2] < 0).all()
    theirs = INTRINSIC @ camera
    ours = project(camera_matrix(INTRINSIC), world_to_camera(EXTRINSIC, POSE), points * [-1, -1, 1])
    np.testing.assert_allclose(ours, (theirs[:2] / theirs[2]).T, atol=1e-6)


@pytest.fixture
def file_path(tmp_path):
    """Two images of one specimen, the second upside down, a third unsound; 12 × 10 × 8 voxels."""
    path = tmp_path / "small.h5"
    rng = np.random.default_rng(1)
    with h5py.File(path, "w") as file:
        file["proj-params/intrinsic"], file["proj-params/extrinsic"] = INTRINSIC, EXTRINSIC
        specimen = file.create_group("17-1882")
        for place in ("vol", "vol-seg/image"):
            grid = specimen.create_group(place)
            grid["dir-mat"] = np.eye(3)
            grid["origin"] = np.array([[-3.0], [5], [-900]])
            grid["spacing"] = np.array([[1.0], [1.5], [2]])
            grid["pixels"] = rng.integers(0, 7, (8, 10, 12)).astype(np.float32)
        specimen["vol-landmarks/FH-l"] = FEMORAL_HEAD_LPS_MM[:, None]
        for number, turned in {"000": 0, "001": 1, "003": 0}.items():
            view = specimen.create_group(f"projections/{number}")
            view["image/pixels"] = rng.uniform(10, 1000, (1536, 1536)).astype(np.float32)
            view["gt-landmarks/FH-l"] = np.array(SEEN_PX)[:, None]
            view["gt-poses/cam-to-pelvis-vol"] = POSE
            view["rot-180-for-up"] = turned
    return path


def test_a_file_in_its_layout_is_read(file_path):
    assert specimens(file_path) == ["17-1882"]
    volume, labels, points = read_specimen(file_path, "17-1882")
    assert volume.hu_xyz.shape == labels.labels_xyz.shape == (12, 10, 8)
    np.testing.assert_allclose(volume.spacing_mm, [1, 1.5, 2])
    np.testing.assert_allclose(points["left_femoral_head"], FEMORAL_HEAD_LPS_MM * [-1, -1, 1])
    with h5py.File(file_path) as file:  # the voxel (x, y, z) of the file lies where LPS says
        value = file["17-1882/vol/pixels"][3, 4, 5]
    at = np.linalg.inv(volume.affine) @ [-(-3 + 5 * 1.0), -(5 + 4 * 1.5), -900 + 3 * 2.0, 1]
    assert volume.hu_xyz[tuple(np.rint(at[:3]).astype(int))] == value


def test_images_are_upright_with_their_poses_and_without_the_unsound(file_path):
    views = list(read_views(file_path, "17-1882"))
    assert [view.number for view in views] == ["000", "001"]
    _, _, points = read_specimen(file_path, "17-1882")
    for view in views:
        seen = project(view.K, view.world_to_camera["pelvis"], points["left_femoral_head"])
        np.testing.assert_allclose(seen, view.landmarks_px["left_femoral_head"], atol=0.05)
    with h5py.File(file_path) as file:
        raw = file["17-1882/projections/001/image/pixels"][:]
    brightest = np.unravel_index(raw.argmin(), raw.shape)
    assert views[1].image_yx[1535 - brightest[0], 1535 - brightest[1]] == views[1].image_yx.max()
    assert not views[0].valid_yx[:50].any()
    assert views[0].valid_yx[50:-50, 50:-50].all()


def test_the_corner_of_a_voxel_is_half_a_voxel_off(file_path):
    volume, _, _ = read_specimen(file_path, "17-1882")
    shift = for_intensities(np.eye(4), volume)[:3, 3]
    np.testing.assert_allclose(np.abs(shift), volume.spacing_mm / 2)


def test_names_become_ours():
    assert our_name("ASIS-r") == "right_asis"
    assert our_name("unknown") == "unknown"


def test_other_files_are_told(tmp_path, file_path):
    with pytest.raises(InputError, match="is missing"):
        specimens(tmp_path / "none.h5")
    (tmp_path / "x.h5").write_bytes(b"x")
    with pytest.raises(InputError, match="cannot be read as HDF5"):
        specimens(tmp_path / "x.h5")
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(InputError, match="not DeepFluoro's file"):
        specimens(tmp_path / "y.h5")
    with pytest.raises(InputError, match="has no specimen '18'"):
        read_specimen(file_path, "18")


def with_landmarks_moved(file_path, by_px):
    with h5py.File(file_path, "r+") as file:
        specimen = file["17-1882"]
        file["proj-params/pixel-col-spacing"] = 0.194
        specimen["projections/001/gt-landmarks/FH-l"][...] = np.array(SEEN_PX)[:, None] + by_px


def test_xrays_of_the_calibrated_set_lose_their_rim_and_keep_their_projection(file_path):
    with_landmarks_moved(file_path, 0)
    subject = read_subject(file_path, "17-1882")
    assert subject.labels.names[1] == "hip_left"
    xrays = list(read_xrays(file_path, "17-1882"))
    assert [(xray.name, xray.image_yx.shape) for xray in xrays] == [
        ("000", (1436, 1436)),
        ("001", (1436, 1436)),
    ]
    assert xrays[0].pixel_mm == 0.194
    point = subject.landmarks_mm["left_femoral_head"]
    half_voxel = subject.volume.spacing_mm / 2 * [-1, -1, 1]
    for xray, (x, y) in zip(xrays, (SEEN_PX, TURNED_PX), strict=True):
        seen = project(xray.K, xray.world_to_camera, point - half_voxel)
        np.testing.assert_allclose(seen, [x - 50, y - 50], atol=0.05)


def test_landmarks_that_are_not_projected_points_are_refused(file_path):
    with_landmarks_moved(file_path, 40)
    with pytest.raises(InputError, match=r"projections/001: has its 2D landmarks 5[67]"):
        list(read_xrays(file_path, "17-1882"))
