"""Rendered views as DICOM digital X-rays (DX, for presentation), with the geometry that DICOM has tags for.

Bone is bright: higher values for less X-ray (PixelIntensityRelationshipSign −1). The shards' own values
come back by RealWorldValueMappingSequence, as DX fixes the rescaling (PS3.3 C.8.11.3). A mirrored view
is described as what it looks like, an ordinary view of the mirrored patient. Identifiers follow from
the shards, and no date is told, so that equal data gives equal bytes.
"""

from pathlib import Path

import numpy as np
from pydicom import Dataset, FileDataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import DSfloat

from raymark.core.digests import text_digest
from raymark.core.errors import InputError
from raymark.exports._pictures import WHITE, Greys, greys_of
from raymark.exports.base import Format, Source, View
from raymark.imports.stored_image import LETTERS

RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])
NAMED = 0.2  # a side is named from this cosine on


def write(source: Source, folder: Path) -> int:
    """Write `<view>.dcm` of every view."""
    if not source.is_rendered:
        problem = (
            "holds imported X-rays, which are no synthetic ones and whose geometry nobody knows"
        )
        raise InputError(
            f"data set {source.dataset}", problem, "Use the DICOM files they came from"
        )
    greys = greys_of(source)
    for number, view in enumerate(source.views(), start=1):
        path = folder / f"{view.name}.dcm"
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
        for part in (_patient(source, view), _image(view, number), _geometry(view)):
            dataset.update(part)
        dataset.update(_pixels(view, greys))
        dataset.save_as(path, enforce_file_format=True)
    return len(source.shards)


def _patient(source: Source, view: View) -> Dataset:
    shards = source.shards
    digests = [a["digest"] for a in shards.attributes if view.subject in a["subject"]]
    study = text_digest(source.dataset, view.subject, *digests)
    part = Dataset()
    part.SpecificCharacterSet = "ISO_IR 192"
    part.PatientName = part.PatientID = view.subject
    part.StudyInstanceUID = generate_uid(entropy_srcs=["study", study])
    part.SeriesInstanceUID = generate_uid(entropy_srcs=["series", study, source.view_set])
    part.SOPInstanceUID = generate_uid(entropy_srcs=["image", study, view.name])
    part.SOPClassUID = DigitalXRayImageStorageForPresentation
    for empty in ("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"):
        setattr(part, empty, "")
    part.ReferringPhysicianName = part.StudyID = part.AccessionNumber = ""
    part.StudyDescription = f"raymark {source.dataset}"[:64]
    part.SeriesDescription = f"synthetic X-rays, {source.view_set}"[:64]
    part.SeriesNumber = 1
    return part


def _image(view: View, number: int) -> Dataset:
    part = Dataset()
    part.Modality, part.Manufacturer = "DX", "raymark (synthetic)"
    part.PresentationIntentType = "FOR PRESENTATION"
    part.ImageType = ["DERIVED", "SECONDARY", "DRR"]
    part.InstanceNumber = number
    mirrored = "; of the patient mirrored left to right" if view.mirrored else ""
    part.DerivationDescription = f"Rendered from a CT by raymark, view {view.name}{mirrored}"
    part.BurnedInAnnotation, part.LossyImageCompression = "NO", "00"
    part.ImageLaterality = "U"
    part.AnatomicRegionSequence = Sequence()
    part.AcquisitionContextSequence = Sequence()
    part.DetectorType = ""
    physics = view.attributes.get("physics", {})
    if physics.get("spectrum") == "kv":
        part.KVP = DSfloat(physics["tube_kvp"], auto_format=True)
    return part


def _geometry(view: View) -> Dataset:
    row = view.row
    # A mirrored picture is an ordinary one of the mirrored patient, from the other side.
    primary_deg = -row.primary_deg if view.mirrored else row.primary_deg
    part = Dataset()
    part.PositionerType = "CARM"
    numbers = {
        "PositionerPrimaryAngle": (primary_deg + 180) % 360 - 180,
        "PositionerSecondaryAngle": row.secondary_deg,
        "DistanceSourceToDetector": row.source_to_detector_mm,
        "DistanceSourceToPatient": row.source_to_isocentre_mm,
        "EstimatedRadiographicMagnificationFactor": row.source_to_detector_mm
        / row.source_to_isocentre_mm,
    }
    for tag, number in numbers.items():
        setattr(part, tag, DSfloat(number, auto_format=True))
    part.DistanceSourceToIsocenter = row.source_to_isocentre_mm
    part.ImagerPixelSpacing = [DSfloat(view.pixel_mm, auto_format=True)] * 2
    part.PatientOrientation = patient_orientation(view)
    return part


def patient_orientation(view: View) -> list[str]:
    """Return the sides to which columns and rows count up (PS3.3 C.7.6.1.1.1), the main one first."""
    rotation = view.arrays["world_to_camera"][:3, :3]
    along = np.sign(view.arrays["K"][0, 0]) * rotation[0], rotation[1]
    as_if = np.array([-1.0, 1.0, 1.0]) if view.mirrored else np.ones(3)
    return [_letters(step * as_if * RAS_TO_LPS) for step in along]


def _letters(step_lps: np.ndarray) -> str:
    axes = sorted(range(3), key=lambda axis: -abs(step_lps[axis]))
    return "".join(LETTERS[int(step_lps[a] < 0)][a] for a in axes if abs(step_lps[a]) > NAMED)


def _pixels(view: View, greys: Greys) -> Dataset:
    pixels_yx = greys.of(view.arrays["image"])
    part = Dataset()
    part.Rows, part.Columns = pixels_yx.shape
    part.SamplesPerPixel, part.PhotometricInterpretation = 1, "MONOCHROME2"
    part.BitsAllocated = part.BitsStored = 16
    part.HighBit, part.PixelRepresentation = 15, 0
    part.PixelIntensityRelationship, part.PixelIntensityRelationshipSign = "LOG", -1
    part.RescaleIntercept, part.RescaleSlope, part.RescaleType = 0, 1, "US"
    part.PresentationLUTShape = "IDENTITY"
    part.WindowCenter, part.WindowWidth = (WHITE + 1) // 2, WHITE + 1
    mapping, unit = Dataset(), Dataset()
    unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = "1", "UCUM", "no units"
    mapping.LUTExplanation = "-ln(signal / signal of an empty pixel)"
    mapping.LUTLabel = "attenuation"
    mapping.MeasurementUnitsCodeSequence = Sequence([unit])
    mapping.add_new("RealWorldValueFirstValueMapped", "US", 0)
    mapping.add_new("RealWorldValueLastValueMapped", "US", WHITE)
    mapping.RealWorldValueIntercept, mapping.RealWorldValueSlope = greys.low, greys.step
    part.RealWorldValueMappingSequence = Sequence([mapping])
    part.add_new("PixelData", "OW", pixels_yx.astype("<u2").tobytes())
    return part


FORMAT = Format(write)
