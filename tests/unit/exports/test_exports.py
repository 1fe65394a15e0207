"""Every form of a view set, read back by the library that it is meant for; refusals; equal bytes."""

import json

import nibabel as nib
import numpy as np
import pycocotools.coco
import pytest
from PIL import Image

from raymark import cli
from raymark.annotations.coco import Coco
from raymark.core.errors import InputError
from raymark.ct import read_volume
from raymark.datasets.lookup import shards_of
from raymark.datasets.shards import Shards
from raymark.exports import export_view_set, formats
from raymark.exports.base import Source
from raymark.exports.nnlandmark import _cubes
from raymark.geometry.camera import project as project_points
from tests.workflow.conftest import LANDMARKS

WITH_MODEL = ("labelme", "labelstudio")


def shards(project, view_set="novel") -> Shards:
    return Shards(shards_of(project, "balls", view_set))


def options(name):
    return ("--method", "narrow") if name in WITH_MODEL else ()


@pytest.mark.parametrize("name", formats())
def test_two_exports_are_the_same_to_the_byte(exported, name):
    once, twice = (exported(name, "train", *options(name), name=n) for n in ("a", "b"))
    files = sorted(path.relative_to(once) for path in once.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(twice) for path in twice.rglob("*") if path.is_file())
    assert files
    for file in files:
        assert (once / file).read_bytes() == (twice / file).read_bytes(), file


def greys_back(greys: dict, path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.mode == "I;16"
        return greys["offset"] + greys["per_grey"] * np.asarray(image).astype(float)


@pytest.mark.parametrize("view_set", ["novel", "train"])
def test_coco_is_read_by_pycocotools_and_by_our_import(project, exported, view_set):
    out = exported("coco", view_set)
    coco, known = pycocotools.coco.COCO(out / "keypoints.json"), shards(project, view_set)
    arrays = known.read(np.arange(len(known)))
    assert arrays["visible"].any()
    assert (view_set == "train") == arrays["visible"].all()
    (category,) = coco.loadCats(coco.getCatIds())
    assert category["keypoints"] == known.landmarks
    assert coco.dataset["info"]["flip_pairs"] == [["left_ball", "right_ball"]]
    assert coco.dataset["info"]["flip_indices"] == [[0, 1]]
    assert len(coco.getImgIds()) == len(known)
    for number, image in enumerate(coco.loadImgs(coco.getImgIds())):
        (annotation,) = coco.loadAnns(coco.getAnnIds(image["id"]))
        points = np.reshape(annotation["keypoints"], (-1, 3))
        visible = arrays["visible"][number]
        np.testing.assert_allclose(
            points[visible, :2], arrays["landmarks"][number][visible], atol=1e-6
        )
        assert (points[visible, 2] == 2).all()
        assert (points[~visible] == 0).all()
        assert annotation["num_keypoints"] == visible.sum()
        height, width = known.shape_yx
        assert annotation["bbox"] == [0, 0, width, height]
        greys = coco.dataset["info"]["greys"]
        back = greys_back(greys, out / image["file_name"])
        np.testing.assert_allclose(back, arrays["image"][number], atol=0.51 * greys["per_grey"])
    _, annotations = Coco(layout="coco", file=str(out / "keypoints.json")).read(None)
    first = annotations[0].points
    for name, point, seen in zip(
        known.landmarks, arrays["landmarks"][0], arrays["visible"][0], strict=True
    ):
        if seen:
            np.testing.assert_allclose(first[name], point, atol=1e-6)
        else:
            assert np.isnan(first[name]).all()


@pytest.mark.parametrize("view_set", ["novel", "train"])
def test_json_projects_its_points_by_its_own_matrices(project, exported, view_set):
    """In RAS and in LPS, mirrored or not; the world points of an unmirrored view are the CT's."""
    out, known = exported("json", view_set), shards(project, view_set)
    arrays, seen = known.read(np.arange(len(known))), set()
    for number, view in enumerate(known.views):
        told = json.loads((out / f"{view}.json").read_text())
        seen.add(told["mirrored"])
        px = np.array([landmark["px"] for landmark in told["landmarks"]])
        for frame in ("ras", "lps"):
            world = np.array([landmark[f"{frame}_mm"] for landmark in told["landmarks"]])
            camera = np.array(told[f"world_to_camera_{frame}_mm"])
            np.testing.assert_allclose(
                project_points(np.array(told["K"]), camera, world), px, atol=1e-3
            )
        if not told["mirrored"]:
            named = {point["name"]: point["ras_mm"] for point in told["landmarks"]}
            for name, point in LANDMARKS.items():
                np.testing.assert_allclose(named[name], point, atol=1e-3)
        assert [p["visible"] for p in told["landmarks"]] == arrays["visible"][number].tolist()
        assert told["physics"] == known.attributes[0]["physics"]
        assert told["image"] == f"images/{view}.png"
        back = greys_back(told["greys"], out / told["image"])
        np.testing.assert_allclose(
            back, arrays["image"][number], atol=0.51 * told["greys"]["per_grey"]
        )
    assert seen == ({False} if view_set == "novel" else {True, False})


def test_nnlandmark_has_a_cube_about_each_landmark(exported, folder):
    out = exported("nnlandmark")
    image = nib.load(out / "imagesTr/ball_patient_0000.nii.gz")
    labels = nib.load(out / "labelsTr/ball_patient.nii.gz")
    np.testing.assert_array_equal(image.affine, labels.affine)
    ct = read_volume(folder / "results/volumes/balls/ball_patient/ct.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj), ct.hu_xyz)
    described = json.loads((out / "dataset.json").read_text())
    assert described["numTraining"] == 1
    assert described["file_ending"] == ".nii.gz"
    numbers = json.loads((out / "name_to_label.json").read_text())
    assert described["labels"] == {"background": 0} | numbers
    voxels = json.loads((out / "all_landmarks_voxel.json").read_text())["ball_patient"]
    values = np.asarray(labels.dataobj)
    assert values.dtype == np.uint8
    for name, point in LANDMARKS.items():
        cube = np.argwhere(values == numbers[name])
        assert len(cube) == 27
        centre = cube.mean(axis=0)
        np.testing.assert_array_equal(centre, voxels[name])
        world = nib.affines.apply_affine(labels.affine, centre)
        assert (np.abs(world - point) <= ct.spacing_mm / 2 + 1e-3).all()
    spacing = json.loads((out / "spacing.json").read_text())["ball_patient"]
    np.testing.assert_allclose(spacing["image_spacing"], image.header.get_zooms())


@pytest.mark.parametrize(
    ("centres", "problem"),
    [
        ([[5, 5, 5], [7, 6, 5]], r"'a' and 'b' are so near"),
        ([[0, 5, 5], [7, 6, 5]], r"'a' lies at the border"),
        ([[5, 5, 5], [5, 5, 9]], r"'b' lies at the border"),
    ],
)
def test_cubes_that_would_mislead_are_refused(centres, problem):
    with pytest.raises(InputError, match=problem):
        _cubes("ct", (10, 10, 10), np.array(centres), ["a", "b"])
    assert _cubes("ct", (10, 10, 10), np.array([[5, 5, 5], [8, 8, 8]]), ["a", "b"]).max() == 2


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"--dataset": "hip"}, "data set 'hip': is not known"),
        ({"--view-set": "none"}, "view set 'none' of balls: is not known. Known: around"),
        ({"--format": "csv"}, "format 'csv': is not known. Known: coco, dicom, json"),
        ({"--format": "labelme"}, "--method: labelme shows what a model found, and none is named"),
        ({"--method": "narrow"}, "--method: coco holds the truth"),
        ({"--format": "labelme", "--method": "wide"}, "raymark predict-views balls wide 0 novel"),
    ],
)
def test_mistakes_are_told_in_one_line_and_leave_nothing(project, tmp_path, capsys, changes, told):
    out = tmp_path / "out"
    asked = {"--dataset": "balls", "--view-set": "novel", "--format": "coco", "--out": str(out)}
    words = [word for pair in (asked | changes).items() for word in pair]
    assert cli.main(["export-data", *words, "--config", "config.yaml"]) == 1
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone(project, tmp_path):
    with pytest.raises(InputError, match="is there already"):
        export_view_set(Source(project, "balls", "novel"), "coco", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_fails_leaves_nothing(project, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("the power went")

    monkeypatch.setattr("raymark.exports.json.write_json", fail)
    with pytest.raises(RuntimeError, match="power"):
        export_view_set(Source(project, "balls", "novel"), "json", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
