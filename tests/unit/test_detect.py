"""Detection on images of a user's own: every format, and points in the image's own pixels."""

import numpy as np
import pandas as pd
import pydicom
import pytest
import SimpleITK as sitk
import torch
from pydicom.dataset import FileDataset, FileMetaDataset
from skimage.io import imsave

from raymark.detect import detect, find_landmarks
from raymark.errors import InputError
from raymark.images import Xray, read_xray
from raymark.methods.base import build
from raymark.models import Model, write_model

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
        "detection_threshold": 0.4,
        "seed": 0,
        "epochs": 1,
        "best_epoch": 1,
        "diverged": False,
        "provenance": "x",
    }
    return Model(**values | changes)


@pytest.mark.parametrize("pixel_mm", [0.5, 1.0, 2.0, 4.0, None])
def test_points_come_back_in_the_images_own_pixels(pixel_mm):
    """A bright square, at any resolution, is found within half a pixel of the coarser grid."""
    image = np.zeros((240, 320), np.float32)
    image[100:108, 200:208] = 1
    table = find_landmarks(Brightest(), model(landmarks=["x"]), Xray(image, pixel_mm))
    coarse = max(2.0 / pixel_mm if pixel_mm else 4.0, 1.0)
    assert abs(table.x_px[0] - 203.5) <= max(coarse / 2, 4)
    assert abs(table.y_px[0] - 103.5) <= max(coarse / 2, 4)


def write_dicom(path, photometric: str) -> None:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.Rows, dataset.Columns = IMAGE.shape
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation, dataset.SamplesPerPixel = 15, 0, 1
    dataset.PhotometricInterpretation = photometric
    dataset.ImagerPixelSpacing = [0.25, 0.25]
    dataset.PixelData = IMAGE.tobytes()
    dataset.save_as(path)


def test_every_format_gives_the_same_image(tmp_path):
    imsave(tmp_path / "a.png", IMAGE, check_contrast=False)
    imsave(tmp_path / "a.tif", IMAGE, check_contrast=False)
    image = sitk.GetImageFromArray(IMAGE)
    image.SetSpacing((0.25, 0.25))
    for name in ("a.mha", "a.nii", "a.nii.gz"):
        sitk.WriteImage(image, str(tmp_path / name))
    write_dicom(tmp_path / "a.dcm", "MONOCHROME2")
    for name in ("a.png", "a.tif", "a.mha", "a.nii", "a.nii.gz", "a.dcm"):
        xray = read_xray(tmp_path / name)
        np.testing.assert_array_equal(xray.image_yx, IMAGE)
        assert xray.pixel_mm == (None if name in ("a.png", "a.tif") else 0.25)


def test_dark_on_bright_dicom_is_inverted(tmp_path):
    write_dicom(tmp_path / "a.dcm", "MONOCHROME1")
    np.testing.assert_array_equal(read_xray(tmp_path / "a.dcm").image_yx, IMAGE.max() - IMAGE)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.png", b"no"), ("a.dcm", b"no"), ("a.nii", b"no"), ("a.txt", b"no"), ("b.png", None)],
)
def test_what_is_no_image_is_refused_by_name(tmp_path, name, content):
    if content:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        read_xray(tmp_path / name)


def test_a_volume_is_refused(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((20, 30, 30), np.int16)), tmp_path / "a.nii")
    with pytest.raises(InputError, match="not one grey image"):
        read_xray(tmp_path / "a.nii")


def test_detect_writes_points_and_a_picture(tmp_path):
    imsave(tmp_path / "a.png", IMAGE, check_contrast=False)
    network = build("unet", model().network, 2, seed=0, source="test")
    write_model(tmp_path / "model.safetensors", model(), network.state_dict())
    out = tmp_path / "points.csv"
    detect(str(tmp_path / "model.safetensors"), str(tmp_path / "a.png"), str(out))
    table = pd.read_csv(out)
    assert table.landmark.tolist() == ["left_x", "right_x"]
    assert table.x_px.between(-0.5, 79.5).all()
    assert table.y_px.between(-0.5, 59.5).all()
    assert (tmp_path / "points.png").stat().st_size > 1000
