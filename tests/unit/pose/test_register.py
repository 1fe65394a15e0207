"""The commands on files: a DICOM X-ray and a CT on disk, to pose.json, pictures and one clear line."""

import json
from contextlib import chdir

import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image

from raymark.cli import main
from raymark.ct import Volume, write_volume
from raymark.geometry.camera import project
from raymark.metrics.pose import mtre_mm
from raymark.pose.drr import write_xray
from tests.unit.pose import chest

PLACE = (30, 20)
NAMES = [f"point_{i}" for i in range(9)]
WORLD_MM = chest.points_mm()[:9]
GIVEN = ["--source-to-detector-mm", "1100", "--pixel-mm", "1.4"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A CT, cut at both ends, X-rays as DICOM and PNG, and landmarks."""
    folder = tmp_path_factory.mktemp("register")
    write_volume(folder / "ct.nii.gz", chest.cut(((2, 0), (2, 1))))
    for name, place in {"shot": PLACE, "side": (90, 0)}.items():
        camera, image = chest.view(*place), chest.xray(*place)
        centre = chest.middle_mm()
        write_xray(f"{folder / name}.dcm", image.astype(np.float32), camera, 1100.0, centre)
    bright = chest.xray(*PLACE)
    spans = {
        "bright": bright,
        "dark": -bright,
        "raw": 1 - np.exp(-bright),
        "raw_dark": np.exp(-bright),
    }
    for name, image in spans.items():
        grey = (image - image.min()) / np.ptp(image) * 65535
        Image.fromarray(np.rint(grey).astype(np.uint16)).save(folder / f"{name}.png")
    write_points(folder / "world.csv", WORLD_MM, NAMES)
    write_pixels(folder / "image.csv", NAMES)
    return folder


def write_points(path, points_mm, names):
    table = pd.DataFrame(points_mm, columns=["x_mm", "y_mm", "z_mm"])
    table.insert(0, "landmark", names)
    table.to_csv(path, index=False)


def write_pixels(path, names):
    noise = np.random.default_rng(0).normal(0, 1.0, (len(names), 2))
    table = pd.DataFrame(chest.view(*PLACE).project(WORLD_MM[: len(names)]) + noise)
    table.columns = ["x_px", "y_px"]
    table.insert(0, "landmark", names)
    table.to_csv(path, index=False)


def run(folder, *arguments):
    with chdir(folder):
        return main([str(argument) for argument in arguments])


def register(folder, xray, *arguments, out="out"):
    command = ["register", "--ct", "ct.nii.gz", "--xray", xray, "--out", out, *arguments]
    assert run(folder, *command) == 0
    return json.loads((folder / out / "pose.json").read_text())["views"]


def error_mm(view, place=PLACE):
    return mtre_mm(np.array(view["world_to_camera"]), chest.view(*place).world_to_camera, WORLD_MM)


@pytest.fixture(scope="module")
def by_tags(folder):
    """The view registered from its tags, into the folder `out`."""
    (view,) = register(folder, "shot.dcm", "--from-dicom")
    return view


def test_from_tags(folder, by_tags):
    view = by_tags
    assert error_mm(view) < 1
    assert view["trusted"]
    assert view["started_from"] == "the C-arm's distances and angles"
    np.testing.assert_allclose(view["K"], chest.view(*PLACE).K, atol=1e-3)
    for picture in ("overlay", "edges", "checkerboard"):
        assert Image.open(folder / f"out/shot_{picture}.png").size == (256, 256)
    assert Image.open(folder / "out/shot_animation.gif").n_frames > 5


def test_from_landmarks_and_the_points_it_leaves(folder):
    points = ["--landmarks3d", "world.csv", "--landmarks2d", "image.csv"]
    (view,) = register(folder, "shot.dcm", *points, out="landmarks")
    assert error_mm(view) < 1
    assert view["started_from"].startswith("9 landmarks, which it meets within")
    found = pd.read_csv(folder / "landmarks/shot_points.csv").set_index("landmark")
    true = chest.view(*PLACE).project(WORLD_MM)
    np.testing.assert_allclose(found.loc[NAMES, ["x_px", "y_px"]], true, atol=1)
    markup = json.loads((folder / "landmarks/shot_points.mrk.json").read_text())
    assert [p["label"] for p in markup["markups"][0]["controlPoints"]] == NAMES


def test_from_the_points_that_a_model_finds(folder, monkeypatch):
    """What the model did not find, or found as a second instance, would lead astray."""
    points = pd.DataFrame(chest.view(*PLACE).project(WORLD_MM), columns=["x_px", "y_px"])
    points.insert(0, "landmark", NAMES)
    table = pd.concat([points, points.assign(x_px=9.0)], ignore_index=True)
    table["instance"], table["detected"] = [0] * 9 + [1] * 9, True
    table.loc[7:8, ["x_px", "detected"]] = [5.0, False]
    monkeypatch.setattr("raymark.training.model_files.load_model", lambda path: (path, None))
    monkeypatch.setattr("raymark.detection.on_files.find_landmarks", lambda *_: (table, []))
    given = ["--landmarks3d", "world.csv", "--model", "model.safetensors"]
    (view,) = register(folder, "shot.dcm", *given, out="model")
    assert error_mm(view) < 1
    assert view["started_from"].startswith("7 landmarks, which it meets within")


def test_a_frame_of_a_series(folder):
    """Of three frames, the second alone is the X-ray."""
    data = pydicom.dcmread(folder / "shot.dcm")
    other = np.random.default_rng(0).integers(0, 3000, (256, 256), np.uint16).tobytes()
    data.PixelData, data.NumberOfFrames = other + data.PixelData + other, 3
    data.save_as(folder / "series.dcm", enforce_file_format=True)
    (view,) = register(folder, "series.dcm", "--from-dicom", "--frame", "2", out="series")
    assert error_mm(view) < 1
    assert view["trusted"]


def test_from_nothing(folder):
    (view,) = register(folder, "shot.dcm", out="nothing")
    assert error_mm(view) < 1
    assert view["trusted"]
    assert view["started_from"] == "nothing: a search over the view sphere"


def test_from_angles_and_a_picture(folder):
    given = [*GIVEN, "--source-to-patient-mm", "750", "--angles", "25,15"]
    (view,) = register(folder, "bright.png", *given, out="angles")
    assert error_mm(view) < 1


@pytest.mark.parametrize("image", ["dark", "raw", "raw_dark"])
def test_greys_that_no_tag_explains_are_recognised_and_told(folder, capsys, image):
    given = [*GIVEN, "--source-to-patient-mm", "750", "--angles", "28,18"]
    (view,) = register(folder, f"{image}.png", *given, out=image)
    assert view["trusted"]
    assert error_mm(view) < 1
    assert image == "raw" or "its greys fit as" in capsys.readouterr().err


def test_two_views_of_one_file_know_the_depth_and_stay_as_they_are(folder):
    motion = np.eye(4)
    motion[:3, 3] = [5, -6, 4]
    cameras = [chest.view(*place) for place in (PLACE, (90, 0))]
    start = [
        {"K": camera.K.tolist(), "world_to_camera": (camera.world_to_camera @ motion).tolist()}
        for camera in cameras
    ]
    (folder / "start.json").write_text(json.dumps({"views": start}))
    both = ["--xray", "side.dcm", "--pose", "start.json"]
    views = register(folder, "shot.dcm", *both, out="both")
    for view, place in zip(views, (PLACE, (90, 0)), strict=True):
        assert error_mm(view, place) < 0.5
        depth = np.array(view["world_to_camera"]) - chest.view(*place).world_to_camera
        assert abs(depth[2] @ [*chest.middle_mm(), 1]) < 0.3
    poses = [np.array(view["world_to_camera"]) for view in views]
    relative = chest.view(*PLACE).world_to_camera @ np.linalg.inv(chest.view(90).world_to_camera)
    np.testing.assert_allclose(poses[0] @ np.linalg.inv(poses[1]), relative, atol=1e-6)
    free = register(folder, "shot.dcm", *both, "--free", out="free")
    assert max(error_mm(v, p) for v, p in zip(free, (PLACE, (90, 0)), strict=True)) < 1


def test_restart_goes_on_from_the_result(folder, by_tags, capsys):
    (view,) = register(folder, "shot.dcm", "--restart", "out/pose.json", out="again")
    assert view["moved_mm"] < 0.5
    assert "shot.dcm: trusted: edges agree" in capsys.readouterr().out


def test_drr_and_project(folder, by_tags):
    pose = ["--pose", "out/pose.json"]
    assert run(folder, "drr", "--ct", "ct.nii.gz", *pose, "--out", "drr.dcm") == 0
    data = pydicom.dcmread(folder / "drr.dcm")
    assert data.DistanceSourceToDetector == 1100
    assert float(data.PositionerPrimaryAngle) == pytest.approx(PLACE[0], abs=0.5)
    rendered, true = data.pixel_array.astype(float), chest.xray(*PLACE)
    assert np.corrcoef(rendered[60:180, 60:180].ravel(), true[60:180, 60:180].ravel())[0, 1] > 0.99
    command = ["project", "--points", "world.csv", *pose, "--out", "points.csv"]
    assert run(folder, *command) == 0
    found = pd.read_csv(folder / "points.csv")
    true_px = project(chest.view(*PLACE).K, chest.view(*PLACE).world_to_camera, WORLD_MM)
    np.testing.assert_allclose(found[["x_px", "y_px"]], true_px, atol=1)


def refused(folder, capsys, *arguments):
    before = sorted(folder.rglob("*"))
    assert run(folder, "register", "--ct", "ct.nii.gz", "--out", "bad", *arguments) == 1
    assert sorted(folder.rglob("*")) == before  # nothing half-written
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("raymark register: ")
    return told


SHOT = ["--xray", "shot.dcm"]


def test_missing_values_are_named_with_their_option(folder, capsys):
    told = refused(folder, capsys, "--xray", "bright.png")
    assert "--source-to-detector-mm" in told
    told = refused(folder, capsys, "--xray", "bright.png", "--source-to-detector-mm", "1100")
    assert "--pixel-mm" in told
    told = refused(folder, capsys, "--xray", "bright.png", *GIVEN, "--from-dicom")
    assert "--angles" in told


def test_landmarks_that_do_not_belong_are_told(folder, capsys):
    write_pixels(folder / "few.csv", NAMES[:5])
    points = ["--landmarks3d", "world.csv", "--landmarks2d"]
    assert "5 names" in refused(folder, capsys, *SHOT, *points, "few.csv")
    write_pixels(folder / "other.csv", [f"other_{i}" for i in range(9)])
    assert "no name" in refused(folder, capsys, *SHOT, *points, "other.csv")
    write_points(folder / "lps.csv", WORLD_MM * [-1, -1, 1], NAMES)
    points = ["--landmarks3d", "lps.csv", "--landmarks2d", "image.csv"]
    assert "LPS for RAS" in refused(folder, capsys, *SHOT, *points)
    write_points(folder / "mixed.csv", WORLD_MM[::-1], NAMES)
    points = ["--landmarks3d", "mixed.csv", "--landmarks2d", "image.csv"]
    assert "does not fit the 3D landmarks" in refused(folder, capsys, *SHOT, *points)
    points = ["--landmarks2d", "image.csv"]
    assert "--landmarks3d" in refused(folder, capsys, *SHOT, *points)


def test_images_that_are_none_are_told(folder, capsys):
    given = [*GIVEN, "--angles", "0,0"]
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(folder / "black.png")
    assert "single grey" in refused(folder, capsys, "--xray", "black.png", *given)
    colours = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(colours).save(folder / "colour.png")
    assert "colour" in refused(folder, capsys, "--xray", "colour.png", *given)
    assert "leaves nothing" in refused(folder, capsys, *SHOT, "--crop", "140")
    Image.fromarray(np.eye(30, dtype=np.uint8) * 255).save(folder / "small.png")
    assert "mask of the X-ray" in refused(folder, capsys, *SHOT, "--mask", "small.png")


def test_pose_files_that_do_not_fit_are_told(folder, capsys):
    (folder / "wrong.json").write_text("{}")
    assert "no file of poses" in refused(folder, capsys, *SHOT, "--pose", "wrong.json")
    view = {"K": chest.view(0).K.tolist(), "world_to_camera": np.eye(4).tolist()}
    (folder / "two.json").write_text(json.dumps({"views": [view, view]}))
    assert "holds 2 views" in refused(folder, capsys, *SHOT, "--pose", "two.json")


def test_another_body_is_not_trusted(folder, capsys):
    """A CT of balls."""
    hu = np.full((60, 60, 60), -1000, np.int16)
    at = np.indices(hu.shape) - 29.5
    hu[(at**2).sum(axis=0) < 27**2] = 30
    hu[((at - 8) ** 2).sum(axis=0) < 9**2] = 600
    affine = np.diag([4.0, 4, 4, 1])
    affine[:3, 3] = chest.middle_mm() - 118
    write_volume(folder / "balls.nii.gz", Volume(hu, affine))
    command = ["register", "--ct", "balls.nii.gz", *SHOT, "--from-dicom", "--out", "balls"]
    assert run(folder, *command) == 0
    (view,) = json.loads((folder / "balls/pose.json").read_text())["views"]
    assert not view["trusted"]
    output = capsys.readouterr()
    assert "NOT TRUSTED" in output.out
    assert "NOT to be trusted" in output.err


def test_a_mask_and_a_crop_are_respected(folder):
    mask = np.zeros((256, 256), np.uint8)
    mask[40:220, 40:230] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    spoiled = chest.xray(*PLACE).copy()
    spoiled[mask == 0] = np.random.default_rng(0).uniform(0, 8, int((mask == 0).sum()))
    write_xray(f"{folder}/noisy.dcm", spoiled, chest.view(*PLACE), 1100.0, chest.middle_mm())
    (view,) = register(folder, "noisy.dcm", "--from-dicom", "--mask", "mask.png", out="masked")
    assert error_mm(view) < 1
    (view,) = register(folder, "noisy.dcm", "--from-dicom", "--crop", "40", out="cropped")
    assert error_mm(view) < 1
