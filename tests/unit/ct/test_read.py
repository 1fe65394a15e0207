"""Reading CTs and label maps: every format, and everything that is refused."""

import gzip

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raymark.core.errors import InputError
from raymark.ct import Volume, read_ct, read_labels
from tests.unit.ct import examples as examples
from tests.unit.ct.examples import refusal

HU = examples.phantom_hu()
AFFINE = examples.affine_ras()


class TestFormats:
    @pytest.mark.parametrize(("kind", "orientation"), examples.KINDS_AND_ORIENTATIONS)
    def test_one_canonical_volume_whatever_the_file(self, tmp_path, kind, orientation):
        stored = examples.stored_as(orientation, HU, AFFINE)
        volume = read_ct(examples.write(kind, tmp_path, *stored))
        assert volume.hu_xyz.dtype == np.int16
        np.testing.assert_array_equal(volume.hu_xyz, HU)
        np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-4)
        if kind not in ("folder", "zip"):  # the reader of a series chooses the order of slices
            assert volume.orientation == orientation

    @pytest.mark.parametrize("kind", examples.KINDS)
    @pytest.mark.parametrize("orientation", ["RAS", "PIL"])
    def test_oblique_affine_is_kept(self, tmp_path, kind, orientation):
        affine = examples.affine_ras(oblique=True)
        stored = examples.stored_as(orientation, HU, affine)
        volume = read_ct(examples.write(kind, tmp_path, *stored))
        np.testing.assert_array_equal(volume.hu_xyz, HU)
        np.testing.assert_allclose(volume.affine, affine, atol=1e-4)
        np.testing.assert_allclose(volume.spacing_mm, examples.SPACING_MM, atol=1e-5)

    @pytest.mark.parametrize("space", ["right-anterior-superior", "RAS"])
    def test_nrrd_in_ras_frame(self, tmp_path, space):
        path = examples.write_itk(tmp_path / "ct.nrrd", HU, examples.LPS_TO_RAS @ AFFINE)
        header = path.read_bytes()
        path.write_bytes(header.replace(b"left-posterior-superior", space.encode()))
        volume = read_ct(path)
        np.testing.assert_array_equal(volume.hu_xyz, HU)
        np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-6)

    def test_values_are_rounded_and_clipped(self, tmp_path):
        voxels = HU.astype(np.float32)
        voxels[0, 0, :4] = -1000.4, 40.6, 1e6, -1e6
        volume = read_ct(examples.write_nifti(tmp_path / "ct.nii", voxels, AFFINE))
        assert volume.hu_xyz[0, 0, :4].tolist() == [-1000, 41, 32767, -32768]

    def test_nifti_scale_and_offset_are_applied(self, tmp_path):
        image = nib.Nifti1Image((HU // 2 + 512).astype(np.int16), AFFINE)
        image.header.set_slope_inter(2, -1024)
        image.to_filename(tmp_path / "ct.nii.gz")
        np.testing.assert_array_equal(read_ct(tmp_path / "ct.nii.gz").hu_xyz, HU)

    def test_trailing_single_dimensions_are_dropped(self, tmp_path):
        path = examples.write_nifti(tmp_path / "ct.nii.gz", HU[..., None], AFFINE)
        np.testing.assert_array_equal(read_ct(path).hu_xyz, HU)

    def test_nifti_2_and_big_endian(self, tmp_path):
        nib.Nifti2Image(HU, AFFINE).to_filename(tmp_path / "two.nii.gz")
        header = nib.Nifti1Header(endianness=">")
        header.set_data_dtype(">i2")
        nib.Nifti1Image(HU, AFFINE, header).to_filename(tmp_path / "big.nii")
        for name in ("two.nii.gz", "big.nii"):
            np.testing.assert_array_equal(read_ct(tmp_path / name).hu_xyz, HU)


class TestRefusals:
    def test_missing_file(self, tmp_path):
        refusal(tmp_path / "none.nii.gz", "does not exist", "Check the path")

    @pytest.mark.parametrize("name", ["scan.png", "scan.txt", "scan"])
    def test_unknown_kind(self, tmp_path, name):
        (tmp_path / name).write_bytes(b"\x89PNG nothing like a scan")
        refusal(tmp_path / name, "no CT of a known kind", ".nii.gz")

    @pytest.mark.parametrize("kind", ["nii", "nii.gz", "nrrd", "mha", "zip"])
    @pytest.mark.parametrize("content", [b"", b"Mustermann, born 19630229", bytes(3000)], ids=len)
    def test_not_an_image(self, tmp_path, capfd, kind, content):
        path = tmp_path / f"ct.{kind}"
        path.write_bytes(content)
        refusal(path, "truncated, damaged", "again")
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("kind", ["nii", "nii.gz", "nrrd", "mha", "zip"])
    @settings(
        max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(share=st.floats(0, 1, exclude_max=True))
    def test_truncated_anywhere(self, tmp_path, kind, share):
        path = tmp_path / f"cut.{kind}"
        whole = examples.write(kind, tmp_path, HU, AFFINE).read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])
        refusal(path, "again")

    @pytest.mark.parametrize("kind", ["nii.gz", "nrrd", "mha", "zip"])
    @settings(
        max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(
        changes=st.lists(
            st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1
        )
    )
    def test_damaged_bytes_never_escape_as_other_errors(self, tmp_path, kind, changes):
        path = examples.write(kind, tmp_path, HU, AFFINE)
        content = bytearray(path.read_bytes())
        for place, value in changes:
            content[int(place * len(content))] = value
        path.write_bytes(content)
        try:
            message = ""
            read_ct(path)
        except InputError as error:
            message = str(error)
        assert not message or path.name in message

    def test_detached_data_missing(self, tmp_path, capfd):
        path = examples.write_itk(tmp_path / "ct.mhd", HU, AFFINE)
        next(tmp_path.glob("*raw")).unlink()
        refusal(path, "cannot be read", "again")
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("kind", ["nii.gz", "nrrd", "mha"])
    def test_nan_or_inf(self, tmp_path, kind, value):
        voxels = HU.astype(np.float32)
        voxels[1, 2, 3] = voxels[3, 2, 1] = value
        path = examples.write(kind, tmp_path, voxels, AFFINE)
        refusal(path, "2 voxels that are NaN or infinite", "replace them")

    @pytest.mark.parametrize("kind", ["nii.gz", "nrrd", "mha"])
    def test_sheared_grid(self, tmp_path, kind):
        affine = AFFINE.copy()
        affine[1, 2] = 0.1
        path = _write_any_affine(kind, tmp_path, HU, affine)
        refusal(path, "sheared", "dcm2niix")

    @pytest.mark.parametrize("kind", ["nii.gz", "nrrd", "mha"])
    @pytest.mark.parametrize("column", [(0, 0, 0), (0, 1.25, 0), (1.5, 1.25, 0)])
    def test_singular_affine(self, tmp_path, kind, column):
        affine = AFFINE.copy()
        affine[:3, 2] = column
        path = _write_any_affine(kind, tmp_path, HU, affine)
        refusal(path, "singular affine", "header")

    def test_absurd_voxel_size(self, tmp_path):
        path = examples.write_nifti(tmp_path / "ct.nii.gz", HU, AFFINE @ np.diag([1e3, 1, 1, 1]))
        refusal(path, "voxels of 1500 ×", "millimetres")

    def test_unknown_orientation(self, tmp_path):
        image = nib.Nifti1Image(HU, None)
        image.to_filename(tmp_path / "ct.nii.gz")
        refusal(tmp_path / "ct.nii.gz", "left and right", "sform", "orientation")
        path = examples.write_itk(tmp_path / "ct.nrrd", HU, AFFINE)
        header = path.read_bytes()
        path.write_bytes(header.replace(b"space: left-posterior-superior", b"space dimension: 3"))
        refusal(path, "left and right", "`space`", "orientation")

    @pytest.mark.parametrize("kind", ["nii.gz", "nrrd", "mha"])
    def test_4d(self, tmp_path, kind):
        path = tmp_path / f"ct.{kind}"
        voxels = np.stack([HU, HU], axis=-1)
        if kind == "nii.gz":
            examples.write_nifti(path, voxels, AFFINE)
        else:
            SimpleITK.WriteImage(
                SimpleITK.GetImageFromArray(np.ascontiguousarray(voxels.T), isVector=False),
                str(path),
            )
        refusal(path, "4 dimensions", "three-dimensional volume")

    @pytest.mark.parametrize("kind", ["nii.gz", "nrrd", "mha"])
    def test_colour(self, tmp_path, kind):
        path = tmp_path / f"ct.{kind}"
        if kind == "nii.gz":
            rgb = np.zeros(HU.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])
            nib.Nifti1Image(rgb, AFFINE).to_filename(path)
        else:
            rgb = np.zeros((*HU.shape, 3), np.uint8)
            SimpleITK.WriteImage(SimpleITK.GetImageFromArray(rgb, isVector=True), str(path))
        refusal(path, "colour", "one Hounsfield value per voxel")

    def test_complex(self, tmp_path):
        path = examples.write_nifti(tmp_path / "ct.nii", HU.astype(np.complex64), AFFINE)
        refusal(path, "complex", "one Hounsfield value per voxel")

    def test_single_slice(self, tmp_path):
        path = examples.write_nifti(tmp_path / "ct.nii.gz", HU[:, :, :1], AFFINE)
        refusal(path, "14 × 12 × 1", "whole three-dimensional scan")
        path = examples.write_nifti(tmp_path / "flat.nii.gz", HU[:, :, 0], AFFINE)
        refusal(path, "14 × 12", "whole three-dimensional scan")

    def test_all_air(self, tmp_path):
        path = examples.write_nifti(tmp_path / "ct.nii.gz", np.full_like(HU, -1000), AFFINE)
        refusal(path, "nothing but air", "patient")

    @pytest.mark.parametrize(
        "voxels",
        [
            (HU > 0).astype(np.uint8),  # a mask
            (HU + 1024).astype(np.uint16),  # stored values without intercept
            (HU / 1000).astype(np.float32),  # normalised
            np.clip(HU, -160, 240),  # windowed
            np.zeros_like(HU),
        ],
    )
    def test_values_that_are_not_hounsfield(self, tmp_path, voxels):
        path = examples.write_nifti(tmp_path / "ct.nii.gz", voxels, AFFINE)
        refusal(path, "not a CT in Hounsfield units", "rescale slope and intercept")


def _write_any_affine(kind, folder, voxels, affine):
    """Write grids that the libraries refuse to write, by editing the header of a good file."""
    if kind == "nii.gz":
        image = nib.Nifti1Image(voxels, None)
        image.header["sform_code"] = 1
        for row, name in enumerate(("srow_x", "srow_y", "srow_z")):
            image.header[name] = affine[row]
        path = folder / "ct.nii.gz"
        header = image.header
        header["vox_offset"] = 352
        header["magic"] = b"n+1"
        path.write_bytes(gzip.compress(header.binaryblock + bytes(4) + voxels.tobytes("F")))
        return path
    path = examples.write_itk(folder / f"ct.{kind}", voxels, np.eye(4), compress=False)
    columns = (examples.LPS_TO_RAS @ affine)[:3, :3].T
    content = path.read_bytes()
    if kind == "nrrd":
        vectors = " ".join("({},{},{})".format(*column) for column in columns)
        new = content.replace(b"(-1,0,0) (0,-1,0) (0,0,1)", vectors.encode())
    else:
        spacing = np.linalg.norm(columns, axis=1)
        unit = columns / np.where(spacing > 0, spacing, 1)[:, None]
        new = content.replace(b"-1 0 0 0 -1 0 0 0 1", " ".join(map(str, unit.flat)).encode())
        new = new.replace(
            b"ElementSpacing = 1 1 1", f"ElementSpacing = {' '.join(map(str, spacing))}".encode()
        )
    assert new != content
    path.write_bytes(new)
    return path


class TestLabels:
    volume = Volume(HU, AFFINE)
    labels = (HU > 300).astype(np.uint8) * 7

    @pytest.mark.parametrize("kind", ["nii.gz", "nrrd", "mha"])
    @pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
    def test_read_in_another_order_of_axes(self, tmp_path, kind, dtype):
        stored = examples.stored_as("PIL", self.labels.astype(dtype), AFFINE)
        labels = read_labels(examples.write(kind, tmp_path, *stored), self.volume)
        assert labels.labels_xyz.dtype == np.uint8
        np.testing.assert_array_equal(labels.labels_xyz, self.labels)
        np.testing.assert_array_equal(labels.affine, AFFINE)

    def test_large_ids_become_int16(self, tmp_path):
        path = examples.write_nifti(tmp_path / "l.nii", self.labels.astype(np.int16) * 100, AFFINE)
        assert read_labels(path, self.volume).labels_xyz.dtype == np.int16

    @pytest.mark.parametrize("change", ["size", "place", "spacing", "turned"])
    def test_another_grid_is_taken_by_nearest_neighbours_and_said(self, tmp_path, change):
        affine, labels = AFFINE.copy(), self.labels
        if change == "size":
            labels = labels[1:]
            affine[:3, 3] += affine[:3, 0]
        elif change == "place":
            affine[2, 3] += 0.1
        elif change == "spacing":
            affine[0, 0] += 0.01
        else:
            affine = examples.affine_ras(oblique=True)
        path = examples.write_nifti(tmp_path / "labels.nii.gz", labels, affine)
        placed = read_labels(path, self.volume)
        assert "nearest neighbours" in placed.doubts[0]
        np.testing.assert_array_equal(placed.affine, AFFINE)
        if change != "turned":
            inner = placed.labels_xyz[1:-1, 1:-1, 1:-1]
            np.testing.assert_array_equal(inner, self.labels[1:-1, 1:-1, 1:-1])

    def test_labels_beside_the_ct(self, tmp_path):
        affine = AFFINE.copy()
        affine[:3, 3] += 1000
        path = examples.write_nifti(tmp_path / "labels.nii.gz", self.labels, affine)
        refusal(path, "no labelled voxel within the CT", "this CT", read=self.read)

    def read(self, path):
        return read_labels(path, self.volume)

    @pytest.mark.parametrize("value", [0.5, -1, 40000])
    def test_values_that_are_no_ids(self, tmp_path, value):
        voxels = self.labels.astype(np.float32)
        voxels[0, 0, 0] = value
        path = examples.write_nifti(tmp_path / "labels.nii.gz", voxels, AFFINE)
        refusal(path, "no label ids", "nearest neighbours", read=self.read)

    def test_unknown_kind(self, tmp_path):
        refusal(tmp_path, "not a label map", ".nii.gz", read=self.read)
        refusal(tmp_path / "none.nii", "does not exist", read=self.read)
