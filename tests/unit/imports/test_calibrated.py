"""Calibrated data sets in other layouts than DeepFluoro's: small files, against the layouts' own formulas."""

import h5py
import nibabel as nib
import numpy as np
import pytest
import torch

from raymark.core.errors import InputError
from raymark.geometry.camera import project
from raymark.imports import exchange_folder, ljubljana
from raymark.imports.calibrated import Angiogram, looking_forward
from tests.unit.imports.test_xray_file import write_dicom

VESSELS_MM = np.random.default_rng(0).uniform(20, 60, (30, 3))
NEGATIVE_K = np.array([[-7000.0, 0, 480], [0, -7000, 640], [0, 0, 1]])


def rotation(seed: int) -> np.ndarray:
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q @ np.diag(np.sign(np.diag(r)))
    return q * np.sign(np.linalg.det(q))


def pose_with_depth(depth_mm: float) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = rotation(3)
    pose[:3, 3] = -pose[:3, :3] @ [40.0, 40, 40] + [3, -5, depth_mm]
    return pose


@pytest.mark.parametrize("depth_mm", [-700.0, 700])
def test_a_camera_is_made_to_look_forward_without_moving_a_pixel(depth_mm):
    pose = pose_with_depth(depth_mm)
    K, ours = looking_forward(NEGATIVE_K, pose, VESSELS_MM, "x")
    theirs = NEGATIVE_K @ (pose[:3, :3] @ VESSELS_MM.T + pose[:3, 3:])
    np.testing.assert_allclose(project(K, ours, VESSELS_MM), (theirs[:2] / theirs[2]).T, atol=1e-8)
    assert np.linalg.det(ours[:3, :3]) == pytest.approx(1)


def test_a_mirroring_pose_and_a_source_in_the_body_are_refused():
    with pytest.raises(InputError, match="source inside"):
        looking_forward(NEGATIVE_K, pose_with_depth(0.0), VESSELS_MM, "x")
    mirrored = np.diag([-1.0, 1, 1, 1]) @ pose_with_depth(700)
    with pytest.raises(InputError, match="mirrors the patient"):
        looking_forward(NEGATIVE_K, mirrored, VESSELS_MM, "x")


@pytest.fixture
def angiograms(tmp_path):
    path = tmp_path / "ljubljana.h5"
    with h5py.File(path, "w") as file:
        subject = file.create_group("subject01")
        subject["volume/pixels"] = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
        subject["volume/spacing"], subject["volume/origin"] = [0.5, 0.5, 0.4], [1.0, 2, 3]
        subject["points"] = VESSELS_MM
        for name, depth_mm in {"proj-ap": -700.0, "proj-lat": 650.0}.items():
            view = subject.create_group(name)
            view["pixels"] = np.eye(12, 10)
            view["intrinsic"], view["extrinsic"] = NEGATIVE_K, pose_with_depth(depth_mm)
            view["col-spacing"] = view["row-spacing"] = 0.154
    return path


def test_angiograms_are_no_ct_and_their_vessels_are_seen_by_their_own_formula(angiograms):
    assert ljubljana.subjects(angiograms) == ["subject01"]
    subject = ljubljana.read_subject(angiograms, "subject01")
    assert isinstance(subject.volume, Angiogram)
    corner = subject.volume.affine @ [3, 4, 5, 1]
    np.testing.assert_allclose(corner[:3], [2.5, 4, 5])
    xrays = list(ljubljana.read_xrays(angiograms, "subject01"))
    assert [xray.name for xray in xrays] == ["proj-ap", "proj-lat"]
    for xray, depth_mm in zip(xrays, (-700.0, 650.0), strict=True):
        pose = pose_with_depth(depth_mm)
        theirs = NEGATIVE_K @ (pose[:3, :3] @ VESSELS_MM.T + pose[:3, 3:])
        seen = project(xray.K, xray.world_to_camera, subject.points_mm)
        np.testing.assert_allclose(seen, (theirs[:2] / theirs[2]).T, atol=1e-8)
        assert xray.pixel_mm == 0.154


def test_other_files_are_no_angiograms(tmp_path, angiograms):
    with pytest.raises(InputError, match="is missing"):
        ljubljana.subjects(tmp_path / "none.h5")
    with pytest.raises(InputError, match="has no subject 'x'"):
        ljubljana.read_subject(angiograms, "x")
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file["proj-params/intrinsic"] = np.eye(3)
    with pytest.raises(InputError, match="not Ljubljana's"):
        ljubljana.subjects(tmp_path / "y.h5")


AFFINE = np.diag([-2.0, 2, 3, 1])
AFFINE[:3, 3] = [50, -300, -900]
INTRINSICS = {
    "sdd": 1020.0,
    "delx": 1.5,
    "dely": 1.5,
    "x0": 6.0,
    "y0": -4.5,
    "height": 40,
    "width": 50,
}


@pytest.fixture
def folder(tmp_path):
    xrays = tmp_path / "subject01/xrays"
    xrays.mkdir(parents=True)
    voxels = np.random.default_rng(1).integers(-1000, 1000, (20, 24, 16)).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, AFFINE), xrays.parent / "volume.nii.gz")
    labels = np.zeros(voxels.shape, np.uint8)
    labels[5:9] = 1
    nib.save(nib.Nifti1Image(labels, AFFINE), xrays.parent / "mask.nii.gz")
    write_dicom(xrays / "000.dcm", pixels=np.arange(2000, dtype=np.uint16).reshape(40, 50))
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation(5), rotation(5) @ [0, 0, -800.0]
    write_pose(xrays / "000.pt", pose @ np.linalg.inv(exchange_folder.AP))
    return tmp_path


def write_pose(path, pose, **changed):
    torch.save({"pose": torch.tensor(pose)[None], **INTRINSICS, **changed}, path)


def test_the_exchange_folder_projects_as_its_peers_do(folder):
    subject = exchange_folder.read_subject(folder, "subject01")
    (xray,) = exchange_folder.read_xrays(folder, "subject01")
    assert subject.labels is not None
    assert set(np.unique(subject.labels.labels_xyz)) == {0, 1}
    pose = torch.load(folder / "subject01/xrays/000.pt", weights_only=True)["pose"][0].numpy()
    world = (AFFINE @ [*(np.array([20, 24, 16]) - 1) / 2, 1])[:3]
    points = np.random.default_rng(2).uniform(-20, 20, (6, 3))
    K = np.array([[680.0, 0, 24.5 + 4], [0, -680, 19.5 - 3], [0, 0, 1]])
    homogeneous = np.column_stack([points, np.ones(6)]).T
    theirs = K @ (np.linalg.inv(pose @ exchange_folder.AP) @ homogeneous)[:3]
    seen = project(xray.K, xray.world_to_camera, points + world)
    np.testing.assert_allclose(seen, (theirs[:2] / theirs[2]).T, atol=1e-6)
    assert xray.image_yx.shape == (40, 50)


def test_a_pose_file_that_would_run_code_is_not_loaded(folder):
    file = folder / "subject01/xrays/000.pt"
    torch.save({"pose": np.eye, **INTRINSICS}, file)
    with pytest.raises(InputError, match="no pose of the exchange folder"):
        list(exchange_folder.read_xrays(folder, "subject01"))


def test_an_image_of_another_size_and_a_missing_value_are_refused(folder):
    file = folder / "subject01/xrays/000.pt"
    write_pose(file, np.eye(4), width=51)
    with pytest.raises(InputError, match="51 × 40"):
        list(exchange_folder.read_xrays(folder, "subject01"))
    torch.save({"pose": torch.eye(4)[None]}, file)
    with pytest.raises(InputError, match="lacks 'sdd'"):
        list(exchange_folder.read_xrays(folder, "subject01"))
    with pytest.raises(InputError, match="has no subject"):
        exchange_folder.subjects(folder / "subject01")
