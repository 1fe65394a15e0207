import shutil
import zipfile

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEGLosslessSV1,
    RLELossless,
)

from raymark.ct import read_ct
from tests.unit.ct import examples as examples
from tests.unit.ct.examples import refusal

HU = examples.phantom_hu()
AFFINE = examples.affine_ras()


@pytest.fixture
def series(tmp_path):
    """A good series in the folder ``series``."""
    return examples.write_series(tmp_path / "series", HU, AFFINE)


def by_height(folder):
    """The files of an axial series from the feet up."""
    return sorted(folder.iterdir(), key=lambda file: pydicom.dcmread(file).ImagePositionPatient[2])


def slice_refusal(file, *words):
    """The InputError that reading the folder of `file` raises: it names this very file."""
    return refusal(file.parent, f"{file.parent.name}/{file.name}: ", *words)


class TestAccepted:
    def test_order_comes_from_positions_not_from_names_or_numbers(self, series):
        heights = [pydicom.dcmread(f).ImagePositionPatient[2] for f in sorted(series.iterdir())]
        numbers = [pydicom.dcmread(f).InstanceNumber for f in by_height(series)]
        assert heights != sorted(heights)  # the example can fail
        assert numbers != sorted(numbers)
        np.testing.assert_array_equal(read_ct(series).hu_xyz, HU)

    def test_what_lies_beside_a_series_is_left_alone(self, series):
        nested = series / "IMAGES"
        nested.mkdir()
        for file in list(series.glob("*.dcm"))[:4]:
            shutil.move(file, nested)
        for name in ("DICOMDIR", "README.txt", ".DS_Store", "Thumbs.db"):
            (series / name).write_bytes(b"no slice")
        np.testing.assert_array_equal(read_ct(series).hu_xyz, HU)

    def test_zip_with_macos_leftovers(self, tmp_path, series):
        path = examples.zip_folder(series, tmp_path / "Scan.ZIP", prefix="a/b/")
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("__MACOSX/a/b/._03.dcm", b"no slice")
            archive.mkdir("empty")
        np.testing.assert_array_equal(read_ct(path).hu_xyz, HU)

    @pytest.mark.parametrize("syntax", [RLELossless, DeflatedExplicitVRLittleEndian])
    def test_compressed_without_loss(self, series, syntax):
        for file in series.iterdir():
            dataset = pydicom.dcmread(file)
            if syntax == RLELossless:
                dataset.compress(RLELossless)
            dataset.file_meta.TransferSyntaxUID = syntax
            dataset.save_as(file)
        np.testing.assert_array_equal(read_ct(series).hu_xyz, HU)

    def test_signed_voxels(self, series):
        for file in series.iterdir():
            dataset = pydicom.dcmread(file)
            hu = dataset.pixel_array * dataset.RescaleSlope + dataset.RescaleIntercept
            dataset.PixelData = hu.astype(np.int16).tobytes()
            dataset.PixelRepresentation = 1
            dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
            dataset.save_as(file)
        np.testing.assert_array_equal(read_ct(series).hu_xyz, HU)

    def test_fractional_rescale_is_rounded(self, tmp_path):
        voxels = np.zeros((4, 5, 3), np.int16)
        voxels[0, 0], voxels[1, 1] = -1000, 301
        series = examples.write_series(tmp_path / "s", voxels, AFFINE)
        for file in series.iterdir():
            dataset = pydicom.dcmread(file)
            examples.set_pixels(dataset, np.full((5, 4), 1333, np.uint16))
            dataset.PixelData = dataset.PixelData[:-2] + bytes(2)
            dataset.RescaleSlope, dataset.RescaleIntercept = "0.9765", "-999.75"
            dataset.save_as(file)
        volume = read_ct(series)
        assert set(np.unique(volume.hu_xyz)) == {-1000, 302}  # 1333 × 0.9765 − 999.75 = 301.92

    def test_positions_rounded_by_the_exporter(self, series):
        for index, file in enumerate(sorted(series.iterdir())):
            x, y, z = pydicom.dcmread(file).ImagePositionPatient
            rounded = [x + 0.01, y - 0.01, z + 0.02 * (-1) ** index]
            dataset = pydicom.dcmread(file)
            dataset.ImagePositionPatient = rounded
            dataset.save_as(file)
        volume = read_ct(series)
        np.testing.assert_array_equal(volume.hu_xyz, HU)
        np.testing.assert_allclose(volume.affine, AFFINE, atol=0.05)


class TestSeriesRefused:
    def test_empty_folder(self, tmp_path):
        refusal(tmp_path, "holds no DICOM file", "one CT series")

    def test_single_file_named(self, series):
        refusal(by_height(series)[0], "single DICOM file", "Name the folder")

    def test_single_slice(self, tmp_path):
        folder = examples.write_series(tmp_path / "one", HU[:, :, :1], AFFINE)
        refusal(folder, "12 × 14 × 1", "whole three-dimensional scan")

    def test_file_that_is_no_dicom(self, series):
        (series / "photo.jpg").write_bytes(b"\xff\xd8 Mustermann" * 40)
        refusal(series, "photo.jpg", "is no DICOM file", "Take it out")

    def test_empty_slice(self, series):
        file = by_height(series)[-1]
        file.write_bytes(b"")
        slice_refusal(file, "is no DICOM file", "copy it again")

    @pytest.mark.parametrize("share", [0.2, 0.35, 0.5, 0.7, 0.9, 0.999])
    def test_truncated_slice(self, series, capfd, share):
        file = by_height(series)[4]
        content = file.read_bytes()
        file.write_bytes(content[: int(share * len(content))])
        slice_refusal(file, "export", "again")
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("lost", [[3], [3, 4], [2, 6]])
    def test_missing_slices(self, series, lost):
        ordered = by_height(series)
        for index in lost:
            ordered[index].unlink()
        message = refusal(series, f"{len(lost)} missing slices", "whole series again")
        assert any(f"{ordered[index - 1].name}: is followed by a gap" in message for index in lost)

    def test_duplicate_slices(self, series):
        first, second = by_height(series)[:2]
        shutil.copy(second, series / "zz.dcm")
        shutil.copy(first, series / "zy.dcm")
        refusal(series, "2 duplicate slices", "one file per position")

    @pytest.mark.parametrize("shift_mm", [(0, 0, 0.4), (0, 0.4, 0), (-0.4, 0, 0)])
    def test_slice_out_of_line(self, series, shift_mm):
        file = by_height(series)[5]
        dataset = pydicom.dcmread(file)
        dataset.ImagePositionPatient = list(np.add(dataset.ImagePositionPatient, shift_mm))
        dataset.save_as(file)
        slice_refusal(file, "regular distance", "one slice distance")

    def test_several_series(self, series):
        uid = examples.SECRETS[3] + ".2"
        for number in range(3):
            examples.change_slice(series, number, SeriesInstanceUID=uid)
        refusal(series, "2 series", "one series per folder")

    def test_gantry_tilt(self, series):
        for index, file in enumerate(by_height(series)):
            dataset = pydicom.dcmread(file)
            x, y, z = dataset.ImagePositionPatient
            dataset.ImagePositionPatient = [x, y + 0.2 * index, z]
            dataset.save_as(file)
        refusal(series, "sheared", "gantry", "dcm2niix")

    @pytest.mark.parametrize(
        "tags",
        [
            {"PixelSpacing": [1.3, 1.5]},
            {"ImageOrientationPatient": [-1, 0, 0, 0, 0, -1]},
        ],
    )
    def test_slices_that_do_not_belong_together(self, series, tags):
        file = examples.change_slice(series, 4, **tags)
        slice_refusal(file, "differs from the series' first slice", "one reconstruction")

    def test_slices_of_two_sizes(self, series):
        file = sorted(series.iterdir())[4]
        dataset = pydicom.dcmread(file)
        examples.set_pixels(dataset, np.zeros((6, 6), np.uint16))
        dataset.save_as(file)
        slice_refusal(file, "size", "one reconstruction")


class TestSliceRefused:
    @pytest.mark.parametrize("modality", ["MR", "PT", "OT", "RTDOSE", None])
    def test_not_ct(self, tmp_path, modality):
        folder = examples.write_series(tmp_path / "s", HU, AFFINE, Modality=modality)
        refusal(folder, f"modality is {modality or 'missing'}", "Give a CT series")

    @pytest.mark.parametrize(
        "tag",
        [
            "SeriesInstanceUID",
            "RescaleSlope",
            "RescaleIntercept",
            "ImagePositionPatient",
            "ImageOrientationPatient",
            "PixelSpacing",
            "PhotometricInterpretation",
            "Rows",
        ],
    )
    def test_missing_tag(self, tmp_path, tag):
        folder = examples.write_series(tmp_path / "s", HU, AFFINE, **{tag: None})
        refusal(folder, f"no usable {tag}", "export the series again")

    @pytest.mark.parametrize(
        ("tag", "value"),
        [
            ("RescaleSlope", 0),
            ("PixelSpacing", [0, 1.5]),
            ("PixelSpacing", [1.5]),
            ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]),
            ("ImagePositionPatient", [1, 2]),
        ],
    )
    def test_unusable_value_in_one_slice(self, series, tag, value):
        file = examples.change_slice(series, 5, **{tag: value})
        slice_refusal(file, f"no usable {tag}", "export the series again")

    def test_material_map(self, series):
        file = examples.change_slice(series, 5, RescaleType="Z_EFF")
        slice_refusal(file, "RescaleType", "not a material map")

    def test_colour(self, series):
        file = examples.change_slice(
            series, 5, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0
        )
        slice_refusal(file, "colour", "Take it out")

    @pytest.mark.parametrize("kind", ["MONOCHROME1", "PALETTE COLOR"])
    def test_inverted_or_palette(self, series, kind):
        file = examples.change_slice(series, 5, PhotometricInterpretation=kind)
        slice_refusal(file, "MONOCHROME2", "own slices")

    def test_several_frames(self, series):
        file = examples.change_slice(series, 5, NumberOfFrames=4)
        slice_refusal(file, "several frames", "dcm2niix")

    def test_compression_that_cannot_be_decoded(self, series):
        file = sorted(series.iterdir())[5]
        dataset = pydicom.dcmread(file)
        dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
        dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
        dataset["PixelData"].VR = "OB"
        dataset.save_as(file)
        slice_refusal(file, "compressed", "JPEG Lossless", "gdcmconv --raw")

    def test_all_air(self, tmp_path):
        folder = examples.write_series(tmp_path / "s", np.full_like(HU, -1000), AFFINE)
        refusal(folder, "nothing but air", "patient")

    def test_malformed_values_stay_quiet(self, series, capfd, recwarn):
        file = sorted(series.iterdir())[5]
        content = file.read_bytes()
        position = pydicom.dcmread(file)["ImagePositionPatient"]
        text = "\\".join(map(str, position.value)).encode()
        assert text in content
        file.write_bytes(content.replace(text, b"Mustermann".ljust(len(text))))
        slice_refusal(file, "no usable ImagePositionPatient")
        assert capfd.readouterr() == ("", "")
        assert not recwarn.list


class TestZipRefused:
    @pytest.mark.parametrize(
        "name", ["../evil.dcm", "a/../../evil.dcm", "/etc/evil.dcm", "..\\evil.dcm", "C:\\e.dcm"]
    )
    def test_path_that_leads_outside(self, tmp_path, series, name):
        path = examples.zip_folder(series, tmp_path / "s.zip")
        with zipfile.ZipFile(path, "a") as archive:
            archive.write(by_height(series)[0], name)
            archive.infolist()[-1].filename = name
        refusal(path, "leads outside", "Zip the plain files")
        assert not list(tmp_path.parent.glob("**/evil.dcm"))

    def test_symbolic_link(self, tmp_path, series):
        path = examples.zip_folder(series, tmp_path / "s.zip")
        with zipfile.ZipFile(path, "a") as archive:
            link = zipfile.ZipInfo("series/link.dcm")
            link.create_system, link.external_attr = 3, 0o120777 << 16
            archive.writestr(link, "/etc/passwd")
        refusal(path, "symbolic link", "Zip the plain files")

    def test_encrypted(self, tmp_path, series):
        path = examples.zip_folder(series, tmp_path / "s.zip")
        content = bytearray(path.read_bytes())
        for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            content[content.index(signature) + flags] |= 1
        path.write_bytes(content)
        refusal(path, "encrypted", "Unpack it")

    def test_huge_member(self, tmp_path, series):
        path = examples.zip_folder(series, tmp_path / "s.zip")
        with (
            zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
            archive.open("series/bomb.dcm", "w", force_zip64=True) as bomb,
        ):
            for _ in range(257):
                bomb.write(bytes(2**20))
        refusal(path, "above 256 MiB", "Zip the plain files")

    def test_same_name_twice(self, tmp_path, series):
        path = examples.zip_folder(series, tmp_path / "s.zip")
        with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
            archive.write(by_height(series)[0], "series/" + by_height(series)[0].name)
        refusal(path, "two files of the same name", "Zip the plain files")

    def test_errors_name_the_file_inside(self, tmp_path, series):
        examples.change_slice(series, 5, Modality="MR")
        path = examples.zip_folder(series, tmp_path / "s.zip")
        refusal(path, f"series/{sorted(series.iterdir())[5].name}", "not CT", "Give a CT series")

    def test_zip_under_another_name(self, tmp_path, series):
        path = examples.zip_folder(series, tmp_path / "series.bin")
        refusal(path, "zip under another name", "Rename it")
