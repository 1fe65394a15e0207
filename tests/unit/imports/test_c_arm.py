"""C-arm tags in the vendors' styles: distances, angles, and where the central ray meets the image."""

import numpy as np
import pydicom
import pytest

from raymark.imports.c_arm import CArm, read_c_arm


def file_of(path, **tags):
    """A DICOM header without pixels."""
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = pydicom.uid.XRayAngiographicImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3"
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID
    data.Rows, data.Columns = 60, 80
    for tag, value in tags.items():
        setattr(data, tag, value)
    data.save_as(path, enforce_file_format=True)
    return path


def test_angiography_tells_distances_and_angles(tmp_path):
    arm = read_c_arm(
        file_of(
            tmp_path / "xa.dcm",
            Modality="XA",
            DistanceSourceToDetector=1195,
            DistanceSourceToPatient=765,
            PositionerPrimaryAngle=-31.5,
            PositionerSecondaryAngle=20,
        )
    )
    assert arm == CArm(1195, 765, -31.5, 20)


def test_frames_of_a_rotation_have_their_own_angles(tmp_path):
    path = file_of(
        tmp_path / "xa.dcm",
        PositionerPrimaryAngle=10,
        PositionerPrimaryAngleIncrement=[0, 5, 10],
        PositionerSecondaryAngle=0,
    )
    assert [read_c_arm(path, frame).primary_deg for frame in (None, 1, 3)] == [10, 10, 20]


@pytest.mark.parametrize(("gantry", "primary"), [(0, 180), (90, -90), (180, 0), (270, 90)])
def test_a_linear_accelerators_gantry_angle_places_the_detector_opposite(tmp_path, gantry, primary):
    """At 0° the source is above the supine patient, at 90° at the left: the detector at the right."""
    path = file_of(
        tmp_path / "rt.dcm",
        Modality="RTIMAGE",
        GantryAngle=gantry,
        RTImageSID=1500,
        RadiationMachineSAD=1000,
    )
    arm = read_c_arm(path)
    assert (arm.source_to_detector_mm, arm.source_to_patient_mm) == (1500, 1000)
    assert (arm.primary_deg - primary) % 360 == 0


def test_plain_xrays_tell_the_side_of_the_detector(tmp_path):
    assert read_c_arm(file_of(tmp_path / "a.dcm", ViewPosition="AP")).primary_deg == 180
    assert read_c_arm(file_of(tmp_path / "b.dcm", ViewPosition="PA")).primary_deg == 0
    assert read_c_arm(file_of(tmp_path / "c.dcm", ViewPosition="XX")).primary_deg is None


def test_contradictions_are_told_with_the_rule(tmp_path):
    arm = read_c_arm(
        file_of(
            tmp_path / "x.dcm",
            DistanceSourceToDetector=1000,
            RTImageSID=1500,
            DistanceSourceToPatient=700,
            EstimatedRadiographicMagnificationFactor=2,
        )
    )
    assert arm.source_to_detector_mm == 1000
    assert "DistanceSourceToDetector 1000 mm counts, not RTImageSID 1500 mm" in arm.doubts[0]
    assert "magnification of 2, but 1.43 by its distances, which count" in arm.doubts[1]
    behind = read_c_arm(
        file_of(tmp_path / "y.dcm", DistanceSourceToDetector=900, DistanceSourceToPatient=950)
    )
    assert behind.source_to_patient_mm is None
    assert "behind the detector" in behind.doubts[0]


def test_what_is_no_dicom_file_tells_nothing(tmp_path):
    (tmp_path / "x.png").write_bytes(b"nothing")
    assert read_c_arm(tmp_path / "x.png") == CArm()
    assert read_c_arm(tmp_path / "missing.dcm") == CArm()


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", ["NO", "YES"])
def test_the_central_ray_is_found_in_a_field_of_view_that_is_turned_and_flipped(
    tmp_path, turn, flip
):
    """A detector with one bright element at its middle, cut and turned as the tags say."""
    active_yx, elements_yx, field_yx = (10, 20), (101, 141), (30, 40)
    detector = np.zeros((200, 300))
    detector[active_yx[0] + 50, active_yx[1] + 70] = 1
    shown = detector[field_yx[0] : field_yx[0] + 60, field_yx[1] : field_yx[1] + 80]
    shown = np.rot90(shown, -turn // 90)
    shown = shown[:, ::-1] if flip == "YES" else shown
    path = file_of(
        tmp_path / "x.dcm",
        DetectorActiveOrigin=list(active_yx),
        DetectorActiveDimensions=[elements_yx[0] * 0.2, elements_yx[1] * 0.2],
        DetectorElementSpacing=[0.2, 0.2],
        ImagerPixelSpacing=[0.2, 0.2],
        FieldOfViewOrigin=list(field_yx),
        FieldOfViewRotation=turn,
        FieldOfViewHorizontalFlip=flip,
        Rows=shown.shape[0],
        Columns=shown.shape[1],
    )
    row, column = np.argwhere(shown)[0]
    np.testing.assert_allclose(read_c_arm(path).principal_px, (column, row), atol=1e-9)


def test_an_active_area_without_its_size_is_a_doubt(tmp_path):
    arm = read_c_arm(file_of(tmp_path / "x.dcm", DetectorActiveOrigin=[10, 20]))
    assert arm.principal_px is None
    assert "--principal-point" in arm.doubts[0]
