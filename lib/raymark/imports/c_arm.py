"""What a DICOM X-ray says of the C-arm that took it: distances, angles, and where the central ray meets.

DICOM's positioner angles are about the patient, as ours are (`raymark.geometry.camera`); gantry angles of
linear accelerators and the view position of plain X-rays are brought to them. What a file does not say
is None; what contradicts itself is among the doubts, with the rule that decides.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from raymark.imports.xray_dicom import number_of, numbers_of

if TYPE_CHECKING:
    import pydicom

DISTANCES = ("DistanceSourceToDetector", "RTImageSID")
TO_PATIENT = ("DistanceSourceToIsocenter", "DistanceSourceToPatient", "RadiationMachineSAD")
# Where the detector stands for a plain X-ray: AP, the beam goes from front to back.
PRIMARY_OF_VIEW = {"AP": 180.0, "PA": 0.0, "LL": 90.0, "RL": -90.0}
SAME = 0.01


@dataclass(frozen=True)
class CArm:
    """Distances in mm, angles in degrees, the principal point (x, y) in px of the file's image."""

    source_to_detector_mm: float | None = None
    source_to_patient_mm: float | None = None
    primary_deg: float | None = None
    secondary_deg: float | None = None
    principal_px: tuple[float, float] | None = None
    doubts: tuple[str, ...] = ()


def read_c_arm(path: str | Path, frame: int | None = None) -> CArm:
    """Read the C-arm's tags of a DICOM file; of any other file nothing is known."""
    from pydicom.misc import is_dicom

    if not Path(path).is_file() or not is_dicom(path):
        return CArm()
    import pydicom

    dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    detector_mm, about_detector = _first(dataset, DISTANCES)
    patient_mm, about_patient = _first(dataset, TO_PATIENT)
    doubts = [*about_detector, *about_patient]
    if detector_mm and patient_mm and patient_mm >= detector_mm:
        doubts.append(
            f"has the patient ({patient_mm:g} mm) behind the detector ({detector_mm:g} mm): "
            "the former is passed over"
        )
        patient_mm = None
    magnification = number_of(dataset, "EstimatedRadiographicMagnificationFactor")
    if detector_mm and patient_mm and magnification:
        by_distances = detector_mm / patient_mm
        if abs(magnification / by_distances - 1) > SAME:
            doubts.append(
                f"has a magnification of {magnification:g}, but {by_distances:.3g} by its distances, "
                "which count"
            )
    arm = CArm(detector_mm, patient_mm, *_angles(dataset, frame), doubts=tuple(doubts))
    point, about_point = _principal_point(dataset)
    return replace(arm, principal_px=point, doubts=(*arm.doubts, *about_point))


def _first(dataset: "pydicom.Dataset", tags: tuple[str, ...]) -> tuple[float | None, list[str]]:
    """Return the first of several distances that is given, and which others contradict it."""
    given = {tag: number_of(dataset, tag) for tag in tags}
    known = {tag: value for tag, value in given.items() if value is not None and value > 0}
    if not known:
        return None, []
    (tag, value), *others = known.items()
    doubts = [
        f"has two distances: {tag} {value:g} mm counts, not {other} {differing:g} mm"
        for other, differing in others
        if abs(differing / value - 1) > SAME
    ]
    return value, doubts


def _angles(dataset: "pydicom.Dataset", frame: int | None) -> tuple[float | None, float | None]:
    """Return primary and secondary angle, those of a `frame` where increments tell them."""
    primary = _angle(dataset, "PositionerPrimaryAngle", frame)
    secondary = _angle(dataset, "PositionerSecondaryAngle", frame)
    if primary is not None:
        return primary, secondary or 0.0
    gantry = number_of(dataset, "GantryAngle")
    if gantry is not None and dataset.get("Modality") == "RTIMAGE":
        return (180.0 + gantry + 180.0) % 360.0 - 180.0, 0.0  # 0°: the source is above the patient
    view = str(dataset.get("ViewPosition") or "")
    return (PRIMARY_OF_VIEW[view], 0.0) if view in PRIMARY_OF_VIEW else (None, None)


def _angle(dataset: "pydicom.Dataset", tag: str, frame: int | None) -> float | None:
    angle, increments = number_of(dataset, tag), dataset.get(f"{tag}Increment")
    if angle is None or frame is None or increments is None:
        return angle
    steps = np.atleast_1d(np.array(increments, dtype=float))
    if len(steps) == 1:
        return angle  # a single increment tells nothing of one frame
    return angle + float(steps[min(frame - 1, len(steps) - 1)])


def _principal_point(
    dataset: "pydicom.Dataset",
) -> tuple[tuple[float, float] | None, list[str]]:
    """Return where the detector's middle, which the central ray meets, lies in the file's image.

    The image shows a field of view on the active area: its origin is told in elements of the
    detector, before it is turned clockwise and then mirrored (PS3.3 C.8.7.3, C.8.11.4).
    """
    active, size = (
        numbers_of(dataset.get(f"DetectorActive{name}"), 2) for name in ("Origin", "Dimensions")
    )
    pitch = numbers_of(dataset.get("DetectorElementSpacing"), 2)
    field = numbers_of(dataset.get("FieldOfViewOrigin"), 2)
    imager = numbers_of(dataset.get("ImagerPixelSpacing"), 2)
    if field is None or active is None or size is None or pitch is None or imager is None:
        untold = field is not None or active is not None
        lacking = "does not tell the detector's size and elements: "
        doubt = f"{lacking}the central ray is taken to meet the image's middle (--principal-point)"
        return None, [doubt] if untold else []
    middle = (
        active + size / pitch / 2 - 0.5 - field
    )  # elements (row, column) from the field's first
    point = (middle + 0.5) * pitch / imager - 0.5
    rows, columns = float(dataset.Rows), float(dataset.Columns)
    turn = int(number_of(dataset, "FieldOfViewRotation") or 0) % 360
    y, x = point
    if turn == 90:
        x, y = columns - 1 - y, x
    elif turn == 180:
        x, y = columns - 1 - x, rows - 1 - y
    elif turn == 270:
        x, y = y, rows - 1 - x
    if str(dataset.get("FieldOfViewHorizontalFlip") or "NO") == "YES":
        x = columns - 1 - x
    return (float(x), float(y)), []
