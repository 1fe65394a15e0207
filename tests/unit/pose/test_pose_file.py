"""pose.json: each library's own code puts the same points, or the same beads, at the same pixels."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from diffdrr.drr import DRR
from diffdrr.pose import RigidTransform
from nanodrr.data import Subject as NanoSubject
from nanodrr.drr import render
from scipy.spatial.transform import Rotation
from torchio import ScalarImage, Subject

from raymark.core.errors import InputError
from raymark.geometry.camera import Detector, carm_camera
from raymark.pose.pose_file import (
    PosedView,
    read_pose,
    record_of,
    view_of,
    write_itk,
    write_pose,
)
from tests.oracles import bead, grid

SID_MM = 1050.0
CENTRE_MM = np.array([12.0, -30.0, 250.0])
SHAPE_XYZ = (34, 36, 38)


def camera(flip=False):
    return carm_camera(
        Detector(70, 83, 1.9, (5.0, -3.0)),
        primary_deg=25,
        secondary_deg=-10,
        roll_deg=30,
        flip=flip,
        isocentre_world_mm=CENTRE_MM,
        source_to_isocentre_mm=700.0,
        source_to_detector_mm=SID_MM,
    )


def record(flip=False):
    taken = camera(flip)
    view = PosedView("shot.dcm", taken.K, taken.world_to_camera, 70, 83)
    return record_of(view, SID_MM)


POINTS = CENTRE_MM + np.random.default_rng(0).uniform(-40, 40, (9, 3))


@pytest.mark.parametrize("flip", [False, True])
def test_opencvs_formula_sees_points_where_we_do(flip):
    """x = K (R X + t), R by Rodrigues' formula, as cv2.projectPoints has it."""
    given = record(flip)["opencv"]
    turn = np.array(given["rvec"])
    angle = np.linalg.norm(turn)
    x, y, z = turn / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    seen = (POINTS @ rotation.T + given["tvec_mm"]) @ np.array(given["camera_matrix"]).T
    np.testing.assert_allclose(seen[:, :2] / seen[:, 2:], camera(flip).project(POINTS), atol=1e-6)


def test_itk_and_lps_lead_into_the_same_camera(tmp_path):
    taken = camera()
    write_itk(tmp_path / "pose.tfm", taken.world_to_camera)
    transform = sitk.ReadTransform(str(tmp_path / "pose.tfm"))
    lps = POINTS * [-1, -1, 1]
    expected = POINTS @ taken.world_to_camera[:3, :3].T + taken.world_to_camera[:3, 3]
    np.testing.assert_allclose([transform.TransformPoint(p.tolist()) for p in lps], expected)
    matrix = np.array(record()["world_to_camera_lps"])
    np.testing.assert_allclose(lps @ matrix[:3, :3].T + matrix[:3, 3], expected)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("library", ["diffdrr", "nanodrr"])
def test_the_libraries_see_a_bead_where_we_do(library, flip):
    affine = grid("RAS", SHAPE_XYZ, (2.0, 2.0, 2.0), CENTRE_MM)
    given = record(flip)[library]
    for point in CENTRE_MM + np.array([[20.0, -8, 16], [-22, 14, -12]]):
        density = bead(SHAPE_XYZ, affine, point, 5.0).astype(np.float32)
        image = {"diffdrr": _diffdrr, "nanodrr": _nanodrr}[library](given, density, affine)
        rows, columns = np.indices(image.shape)
        seen = np.array([(image * columns).sum(), (image * rows).sum()]) / image.sum()
        np.testing.assert_allclose(seen, camera(flip).project(point[None])[0], atol=0.1)


def _diffdrr(given, density, affine):
    image = ScalarImage(tensor=torch.zeros(1, *SHAPE_XYZ), affine=affine)
    subject = Subject(volume=image, density=image, mask=None, reorient=torch.eye(4), fiducials=None)
    arguments = {key: value for key, value in given.items() if key != "pose"}
    drr = DRR(subject, **arguments)
    pose = RigidTransform(torch.tensor([given["pose"]], dtype=torch.float32))
    source, target = drr.detector(pose, None)
    return drr.render(torch.tensor(density), source, target).reshape(70, 83).numpy()


def _nanodrr(given, density, affine):
    volume = torch.tensor(density).permute(2, 1, 0).contiguous()[None, None]
    subject = NanoSubject(
        volume,
        torch.zeros(1, 1, 1, 1, 1),
        torch.tensor(affine, dtype=torch.float32),
        torch.tensor(np.linalg.inv(affine), dtype=torch.float32),
        NanoSubject._make_voxel_to_grid(volume.shape),
        torch.zeros(3),
        max_label=0,
        convert_to_mu=False,
    )
    k_inv, rt_inv = (torch.tensor([given[key]], dtype=torch.float32) for key in ("k_inv", "rt_inv"))
    sdd = torch.tensor([given["sdd"]], dtype=torch.float32)
    image = render(subject, k_inv, rt_inv, sdd, given["height"], given["width"], 800)
    return image[0, 0].numpy()


def test_what_is_written_is_read(tmp_path):
    write_pose(tmp_path / "pose.json", {"ct": "ct.nii.gz", "views": [record(), record(True)]})
    views = read_pose(tmp_path / "pose.json")
    np.testing.assert_array_equal(views[1].K, camera(True).K)
    np.testing.assert_array_equal(views[0].world_to_camera, camera().world_to_camera)
    view, distance_mm = view_of(tmp_path / "pose.json", 2)
    assert (view.height_px, view.width_px, distance_mm) == (70, 83, SID_MM)
    with pytest.raises(InputError, match="has 2 views, no view 3"):
        view_of(tmp_path / "pose.json", 3)


def spoiled(**changes):
    return {"views": [record() | changes]}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "is no file of poses"),
        ([], "is no file of poses"),
        ({"views": []}, "holds no view"),
        ({"views": [{"K": [1]}]}, "is no file of poses"),
        (spoiled(world_to_camera=(2 * np.eye(4)).tolist()), "no rotation and shift"),
        (spoiled(world_to_camera=np.diag([-1.0, 1, 1, 1]).tolist()), "mirrors"),
        (spoiled(world_to_camera=record()["diffdrr"]["pose"]), None),
        (spoiled(K=(-camera().K).tolist()), "K of another convention"),
        (spoiled(K=np.zeros((3, 3)).tolist()), "K of another convention"),
    ],
)
def test_other_conventions_are_refused(tmp_path, content, problem):
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / "pose.json").write_text(text)
    if problem is None:  # a rigid motion all the same: only the result can tell
        read_pose(tmp_path / "pose.json")
        return
    with pytest.raises(InputError, match=problem):
        read_pose(tmp_path / "pose.json")


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_pose(tmp_path / "missing.json")


def test_the_rotation_vector_is_scipys():
    rvec = record()["opencv"]["rvec"]
    np.testing.assert_allclose(
        Rotation.from_rotvec(rvec).as_matrix(), camera().world_to_camera[:3, :3], atol=1e-12
    )
