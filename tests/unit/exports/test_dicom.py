"""DICOM of rendered views: what pydicom and our own reader make of it; geometry by anatomy."""

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymark.core.errors import InputError
from raymark.datasets.lookup import shards_of
from raymark.datasets.shards import Shards
from raymark.detection.on_files import find_landmarks, in_file_px
from raymark.exports import export_view_set
from raymark.exports.base import Source, View
from raymark.exports.dicom import patient_orientation
from raymark.geometry.camera import Detector, carm_camera
from raymark.imports.xray_file import read_xray
from tests.unit.detection.test_on_files import Brightest, model

# As PS3.3 A.26 has them of a DX image, of type 1: there and not empty.
TYPE_1 = (
    *("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID", "Modality"),
    *("PresentationIntentType", "ImageType", "ImageLaterality", "PatientOrientation"),
    *("PixelIntensityRelationship", "PixelIntensityRelationshipSign", "RescaleIntercept"),
    *("RescaleSlope", "RescaleType", "PresentationLUTShape", "LossyImageCompression"),
    *("BurnedInAnnotation", "ImagerPixelSpacing", "Rows", "Columns", "WindowCenter", "WindowWidth"),
)
TYPE_2 = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
    *("ReferringPhysicianName", "StudyID", "AccessionNumber", "SeriesNumber", "InstanceNumber"),
    *("Manufacturer", "AnatomicRegionSequence", "DetectorType", "PositionerType"),
    "AcquisitionContextSequence",
)


@pytest.fixture
def strict(monkeypatch):
    """Let pydicom refuse, and not only warn of, values against the standard."""
    settings = pydicom.config.settings
    for mode in ("reading_validation_mode", "writing_validation_mode"):
        monkeypatch.setattr(settings, mode, pydicom.config.RAISE)


def test_pydicom_reads_every_tag_that_a_dx_image_needs(project, exported, strict):
    out = exported("dicom")
    shards = Shards(shards_of(project, "balls", "novel"))
    rows = Source(project, "balls", "novel").views()
    uids = set()
    for view in rows:
        dataset = pydicom.dcmread(out / f"{view.name}.dcm")
        for tag in TYPE_1:
            assert dataset[tag].value not in (None, "", []), tag
        for tag in TYPE_2:
            assert tag in dataset
        assert sum(1 for _ in dataset.iterall()) > 60  # strictly, every value can be decoded
        assert dataset.ImageType[0] == "DERIVED"
        assert dataset.PatientName == "ball_patient"
        assert dataset.BurnedInAnnotation == "NO"
        assert dataset.PositionerPrimaryAngle == pytest.approx(view.row.primary_deg)
        assert dataset.PositionerSecondaryAngle == pytest.approx(view.row.secondary_deg)
        assert dataset.DistanceSourceToDetector == pytest.approx(view.row.source_to_detector_mm)
        assert dataset.DistanceSourceToPatient == pytest.approx(view.row.source_to_isocentre_mm)
        assert (dataset.KVP, dataset.ImagerPixelSpacing) == (90, [3.2, 3.2])
        uids.add(dataset.SOPInstanceUID)
        assert pydicom.uid.UID(dataset.SOPInstanceUID).is_valid
    assert len(uids) == len(shards)


@pytest.mark.parametrize("view_set", ["novel", "train", "around"])
def test_our_reader_sees_the_shards_image(project, exported, view_set):
    """Bone bright, at its pixel size, its values within a grey; turned only where it shows the back."""
    out, turned = exported("dicom", view_set), 0
    for view in Source(project, "balls", view_set).views():
        path = out / f"{view.name}.dcm"
        xray, expected = read_xray(path), view.arrays["image"].astype(float)
        assert xray.pixel_mm == 3.2
        (mapping,) = pydicom.dcmread(path).RealWorldValueMappingSequence
        slope = mapping.RealWorldValueSlope
        values = xray.image_yx * slope + mapping.RealWorldValueIntercept
        if xray.doubts:
            turned += 1
            assert "as stored (by the directions in its header)" in xray.doubts[0]
            y, x = np.indices(values.shape)
            file_px = xray.placement.to_file(np.stack([x.ravel(), y.ravel()], axis=1))
            columns, rows = np.rint(file_px).astype(int).T
            expected = expected[rows, columns].reshape(values.shape)
        np.testing.assert_allclose(values, expected, atol=0.51 * slope)
    assert turned == (3 if view_set == "around" else 0)  # 150, 180 and 210 degrees


def test_predict_finds_in_the_files_what_it_finds_in_the_shards(project, exported):
    """The densest pixel, by a network that looks for it, in the pixels of the file."""
    out, known = exported("dicom", "around"), model(landmarks=["x"], pixel_mm=3.2)
    for view in Source(project, "balls", "around").views():
        xray = read_xray(out / f"{view.name}.dcm")
        table = in_file_px(find_landmarks(Brightest(), known, xray)[0], xray)
        image = view.arrays["image"]
        x, y = table[["x_px", "y_px"]].to_numpy()[0].round().astype(int)
        assert image[y, x] >= image.max() - 1e-3


def view_from(primary_deg, secondary_deg, roll_deg=0.0, flip=False) -> View:
    camera = carm_camera(
        Detector(48, 64, 3.2),
        primary_deg=primary_deg,
        secondary_deg=secondary_deg,
        roll_deg=roll_deg,
        isocentre_world_mm=np.zeros(3),
        source_to_isocentre_mm=700,
        source_to_detector_mm=1000,
        flip=flip,
    )
    arrays = {"K": camera.K, "world_to_camera": camera.world_to_camera}
    return View("v", "s", arrays, {}, None, 3.2)


@pytest.mark.parametrize(
    ("angles", "sides"),
    [
        ((0, 0), ["L", "F"]),  # seen from the front
        ((90, 0), ["P", "F"]),  # from the patient's left: the front is on the image's left
        ((-90, 0), ["A", "F"]),
        ((180, 0), ["R", "F"]),
        ((0, 90), ["L", "A"]),  # from the head
        ((0, 0, 90), ["H", "L"]),  # turned clockwise: the head is on the image's right, left below
    ],
)
def test_orientations_are_those_of_anatomy(angles, sides):
    assert patient_orientation(view_from(*angles)) == sides


@given(st.floats(-180, 180), st.floats(-80, 80), st.floats(-180, 180))
def test_sides_point_where_points_of_the_patient_go(primary_deg, secondary_deg, roll_deg):
    """A step in the patient to the side that is named first moves the projection that way most."""
    steps = {"L": 0, "R": 0, "P": 1, "A": 1, "H": 2, "F": 2}
    towards = {"L": -1, "R": 1, "P": -1, "A": 1, "H": 1, "F": -1}
    view = view_from(primary_deg, secondary_deg, roll_deg)
    rotation = view.arrays["world_to_camera"][:3, :3]
    for (letter, *_), axis, sign in zip(patient_orientation(view), (0, 1), (-1, 1), strict=True):
        step = np.zeros(3)
        step[steps[letter]] = towards[letter]
        moved = sign * (rotation @ step)[axis]
        assert moved >= 1 / np.sqrt(3) - 1e-9


@given(st.floats(-180, 180), st.floats(-80, 80), st.floats(-180, 180))
def test_a_mirrored_view_is_an_ordinary_one_of_the_mirrored_patient(primary, secondary, roll):
    mirrored = view_from(primary, secondary, roll, flip=True)
    assert mirrored.mirrored
    sides = patient_orientation(mirrored)
    assert sides == patient_orientation(view_from(-primary, secondary, -roll))


def test_imported_xrays_are_not_given_out_as_rendered(project, tmp_path, monkeypatch):
    monkeypatch.setattr(Source, "is_rendered", False)
    with pytest.raises(InputError, match="imported X-rays, which are no synthetic ones"):
        export_view_set(Source(project, "balls", "novel"), "dicom", tmp_path / "out")
    assert not (tmp_path / "out").exists()
