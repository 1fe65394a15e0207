"""DICOM structured reports (TID 1500) of the points found in a user's own DICOM X-rays.

A report refers to the image it is about and lies in its study; it therefore names the patient, as the
image does. Positions are those of DICOM, from the corner of the stored image's first pixel. Identifiers
follow from the image, the model and the points, and dates from the image, so that equal input gives
equal bytes; PS3.3 asks for a date, which is 1 January 1900 where the image has none.
"""

from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from raymark import __version__
from raymark.core.digests import text_digest
from raymark.core.errors import InputError
from raymark.core.files import atomic
from raymark.core.names import readable
from raymark.detection.on_files import Found
from raymark.imports.image_points import in_file_px

NEEDED = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Rows",
    "Columns",
)
# What may be empty in any image, and is left out by some programs all the same.
MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)
NO_DATE, NO_TIME = "19000101", "000000"
SERIES_NUMBER = 900


class Beside:
    """Writes `<name>_points.sr.dcm` for every image, which has to be a DICOM file."""

    def __init__(self, out_dir: Path):
        pass

    def add(self, found: Found) -> None:
        report = report_of(found, _source(found.path))
        with atomic(f"{found.stem}_points.sr.dcm") as partial:
            report.save_as(partial, enforce_file_format=True)

    def end(self) -> None:
        pass


def _source(path: str) -> Dataset:
    """Read the header of the image that a report is about; InputError where it cannot be referred to."""
    try:
        source = dcmread(path, force=True, stop_before_pixels=True)
        missing = [tag for tag in NEEDED if not source.get(tag)]
    except Exception:  # what is no DICOM file has pydicom raise errors of many kinds
        missing = list(NEEDED)
    if len(missing) == len(NEEDED):
        problem = "is no DICOM file, and a structured report refers to one"
        raise InputError(path, problem, "Leave out `--also sr`, or give DICOM files")
    if missing:
        problem = f"has no {missing[0]}, by which a structured report would refer to it"
        raise InputError(path, problem, "Export the image again, with its header")
    for tag in MAY_BE_EMPTY:
        if tag not in source:
            setattr(source, tag, "")
    return source


def report_of(found: Found, source: Dataset) -> Dataset:
    """Return the report (Comprehensive SR) of what was detected in an image, whose header is `source`."""
    from highdicom import sr
    from pydicom.sr.codedict import codes

    table = in_file_px(found.table[found.table["detected"]], found.xray)
    model = f"{found.model.method}, seed {found.model.seed}"
    made_of = (source.SOPInstanceUID, str(found.frame), found.model.provenance, model)
    digest = text_digest(*made_of, table.to_csv(index=False))
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=generate_uid(entropy_srcs=["raymark", __version__]),
        name="raymark",
        manufacturer_name="raymark",
        model_name=f"raymark {__version__}",
    )
    observer = sr.ObserverContext(codes.DCM.Device, device)
    try:
        content = sr.MeasurementReport(
            observation_context=sr.ObservationContext(observer_device_context=observer),
            procedure_reported=codes.SCT.ImagingProcedure,
            imaging_measurements=[_group(row, source, found, digest) for row in table.itertuples()],
            title=codes.DCM.ImagingMeasurementReport,
        )
        report = sr.ComprehensiveSR(
            evidence=[source],
            content=content,
            series_instance_uid=generate_uid(entropy_srcs=["series", digest]),
            series_number=SERIES_NUMBER,
            sop_instance_uid=generate_uid(entropy_srcs=["report", digest]),
            instance_number=1,
            manufacturer="raymark",
            is_complete=True,
        )
    except (ValueError, TypeError, AttributeError) as error:  # may quote what names the patient
        problem = f"has a header of which no structured report can be made ({type(error).__name__})"
        remedy = "Leave out `--also sr`, or have its patient and study corrected"
        raise InputError(found.path, problem, remedy) from None
    return _dated(report, source)


def _group(row: Any, source: Dataset, found: Found, digest: str) -> Any:
    """Return the measurement group of one landmark: its point, and how sure the model is."""
    from highdicom import sr
    from pydicom.sr.codedict import codes

    frames = int(source.get("NumberOfFrames") or 1)
    image = sr.SourceImageForRegion(
        source.SOPClassUID, source.SOPInstanceUID, [found.frame or 1] if frames > 1 else None
    )
    corner_px = np.array([[row.x_px + 0.5, row.y_px + 0.5]])
    identifier = f"{row.landmark} {row.instance}" if row.instance else row.landmark
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            generate_uid(entropy_srcs=["point", digest, identifier]), identifier
        ),
        referenced_region=sr.ImageRegion(sr.GraphicTypeValues.POINT, corner_px, image),
        finding_type=sr.CodedConcept(row.landmark, "99RAYMARK", readable(row.landmark)[:64]),
        algorithm_id=sr.AlgorithmIdentification(
            f"raymark {found.model.method}, seed {found.model.seed}", __version__
        ),
        measurements=[
            sr.Measurement(
                name=codes.DCM.CertaintyOfFinding,
                value=round(100 * min(row.confidence, 1.0), 1),
                unit=codes.UCUM.Percent,
            )
        ],
    )


def _dated(report: Dataset, source: Dataset) -> Dataset:
    """Replace the hour of writing by that of the image."""
    for kind, unknown in (("Date", NO_DATE), ("Time", NO_TIME)):
        told = (source.get(f"{name}{kind}") for name in ("Content", "Acquisition", "Study"))
        setattr(report, f"Content{kind}", next((value for value in told if value), unknown))
        delattr(report, f"InstanceCreation{kind}")
    for equipment in report.ContributingEquipmentSequence:  # highdicom itself
        del equipment.ContributionDateTime
    return report
