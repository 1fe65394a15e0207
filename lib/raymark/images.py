"""X-ray images that nobody rendered: any usual file becomes one grey image, bone bright."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raymark.errors import InputError

PICTURES = {".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp"}
VOXEL_FILES = {".nii", ".gz", ".mha", ".mhd", ".nrrd"}


@dataclass(frozen=True)
class Xray:
    """A grey image, float32 (row, column), bone bright, and its pixel pitch in mm where known."""

    image_yx: np.ndarray
    pixel_mm: float | None


def read_xray(path: str | Path) -> Xray:
    """Read DICOM, PNG, TIFF, JPEG, NIfTI, MHA or NRRD.

    A DICOM image whose photometric interpretation is MONOCHROME1 is shown dark on bright and is
    inverted; every other file is taken as it is, bone bright. Colour pictures are averaged.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(path, "is missing", "Check the path")
    suffix = path.suffix.lower()
    try:
        if suffix in PICTURES:
            xray = _picture(path)
        elif suffix in VOXEL_FILES:
            xray = _voxel_file(path)
        else:
            xray = _dicom(path)
    except InputError:
        raise
    except Exception as error:  # the readers' own errors are as many as their formats
        raise InputError(
            path, f"cannot be read as an X-ray ({error})", "Use DICOM, PNG, TIFF, NIfTI or MHA"
        ) from None
    return _checked(path, xray)


def _picture(path: Path) -> Xray:
    from skimage.io import imread

    pixels = np.asarray(imread(path), dtype=np.float32)
    return Xray(pixels[..., :3].mean(-1) if pixels.ndim == 3 else pixels, None)


def _voxel_file(path: Path) -> Xray:
    import SimpleITK as sitk

    image = sitk.ReadImage(str(path), sitk.sitkFloat32)
    return Xray(np.squeeze(sitk.GetArrayFromImage(image)), float(image.GetSpacing()[0]))


def _dicom(path: Path) -> Xray:
    import pydicom

    dataset = pydicom.dcmread(path)
    pixels = dataset.pixel_array.astype(np.float32)
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        pixels = pixels.max() - pixels
    spacing = dataset.get("ImagerPixelSpacing") or dataset.get("PixelSpacing")
    return Xray(pixels, float(spacing[0]) if spacing else None)


def _checked(path: Path, xray: Xray) -> Xray:
    image = xray.image_yx
    if image.ndim != 2 or min(image.shape) < 16:
        raise InputError(
            path, f"is not one grey image (its shape is {image.shape})", "Save a single frame"
        )
    if not np.isfinite(image).all():
        raise InputError(path, "has pixels that are not finite", "Replace NaN and infinite pixels")
    if image.min() == image.max():
        raise InputError(path, "is a single grey", "Check that the right image was exported")
    return xray
