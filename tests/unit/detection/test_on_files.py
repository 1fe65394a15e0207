"""Prediction on images of a user's own: points in the image's own pixels, and files for people."""

import json

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
import torch
from matplotlib.axes import Axes
from PIL import Image

from raymark import cli
from raymark.core.errors import InputError
from raymark.detection.on_files import find_landmarks, in_file_px, markups, predict_images
from raymark.detection.overlay import draw_overlay
from raymark.imports.stored_image import Stored, Xray, turned
from raymark.landmarks.slicer import read_markups
from raymark.methods.base import build
from raymark.training.model_files import Model, write_model
from tests.unit.imports.test_xray_file import write_dicom

IMAGE = np.add.outer(np.arange(60) * 2, np.arange(80)).astype(np.uint16)


class Brightest(torch.nn.Module):
    """A network whose only landmark is the brightest pixel."""

    def forward(self, image):
        return image[:, 0]

    def decode(self, image):
        best = image.flatten(1).argmax(1)
        width = image.shape[-1]
        return torch.stack([best % width, best // width], -1)[:, None].float(), torch.ones(1, 1)


def model(**changes) -> Model:
    values = {
        "method": "unet",
        "module": "unet",
        "network": {"depth": 2, "channels": 4},
        "landmarks": ["left_x", "right_x"],
        "flip_pairs": [("left_x", "right_x")],
        "image_height_px": 60,
        "image_width_px": 80,
        "pixel_mm": 2.0,
        "detection_threshold": 0.0,
        "seed": 0,
        "epochs": 1,
        "best_epoch": 1,
        "diverged": False,
        "provenance": "x",
    }
    return Model(**values | changes)


@pytest.fixture
def model_path(tmp_path):
    network = build("unet", model().network, 2, seed=0, source="test")
    write_model(tmp_path / "model.safetensors", model(), network.state_dict())
    return str(tmp_path / "model.safetensors")


@pytest.fixture
def image_path(tmp_path):
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    return str(tmp_path / "a.png")


def points(**changes) -> pd.DataFrame:
    values = {
        "landmark": ["left_x", "right_x", "far"],
        "x_px": [10.0, 20.5, 3.0],
        "y_px": [5.0, 6.0, 7.0],
        "x_mm": [5.0, 10.25, 1.5],
        "y_mm": [2.5, 3.0, 3.5],
        "confidence": [0.9, 0.8, 0.1],
        "detected": [True, True, False],
    }
    return pd.DataFrame(values | changes)


@pytest.mark.parametrize("pixel_mm", [0.5, 1.0, 2.0, 4.0, None])
def test_points_come_back_in_the_images_own_pixels(pixel_mm):
    """A bright square, at any resolution, is found within half a pixel of the coarser grid."""
    image = np.zeros((240, 320), np.float32)
    image[100:108, 200:208] = 1
    table = find_landmarks(Brightest(), model(landmarks=["x"]), Xray(image, pixel_mm))[0]
    coarse = max(2.0 / pixel_mm if pixel_mm else 4.0, 1.0)
    assert abs(table.x_px[0] - 203.5) <= max(coarse / 2, 4)
    assert abs(table.y_px[0] - 103.5) <= max(coarse / 2, 4)
    if pixel_mm:
        assert table.x_mm[0] == table.x_px[0] * pixel_mm
    else:
        assert table[["x_mm", "y_mm"]].isna().all(axis=None)


def test_an_image_at_the_models_own_pitch_is_seen_unchanged():
    image = np.random.default_rng(0).uniform(size=(50, 70)).astype(np.float32)
    y, x = np.unravel_index(image.argmax(), image.shape)
    table = find_landmarks(Brightest(), model(landmarks=["x"]), Xray(image, 2.0))[0]
    assert (table.x_px[0], table.y_px[0]) == (x, y)


def test_predict_writes_points_markups_and_a_picture(tmp_path, capsys, model_path, image_path):
    out = tmp_path / "out"
    assert cli.main(["predict", "--model", model_path, image_path, "--out", str(out)]) == 0
    table = pd.read_csv(out / "a_points.csv")
    assert table.landmark.tolist() == ["left_x", "right_x"]
    assert table.x_px.between(-0.5, 79.5).all()
    assert table.y_px.between(-0.5, 59.5).all()
    assert [name for name, _ in read_markups(out / "a_points.mrk.json")] == ["left_x", "right_x"]
    with Image.open(out / "a_overlay.png") as picture:
        assert picture.width > picture.height > 300
    told = capsys.readouterr().out
    assert "2 of 2 landmarks" in told
    assert "120 mm from top" in told  # of the training images, as the PNG states no pixel size
    assert len(list(out.iterdir())) == 3


def test_pixel_size_is_told_or_refused(tmp_path, model_path, image_path):
    predict_images(model_path, [image_path], tmp_path / "out", pixel_mm=0.5)
    table = pd.read_csv(tmp_path / "out/a_points.csv")
    assert table.x_mm.to_numpy() == pytest.approx(table.x_px.to_numpy() * 0.5, abs=1e-3)
    for wrong, problem in ((-1.0, r"no size"), (200.0, r" 100 times"), (0.002, r" 0\.001 times")):
        with pytest.raises(InputError, match=problem):
            predict_images(model_path, [image_path], tmp_path / "out", pixel_mm=wrong)


def test_one_bad_image_does_not_keep_the_others(tmp_path, capsys, model_path, image_path):
    (tmp_path / "bad.png").write_bytes(b"no")
    images = [str(tmp_path / "bad.png"), image_path]
    options = ["--model", model_path, "--out", str(tmp_path / "out")]
    assert cli.main(["predict", *images, *options]) == 1
    assert (tmp_path / "out/a_points.csv").exists()
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert "bad.png" in errors[0]
    assert "1 of 2 images" in errors[1]


def test_a_folder_stands_for_its_images(tmp_path, model_path):
    folder = tmp_path / "xrays"
    folder.mkdir()
    for name in ("b.png", "a.tif"):
        Image.fromarray(IMAGE).save(folder / name)
    write_dicom(folder / "IM1")
    (folder / "notes.txt").write_text("none")
    images = [str(folder), str(folder / "b.png")]  # one of them twice: it is done once
    predict_images(model_path, images, tmp_path / "out")
    written = {path.name for path in (tmp_path / "out").glob("*.csv")}
    assert written == {"a_points.csv", "b_points.csv", "IM1_points.csv"}
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: is a folder in which no X-ray lies"):
        predict_images(model_path, [str(tmp_path / "empty")], tmp_path / "out")


def test_images_of_one_name_keep_their_folder_and_format(tmp_path, model_path):
    images = [tmp_path / name for name in ("xa/IM1.png", "xb/IM1.png", "xb/ap.png", "xb/ap.tif")]
    images.append(tmp_path / "alone.png")
    for path in images:
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(IMAGE).save(path)
    predict_images(model_path, [str(path) for path in images], tmp_path / "out")
    names = {path.name.removesuffix("_points.csv") for path in (tmp_path / "out").glob("*.csv")}
    assert names == {"xa_IM1.png", "xb_IM1.png", "xb_ap.png", "xb_ap.tif", "alone"}


def test_images_that_no_name_tells_apart_are_refused_before_anything_is_written(
    tmp_path, model_path
):
    with pytest.raises(InputError, match=r"2 images named 'ap_a\.png'"):
        predict_images(model_path, ["x/ap/a.png", "y/ap/a.png"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_inverting_an_inverted_image_finds_the_same_points(tmp_path, model_path):
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80)).astype(np.uint8)
    for name, shown in (("bright", pixels), ("dark", pixels.max() - pixels)):
        Image.fromarray(shown).save(tmp_path / f"{name}.png")
        options = ["--out", str(tmp_path / "out")] + ["--invert"] * (name == "dark")
        image = str(tmp_path / f"{name}.png")
        assert cli.main(["predict", "--model", model_path, image, *options]) == 0
    bright, dark = ((tmp_path / f"out/{n}_points.csv").read_text() for n in ("bright", "dark"))
    predict_images(model_path, [image], tmp_path / "out")
    assert bright == dark != (tmp_path / "out/dark_points.csv").read_text()


def test_overlays_name_landmarks_as_tables_do(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(Axes, "annotate", lambda _, text, *a, **k: written.append(text))
    named = points(landmark=["left_asis", "t1_superior_left", "far"])
    draw_overlay(tmp_path / "a.png", Xray(IMAGE.astype(np.float32), None), named, "a")
    assert set(written) == {"left ASIS", "T1 superior left"}


def test_slicer_reads_mm_in_lps_and_leaves_out_what_was_not_detected(tmp_path):
    """Our own reader turns LPS into RAS: x and y change sign."""
    (tmp_path / "p.mrk.json").write_text(json.dumps(markups(points())))
    placed = [
        (name, xyz) for name, xyz in read_markups(tmp_path / "p.mrk.json") if np.isfinite(xyz).all()
    ]
    assert placed == [("left_x", (-5.0, -2.5, 0.0)), ("right_x", (-10.25, -3.0, 0.0))]


def test_slicer_is_told_when_the_pixel_size_is_unknown(tmp_path):
    markup = markups(points(x_mm=[np.nan] * 3, y_mm=[np.nan] * 3))["markups"][0]
    assert [p["position"] for p in markup["controlPoints"]][:2] == [[10, 5, 0], [20.5, 6, 0]]
    assert all("1 px is 1 mm" in point["description"] for point in markup["controlPoints"])
    assert markup["coordinateSystem"] == "LPS"


@pytest.mark.parametrize("detected", [True, False])
def test_the_overlay_shows_what_was_found_and_nothing_else(tmp_path, detected):
    xray = Xray(IMAGE.astype(np.float32), None)
    draw_overlay(tmp_path / "a.png", xray, points(detected=[detected] * 3), "a")
    draw_overlay(tmp_path / "b.png", xray, points(detected=[detected] * 3), "a")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as picture:
        orange = (np.abs(np.asarray(picture)[..., :3] - np.array([230, 159, 0])).max(-1) < 8).sum()
    assert (orange > 20) == detected


def test_a_table_lists_images_with_their_pixel_sizes_and_frames(tmp_path, model_path):
    """2 mm pixels leave the image as it is for a model of 2 mm; a frame of its own is read alone."""
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    write_dicom(
        tmp_path / "b.dcm", NumberOfFrames=2, PixelData=IMAGE.tobytes() + IMAGE[::-1].tobytes()
    )
    (tmp_path / "t.csv").write_text("image;pixel_mm;frame\na.png;2,5;\nb.dcm;;2\n")
    predict_images(model_path, [str(tmp_path / "t.csv")], tmp_path / "out")
    first = pd.read_csv(tmp_path / "out/a_points.csv")
    np.testing.assert_allclose(first.x_mm, 2.5 * first.x_px, atol=2e-3)
    second = pd.read_csv(tmp_path / "out/b_points.csv")
    np.testing.assert_allclose(second.x_mm, 0.25 * second.x_px, atol=2e-3)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("file,pixel_mm\na.png,1\n", "unknown column 'file'"),
        ("image,spacing\na.png,1\n", "unknown column 'spacing'"),
        ("image,pixel_mm\na.png,-1\n", "line 2, column pixel_mm: -1 is no size"),
        ("image,frame\na.png,first\n", "line 2, column frame: 'first'"),
        ("image\n", "lists no image"),
    ],
)
def test_a_table_of_images_that_cannot_be_meant_is_refused(tmp_path, model_path, text, problem):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=problem):
        predict_images(model_path, [str(tmp_path / "t.csv")], tmp_path / "out")


def test_points_lie_where_the_file_says_that_its_pixels_do(tmp_path, model_path):
    """A MetaImage with an origin: Slicer's point is origin + spacing × px, LPS."""
    image = sitk.GetImageFromArray(IMAGE)
    image.SetSpacing((0.5, 0.5))
    image.SetOrigin((-40.0, 25.0))
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    predict_images(model_path, [str(tmp_path / "a.mha")], tmp_path / "out")
    table = pd.read_csv(tmp_path / "out/a_points.csv")
    markup = json.loads((tmp_path / "out/a_points.mrk.json").read_text())["markups"][0]
    found = np.array([point["position"] for point in markup["controlPoints"]])
    expected = np.column_stack([-40 + 0.5 * table.x_px, 25 + 0.5 * table.y_px, 0 * table.x_px])
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_mirrored_image_has_its_points_where_the_other_way_round_they_were(tmp_path):
    """Stored R\\F, it is looked at L\\F; the table is in stored pixels again."""
    placement = turned(Stored(IMAGE[:, ::-1]), False, True, False).placement
    xray = Xray(IMAGE.astype(np.float32), 2.0, placement=placement)
    upright = find_landmarks(Brightest(), model(landmarks=["tip"], flip_pairs=[]), xray)[0]
    stored = in_file_px(upright, xray)
    assert stored.x_px[0] == IMAGE.shape[1] - 1 - upright.x_px[0]
    assert stored.y_px[0] == upright.y_px[0]
