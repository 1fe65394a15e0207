"""Writers of DICOM label objects, as other programs make them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from skimage.measure import find_contours

from raymark.ct import Volume

LPS = np.diag([-1.0, -1.0, 1.0])


def series(volume: Volume) -> list[Dataset]:
    """Return headers of the CT's slices along its third axis, rows along y and columns along x."""
    study, frame = pydicom.uid.generate_uid(), pydicom.uid.generate_uid()
    series_uid = pydicom.uid.generate_uid()
    axes = LPS @ volume.affine[:3, :3] / volume.spacing_mm
    headers = []
    for k in range(volume.hu_xyz.shape[2]):
        header = Dataset()
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        header.SOPClassUID = pydicom.uid.CTImageStorage
        header.SOPInstanceUID = pydicom.uid.generate_uid()
        header.StudyInstanceUID, header.SeriesInstanceUID = study, series_uid
        header.FrameOfReferenceUID = frame
        header.PatientID = header.StudyID = "s"
        header.PatientName = "s^"
        header.PatientBirthDate = header.PatientSex = header.AccessionNumber = ""
        header.StudyDate = header.StudyTime = header.ReferringPhysicianName = ""
        header.Modality = "CT"
        header.Rows, header.Columns = volume.hu_xyz.shape[1], volume.hu_xyz.shape[0]
        header.PixelSpacing = [float(volume.spacing_mm[1]), float(volume.spacing_mm[0])]
        header.SliceThickness = float(volume.spacing_mm[2])
        header.ImageOrientationPatient = [*axes[:, 0], *axes[:, 1]]
        corner = volume.affine[:3, :3] @ [0, 0, k] + volume.affine[:3, 3]
        header.ImagePositionPatient = [float(f"{v:.6f}") for v in LPS @ corner]
        headers.append(header)
    return headers


def write_seg(
    path: Path, volume: Volume, masks: Mapping[str, np.ndarray], skip: bool, kind: str = "BINARY"
) -> None:
    """Write masks (x, y, z) as a segmentation of the `kind` BINARY, FRACTIONAL or LABELMAP."""
    stack = np.stack([mask.transpose(2, 1, 0) for mask in masks.values()], axis=-1)
    if kind == "LABELMAP":
        stack = (stack * np.arange(1, len(masks) + 1)).max(axis=-1)
    fractional = {"fractional_type": "PROBABILITY"} if kind == "FRACTIONAL" else {}
    descriptions = [
        hd.seg.SegmentDescription(
            number,
            name,
            codes.SCT.Organ,
            codes.SCT.Bone,
            hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, name in enumerate(masks, start=1)
    ]
    hd.seg.Segmentation(
        source_images=series(volume),
        pixel_array=stack.astype(np.float32 if fractional else np.uint8),
        segmentation_type=kind,
        **fractional,
        segment_descriptions=descriptions,
        series_instance_uid=hd.UID(),
        series_number=2,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="m",
        manufacturer_model_name="m",
        software_versions="1",
        device_serial_number="1",
        omit_empty_frames=skip,
    ).save_as(path)


def write_rtstruct(
    path: Path,
    volume: Volume,
    masks: Mapping[str, np.ndarray],
    every: int,
    empty: Sequence[str],
    tilted: bool,
) -> None:
    structure = Dataset()
    structure.file_meta = FileMetaDataset()
    structure.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    structure.file_meta.MediaStorageSOPClassUID = pydicom.uid.RTStructureSetStorage
    structure.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    structure.SOPClassUID = pydicom.uid.RTStructureSetStorage
    structure.SOPInstanceUID = structure.file_meta.MediaStorageSOPInstanceUID
    structure.Modality = "RTSTRUCT"
    structure.StructureSetROISequence, structure.ROIContourSequence = [], []
    for number, name in enumerate([*masks, *empty], start=1):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        drawn.ReferencedROINumber = number
        if name in masks:
            drawn.ContourSequence = contours(masks[name], volume, every, tilted)
        structure.StructureSetROISequence.append(roi)
        structure.ROIContourSequence.append(drawn)
    structure.save_as(path, enforce_file_format=True)


def contours(mask: np.ndarray, volume: Volume, every: int, tilted: bool) -> list[Dataset]:
    found = []
    for k in np.flatnonzero(mask.any(axis=(0, 1)))[::every]:
        padded = np.pad(mask[:, :, k], 1).astype(float)
        for line in find_contours(padded, 0.99):  # close to the centres of the voxels of the border
            if len(line) < 4:
                continue
            index = np.column_stack([line - 1, np.full(len(line), k)])
            if tilted:
                index[:, 2] += index[:, 0] * 0.5
            points = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
            contour = Dataset()
            contour.ContourGeometricType = "CLOSED_PLANAR"
            contour.NumberOfContourPoints = len(points)
            contour.ContourData = [f"{v:.3f}" for v in (points @ LPS).ravel()]
            found.append(contour)
    return found
