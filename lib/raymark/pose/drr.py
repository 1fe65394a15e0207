"""One rendered X-ray at one pose, as picture, NIfTI or DICOM with its geometry."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from raymark.config.dataset import Physics
from raymark.core.errors import InputError
from raymark.core.files import atomic
from raymark.ct import Volume
from raymark.geometry.camera import Camera
from raymark.pose.pictures import grey, write_png
from raymark.projectors.joseph import Joseph
from raymark.rendering.physics import EnergyIntegratingDetector, densities_from_hu, spectrum_of

GREYS_PER_UNIT = 4000.0  # of attenuation, in the 16 bits of DICOM
HIGHEST_GREY = 65535


def log_xray(volume: Volume, camera: Camera) -> np.ndarray:
    """Return the log X-ray (row, column) of a CT, float32, kV spectrum, without noise."""
    integrals = Joseph(densities_from_hu(volume.hu_xyz), volume.affine).project(camera)
    detector = EnergyIntegratingDetector(spectrum_of(Physics()), None)
    return detector.log_image(integrals, np.random.default_rng(0)).astype(np.float32)


def write_xray(
    path: str,
    image_yx: np.ndarray,
    camera: Camera,
    source_to_detector_mm: float,
    centre_mm: np.ndarray,
) -> None:
    """Write a log X-ray by the suffix of `path`: .png, .nii, .nii.gz or .dcm.

    `centre_mm` is what counts as the patient's place in DICOM's distances.
    """
    pixel_mm = source_to_detector_mm / camera.K[1, 1]
    writers: dict[str, Callable[[], None]] = {
        ".png": lambda: write_png(path, grey(image_yx)),
        ".nii.gz": lambda: _nifti(path, image_yx, pixel_mm),
        ".nii": lambda: _nifti(path, image_yx, pixel_mm),
        ".dcm": lambda: _dicom(path, image_yx, camera, source_to_detector_mm, centre_mm),
    }
    for suffix, write in writers.items():
        if path.lower().endswith(suffix):
            Path(path).resolve().parent.mkdir(parents=True, exist_ok=True)
            return write()
    raise InputError(path, "is no image by its name", f"Use {', '.join(writers)}")


def _nifti(path: str, image_yx: np.ndarray, pixel_mm: float) -> None:
    import nibabel as nib

    affine = np.diag([-pixel_mm, -pixel_mm, 1.0, 1.0])  # x right and y down, in the LPS of viewers
    image = nib.Nifti1Image(np.ascontiguousarray(image_yx.T[..., None], np.float32), affine)
    with atomic(path) as partial:
        partial.write_bytes(_packed(image.to_bytes(), path))


def _packed(content: bytes, path: str) -> bytes:
    import gzip

    return gzip.compress(content, 1, mtime=0) if path.lower().endswith(".gz") else content


def _dicom(
    path: str,
    image_yx: np.ndarray,
    camera: Camera,
    source_to_detector_mm: float,
    centre_mm: np.ndarray,
) -> None:
    """Write a secondary XA image: 16 bits, bone bright, logarithmic, angles and distances as tags."""
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, XRayAngiographicImageStorage

    pixel_mm = source_to_detector_mm / camera.K[1, 1]
    beam = camera.world_to_camera[2, :3]
    depth_mm = float(beam @ centre_mm + camera.world_to_camera[2, 3])
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = XRayAngiographicImageStorage
    greys = np.clip(np.rint(image_yx * GREYS_PER_UNIT), 0, HIGHEST_GREY).astype(np.uint16)
    uid = pydicom.uid.generate_uid(entropy_srcs=[greys.tobytes().hex()[:4096], str(camera.K)])
    data.file_meta.MediaStorageSOPInstanceUID = uid
    data.SOPClassUID, data.SOPInstanceUID = XRayAngiographicImageStorage, uid
    data.Modality, data.PatientName, data.PatientID = "XA", "", ""
    data.ImageType = ["DERIVED", "SECONDARY", "SINGLE PLANE"]
    data.Rows, data.Columns = greys.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    data.PixelIntensityRelationship, data.PixelIntensityRelationshipSign = "LOG", -1
    data.ImagerPixelSpacing = [round(pixel_mm, 8)] * 2
    data.DistanceSourceToDetector = round(source_to_detector_mm, 6)
    data.DistanceSourceToPatient = round(depth_mm, 6)
    # The detector stands where the beam leads: from the front 0°, from the patient's left 90°.
    data.PositionerPrimaryAngle = round(float(np.rad2deg(np.arctan2(-beam[0], beam[1]))), 4)
    data.PositionerSecondaryAngle = round(float(np.rad2deg(np.arcsin(np.clip(beam[2], -1, 1)))), 4)
    data.PixelData = greys.tobytes()
    with atomic(path) as partial:
        data.save_as(partial, enforce_file_format=True)
