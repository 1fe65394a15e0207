"""The way round: found points go to labelme and Label Studio, and come back by our import as they were."""

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from raymark import cli
from raymark.annotations.label_studio import LabelStudio
from raymark.annotations.labelme import Labelme
from raymark.config.imports import Import2d
from raymark.core.errors import InputError
from raymark.datasets.lookup import shards_of
from raymark.datasets.shards import Shards
from raymark.detection.on_files import Found, predict_images
from raymark.exports import besides
from raymark.exports._to_correct import of_image
from raymark.imports.stored_image import Xray
from raymark.imports.write import plan
from tests.unit.detection.test_on_files import IMAGE, model, model_path  # noqa: F401
from tests.unit.exports.conftest import SHIFT_PX
from tests.unit.imports.test_xray_file import write_dicom


def submitted(folder):
    """Have every prediction accepted and exported, as Label Studio does it; return the file."""
    tasks = json.loads((folder / "tasks.json").read_text())
    for number, task in enumerate(tasks, start=1):
        (prediction,) = task.pop("predictions")
        task |= {"id": number, "annotations": [{"id": number, "result": prediction["result"]}]}
    (folder / "exported.json").write_text(json.dumps(tasks))
    return folder / "exported.json"


def layout_of(name, folder):
    """Return what reads a folder's points back, and the folder of its images."""
    if name == "labelme":
        return Labelme(layout="labelme", folder=str(folder)), folder
    return LabelStudio(layout="label-studio", file=str(submitted(folder))), folder / "images"


@pytest.mark.parametrize("name", ["labelme", "labelstudio"])
def test_predictions_of_a_view_set_come_back_as_they_were(project, exported, name):
    out = exported(name, "train", "--method", "narrow", "--seed", "0")
    shards = Shards(shards_of(project, "balls", "train"))
    layout, images = layout_of(name, out)
    names, annotations = layout.read(shards.landmarks)
    assert [a.image for a in annotations] == [f"{view}.png" for view in shards.views]
    for number, annotation in enumerate(annotations):
        found = shards.small["landmarks"][number] + np.float32(SHIFT_PX)
        points = np.array([annotation.points[landmark] for landmark in names])
        np.testing.assert_allclose(points, found, atol=1e-6)
        assert (annotation.pixel_mm, annotation.patient) == (3.2, "p1")
        assert annotation.size_px == (64, 48)
        with Image.open(images / annotation.image) as picture:
            assert (picture.mode, picture.size) == ("L", (64, 48))
            greys = np.asarray(picture, float).ravel()
        image = shards.read(np.array([number]))["image"].astype(float).ravel()
        assert np.corrcoef(greys, image)[0, 1] > 0.98  # bone bright as there


@pytest.mark.parametrize("name", ["labelme", "labelstudio"])
def test_what_was_not_detected_is_left_to_the_annotator(project, exported, name):
    shards = Shards(shards_of(project, "balls", "novel"))
    layout, _ = layout_of(name, exported(name, "novel", "--method", "narrow"))
    _, annotations = layout.read(shards.landmarks)
    of_view = {a.image.removesuffix(".png"): set(a.points) for a in annotations}
    for view, visible in zip(shards.views, shards.small["visible"], strict=True):
        seen = {n for n, shown in zip(shards.landmarks, visible, strict=True) if shown}
        assert of_view.get(view, set()) == seen


def test_the_names_are_offered_to_the_annotator(project, exported):
    out = exported("labelme", "novel", "--method", "narrow", name="a")
    names = Shards(shards_of(project, "balls", "novel")).landmarks
    assert (out / "labels.txt").read_text().splitlines() == names
    out = exported("labelstudio", "novel", "--method", "narrow", name="b")
    interface = ElementTree.parse(out / "interface.xml").getroot()
    assert [label.get("value") for label in interface.iter("Label")] == names
    (control,) = interface.iter("KeyPointLabels")
    (shown,) = interface.iter("Image")
    assert control.get("toName") == shown.get("name")
    assert shown.get("value") == "$image"
    for task in json.loads((out / "tasks.json").read_text()):
        for result in task["predictions"][0]["result"]:
            assert (result["from_name"], result["to_name"]) == (
                control.get("name"),
                shown.get("name"),
            )


@pytest.fixture
def predicted(tmp_path, model_path):  # noqa: F811
    """Predict a mirrored DICOM image with oblong pixels and a PNG; return both folders and points."""
    images = tmp_path / "images"
    images.mkdir()
    write_dicom(images / "a.dcm", ImagerPixelSpacing=[0.25, 0.2], PatientOrientation=["R", "F"])
    Image.fromarray(IMAGE).save(images / "b.png")
    out = tmp_path / "predicted"
    options = ["--also", "labelme", "--also", "labelstudio", "--out", str(out)]
    assert cli.main(["predict", "--model", model_path, str(images), *options]) == 0
    return out


@pytest.mark.parametrize("name", ["labelme", "labelstudio"])
def test_own_images_go_round(predicted, name):
    """By the import of pictures, upright and square: the points are where the file's own ones are."""
    layout, images = layout_of(name, predicted / name)
    settings = Import2d.model_validate(
        {
            "name": "corrected",
            "title": "Corrected",
            "images": str(images),
            "annotations": layout.model_dump(),
            "height_px": 60,
            "width_px": 80,
            "scale": {"kind": "pixel"},
            "split": {"kind": "whole", "view_set": "test"},
        }
    )
    with pytest.raises(InputError, match=r"b\.png does not tell its pitch"):
        plan(settings, "corrected.yaml")  # nothing tells the pixel size of the PNG
    scale = settings.scale.model_copy(update={"pixel_mm": 0.3})
    names, planned = plan(settings.model_copy(update={"scale": scale}), "corrected.yaml")
    assert names == ["left_x", "right_x"]
    assert [image.file_pixel_mm for image in planned] == [0.2, 0.3]
    a, b = (pd.read_csv(predicted / f"{stem}_points.csv") for stem in ("a", "b"))
    np.testing.assert_allclose(planned[1].points_px, b[["x_px", "y_px"]], atol=6e-4)
    # Mirrored, and 60 rows of 0.25 mm are 75 of 0.2 mm.
    x_px, y_px = planned[0].points_px.T
    np.testing.assert_allclose(79 - x_px, a["x_px"], atol=6e-4)
    np.testing.assert_allclose((y_px + 0.5) * 0.8 - 0.5, a["y_px"], atol=6e-4)
    assert planned[0].shape_yx == (75, 80)


def test_points_go_round_without_loss(tmp_path):
    rng = np.random.default_rng(0)
    names = [f"p{number}" for number in range(20)]
    table = pd.DataFrame(rng.uniform(-0.4, 59, (20, 2)), columns=["x_px", "y_px"])
    table = table.assign(landmark=names, instance=0, confidence=0.5, detected=True)
    xray = Xray(IMAGE.astype(np.float32), 0.143)
    found = Found("x.png", None, tmp_path / "x", xray, table, model(landmarks=names))
    for name, kind in besides().items():
        if name != "sr":
            writer = kind(tmp_path)
            writer.add(found)
            writer.end()
            _, (annotation,) = layout_of(name, tmp_path / name)[0].read(names)
            points = np.array([annotation.points[n] for n in names])
            np.testing.assert_allclose(points, table[["x_px", "y_px"]], rtol=0, atol=1e-6)
            assert annotation.pixel_mm == 0.143


def test_several_points_of_a_type_are_refused(tmp_path):
    table = pd.DataFrame({"landmark": ["x", "x"], "x_px": [1.0, 2.0], "y_px": [1.0, 2.0]})
    table = table.assign(instance=[0, 1], confidence=0.5, detected=True)
    found = Found("x.png", None, tmp_path / "x", Xray(IMAGE, None), table, model(landmarks=["x"]))
    with pytest.raises(InputError, match=r"x\.png: has several points of the type 'x'"):
        of_image(found)


@pytest.mark.parametrize(
    ("address", "file"),
    [
        ("/data/local-files/?d=images/a.png", "a.png"),
        ("/data/local-files/?d=images%5Cdeep%5Ca%20b.png", "a b.png"),
        ("/data/upload/3/0123abcd-a.png", "a.png"),
        ("https://host/x/a.png?signature=b.png", "a.png"),
        ("s3://bucket/a.png", "a.png"),
    ],
)
def test_an_image_is_known_by_its_address(tmp_path, address, file):
    mark = {"type": "keypointlabels", "original_width": 10, "original_height": 10}
    mark["value"] = {"x": 50, "y": 50, "keypointlabels": ["tip"]}
    task = {"id": 1, "data": {"image": address}, "annotations": [{"result": [mark]}]}
    (tmp_path / "a.json").write_text(json.dumps([task]))
    _, (annotation,) = LabelStudio(layout="label-studio", file=str(tmp_path / "a.json")).read(None)
    assert annotation.image == file


@pytest.mark.parametrize("size", [-1, 0, "x", float("nan")])
def test_a_pixel_size_that_none_is_is_refused(tmp_path, size):
    content = {"shapes": [{"label": "tip", "points": [[1, 2]]}], "imagePath": "a.png"}
    (tmp_path / "a.json").write_text(json.dumps(content | {"pixel_mm": size}))
    with pytest.raises(InputError, match=r"a\.json"):
        Labelme(layout="labelme", folder=str(tmp_path)).read(None)


def test_an_unknown_form_is_refused_before_anything_is_done(tmp_path, model_path, capsys):  # noqa: F811
    out = tmp_path / "out"
    options = ["--also", "csv", "--out", str(out)]
    assert cli.main(["predict", "--model", model_path, "a.png", *options]) == 1
    told = capsys.readouterr().err
    assert "--also 'csv': is not known. Known: labelme, labelstudio, sr" in told
    assert not out.exists()


def test_one_bad_image_leaves_the_tasks_of_the_others(tmp_path, model_path):  # noqa: F811
    (tmp_path / "bad.png").write_bytes(b"no")
    Image.fromarray(IMAGE).save(tmp_path / "good.png")
    images = [str(tmp_path / name) for name in ("bad.png", "good.png")]
    with pytest.raises(InputError, match="1 of 2 images"):
        predict_images(model_path, images, tmp_path, besides=[besides()["labelstudio"]])
    (task,) = json.loads((tmp_path / "labelstudio/tasks.json").read_text())
    assert task["data"]["image"] == "/data/local-files/?d=images/good.png"
    assert (tmp_path / "labelstudio/images/good.png").exists()
