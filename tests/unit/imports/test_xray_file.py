"""X-ray files: every format gives the same image, and what cannot be used gets one clear error."""

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset

from raymark.core.errors import InputError
from raymark.imports.xray_file import read_xray, stem_of

IMAGE = np.add.outer(np.arange(60) * 2, np.arange(80)).astype(np.uint16)
FORMATS = ("a.png", "a.tif", "a.mha", "a.nii", "a.nii.gz", "a.dcm", "a.jpg")


def write_dicom(path, photometric: str = "MONOCHROME2", pixels=IMAGE, **tags) -> None:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.PatientName = "Secret^Patient"
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.itemsize
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, 0
    dataset.SamplesPerPixel = pixels.shape[2] if pixels.ndim == 3 else 1
    dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = photometric
    dataset.ImagerPixelSpacing = [0.25, 0.25]
    dataset.PixelData = pixels.tobytes()
    for tag, value in tags.items():
        setattr(dataset, tag, value)
    dataset.save_as(path)


def write(path) -> None:
    if path.suffix == ".dcm":
        write_dicom(path)
    elif path.suffix == ".jpg":
        Image.fromarray(IMAGE.astype(np.uint8)).save(path, quality=95)
    elif path.suffix in (".png", ".tif"):
        Image.fromarray(IMAGE).save(path)
    else:
        image = sitk.GetImageFromArray(IMAGE)
        image.SetSpacing((0.25, 0.25))
        sitk.WriteImage(image, str(path))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_image(tmp_path, name):
    write(tmp_path / name)
    xray = read_xray(tmp_path / name)
    assert xray.image_yx.dtype == np.float32
    np.testing.assert_allclose(xray.image_yx, IMAGE, atol=2 if name == "a.jpg" else 0)
    assert xray.pixel_mm == (None if name in ("a.png", "a.tif", "a.jpg") else 0.25)


@pytest.mark.parametrize("keep", [0.0, 0.02, 0.5, 0.9])
@pytest.mark.parametrize("name", FORMATS)
def test_truncated_files_are_refused_by_name(tmp_path, capfd, name, keep):
    write(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(keep * len(content))])
    with pytest.raises(InputError, match=name) as error:
        read_xray(tmp_path / name)
    assert len(str(error.value).splitlines()) == 1
    assert "Secret" not in str(error.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", [*FORMATS, "a.txt", "without_suffix"])
def test_what_is_no_image_is_refused_by_name(tmp_path, name):
    (tmp_path / name).write_bytes(b"no image, but some words in a file " * 9)
    with pytest.raises(InputError, match=name):
        read_xray(tmp_path / name)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match="is missing"):
        read_xray(tmp_path / name)


def test_low_values_that_mean_bright_are_inverted(tmp_path):
    write_dicom(tmp_path / "a.dcm", "MONOCHROME1")
    np.testing.assert_array_equal(read_xray(tmp_path / "a.dcm").image_yx, IMAGE.max() - IMAGE)
    Image.fromarray(IMAGE).save(tmp_path / "a.tif", tiffinfo={262: 0})
    np.testing.assert_array_equal(read_xray(tmp_path / "a.tif").image_yx, IMAGE.max() - IMAGE)


def test_the_pitch_at_the_detector_comes_first(tmp_path):
    write_dicom(tmp_path / "a.dcm", PixelSpacing=[0.2, 0.2])
    assert read_xray(tmp_path / "a.dcm").pixel_mm == 0.25
    write_dicom(tmp_path / "b.dcm", PixelSpacing=[0.2, 0.2], ImagerPixelSpacing=None)
    assert read_xray(tmp_path / "b.dcm").pixel_mm == 0.2
    write_dicom(tmp_path / "c.dcm", ImagerPixelSpacing=[0.25, 0.2])
    xray = read_xray(tmp_path / "c.dcm")
    assert xray.pixel_mm == 0.2
    assert xray.image_yx.shape == (75, 80)
    np.testing.assert_allclose(xray.placement.to_file([10.0, 37.0]), [10, (37.5 * 0.8) - 0.5])
    assert "0.25 × 0.2 mm" in xray.doubts[0]


def test_grey_saved_as_colour_is_grey_and_colour_is_refused(tmp_path):
    grey = np.repeat(IMAGE.astype(np.uint8)[..., None], 3, axis=-1)
    marked = grey.copy()
    marked[2:6, 2:6] = (255, 255, 0)  # a small yellow letter
    coloured = grey.copy()
    coloured[:30, :, 2] = 0
    for name, mode in (("a.png", "RGB"), ("b.png", "RGBA"), ("c.png", "LA"), ("d.png", "P")):
        as_grey = Image.fromarray(grey).convert("L")
        as_grey.convert(mode).save(tmp_path / name)
        np.testing.assert_allclose(read_xray(tmp_path / name).image_yx, grey[..., 0], atol=3)
    Image.fromarray(marked).save(tmp_path / "m.png")
    read_xray(tmp_path / "m.png")
    Image.fromarray(coloured).save(tmp_path / "e.png")
    Image.fromarray(coloured).save(tmp_path / "e.jpg")
    write_dicom(tmp_path / "e.dcm", "RGB", coloured)
    sitk.WriteImage(sitk.GetImageFromArray(coloured, isVector=True), tmp_path / "e.mha")
    for name in ("e.png", "e.jpg", "e.dcm", "e.mha"):
        with pytest.raises(InputError, match="is a colour picture"):
            read_xray(tmp_path / name)


def test_volumes_stacks_and_empty_pictures_are_refused(tmp_path):
    volume = np.zeros((20, 30, 30), np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(volume), tmp_path / "a.nii")
    pages = [Image.fromarray(IMAGE)] * 2
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    write_dicom(tmp_path / "a.dcm", NumberOfFrames=2, PixelData=IMAGE.tobytes() * 2)
    for name in ("a.nii", "a.tif", "a.dcm"):
        with pytest.raises(InputError, match="stack or a volume"):
            read_xray(tmp_path / name)
    Image.fromarray(np.full((30, 30), 7, np.uint8)).save(tmp_path / "flat.png")
    with pytest.raises(InputError, match="single grey"):
        read_xray(tmp_path / "flat.png")
    Image.fromarray(IMAGE[:9]).save(tmp_path / "small.png")
    with pytest.raises(InputError, match="9 × 80"):
        read_xray(tmp_path / "small.png")


def test_one_slice_in_a_volume_file_is_an_image(tmp_path):
    image = sitk.GetImageFromArray(IMAGE[None])
    image.SetSpacing((0.3, 0.3, 5))
    sitk.WriteImage(image, tmp_path / "a.nii.gz")
    xray = read_xray(tmp_path / "a.nii.gz")
    assert xray.image_yx.shape == IMAGE.shape
    assert xray.pixel_mm == pytest.approx(0.3)


def test_a_name_that_no_file_can_have_is_missing():
    with pytest.raises(InputError, match="is missing"):
        read_xray("x" * 300 + ".png")


def test_only_the_formats_suffix_leaves_a_name():
    names = ["x/a.nii.gz", "a b.PNG", "1.2.840.113", "1.2.dcm", "a.b.mha"]
    assert [stem_of(name) for name in names] == ["a", "a b", "1.2.840.113", "1.2", "a.b"]
