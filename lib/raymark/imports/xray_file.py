"""X-ray images that nobody rendered: any usual file becomes one grey image, bone bright."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from raymark.core.errors import InputError

PICTURES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
NIFTI = (".nii", ".nii.gz")
ITK_FILES = (".mha", ".mhd", ".nrrd")
FORMATS = "DICOM, PNG, TIFF, JPEG, NIfTI, MetaImage (.mha) or NRRD"
COLOURED = 0.1  # channels further apart than this share of the brightest: a coloured pixel
MOST_PIXELS = 50_000_000  # a whole spine or leg, stitched, has less
WHITE_IS_ZERO = 0  # TIFF's PhotometricInterpretation

Pixels = tuple[np.ndarray, Sequence[float] | None]  # float32 (row, column), their spacing in mm


@dataclass(frozen=True)
class Xray:
    """A grey image, float32 (row, column), bone bright, and its pixel pitch in mm where known."""

    image_yx: np.ndarray
    pixel_mm: float | None


def read_xray(path: str | Path) -> Xray:
    """Read DICOM, PNG, TIFF, JPEG, NIfTI, MetaImage or NRRD.

    Files that say that low values are bright (DICOM's MONOCHROME1, TIFF's WhiteIsZero) are inverted;
    every other one is taken as it is, bone bright. Grey saved as colour is accepted. The pitch is
    DICOM's at the detector (ImagerPixelSpacing), else its PixelSpacing; pictures state none (their
    dots per inch are a size on paper). Errors quote nothing of the file: it may name a patient.
    """
    path = Path(path)
    if not os.path.isfile(path):  # Path.is_file raises where the name is too long
        raise InputError(path, "is missing", "Check the path")
    if not path.stat().st_size:
        raise InputError(path, "is empty", "Copy, download or export it again")
    from raymark.ct.voxel_files import reading

    with reading(path):
        image, spacing_mm = _reader(path)(path)
    return _checked(path, image, spacing_mm)


def stem_of(path: str | Path) -> str:
    """Return a file's name without the suffix of its format; other dots stay (DICOM UIDs have many)."""
    name = Path(path).name
    suffixes = [s for s in (*PICTURES, *NIFTI, *ITK_FILES, ".dcm") if name.lower().endswith(s)]
    return name[: -len(max(suffixes, key=len))] if suffixes else name


def _reader(path: Path) -> Callable[[Path], Pixels]:
    """Choose by the name; anything else must be DICOM, whose files often have no suffix."""
    name = path.name.lower()
    if name.endswith(PICTURES):
        return _picture
    if name.endswith(NIFTI):
        return _nifti
    if name.endswith(ITK_FILES):
        return _itk_file
    from pydicom.misc import is_dicom

    if not is_dicom(path):
        raise InputError(path, "is no image of a kind that is known here", f"Use {FORMATS}")
    return _dicom


def _picture(path: Path) -> Pixels:
    from PIL import Image

    with Image.open(path) as picture:
        _check_pixels(path, picture.size)
        picture.verify()  # a PNG's checksums, to its last byte
    with Image.open(path) as picture:
        pages = getattr(picture, "n_frames", 1)
        if pages > 1:
            raise _stacked(path, f"{pages} pages")
        if not picture.mode.startswith(("L", "I", "F")):
            return _grey(path, np.asarray(picture.convert("RGB"), np.float32)), None
        pixels = np.asarray(picture, np.float32)
        tags = getattr(picture, "tag_v2", {})
        inverted = picture.mode.startswith("I") and tags.get(262) == WHITE_IS_ZERO
    pixels = pixels[..., 0] if pixels.ndim == 3 else pixels  # grey with transparency
    return pixels.max() - pixels if inverted else pixels, None


def _nifti(path: Path) -> Pixels:
    import nibabel as nib  # ITK reads the missing end of a truncated NIfTI file as zeros

    image = cast(nib.Nifti1Image, nib.load(path))  # by its name
    if image.get_data_dtype().fields is not None:
        raise _coloured(path)
    _check_pixels(path, image.shape)
    pixels_xy = _plane(path, np.asarray(image.dataobj, np.float32))
    return pixels_xy.T, image.header.get_zooms()[:2]


def _itk_file(path: Path) -> Pixels:
    import SimpleITK as sitk

    from raymark.ct.detached import check_data_file
    from raymark.ct.voxel_files import check_itk_size

    file_bytes = check_data_file(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    _check_pixels(path, reader.GetSize())
    check_itk_size(reader, path, file_bytes)
    image = reader.Execute()
    if image.GetNumberOfComponentsPerPixel() > 1:
        raise _coloured(path)
    pixels = sitk.GetArrayFromImage(image).astype(np.float32)
    return _plane(path, pixels), image.GetSpacing()[:2]


def _check_pixels(path: Path, shape: tuple[int, ...]) -> None:
    """Refuse what its header, before anything is read, says to be too large for an X-ray."""
    if math.prod(shape) > MOST_PIXELS:
        size = " × ".join(map(str, shape))
        problem = f"has {size} pixels, more than {MOST_PIXELS // 10**6} million"
        raise InputError(path, problem, "Give one X-ray, not enlarged")


def _plane(path: Path, pixels: np.ndarray) -> np.ndarray:
    """Drop the axes with a single pixel; two must be left."""
    plane = pixels.squeeze()
    if plane.ndim != 2:
        raise _stacked(path, " × ".join(map(str, plane.shape)) + " voxels")
    return plane


def _dicom(path: Path) -> Pixels:
    import pydicom

    dataset = pydicom.dcmread(path)
    if dataset.SamplesPerPixel != 1:
        raise _coloured(path)
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        raise _stacked(path, f"{dataset.NumberOfFrames} frames")
    _check_pixels(path, (dataset.Rows, dataset.Columns))
    pixels = dataset.pixel_array.astype(np.float32)
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        pixels = pixels.max() - pixels
    spacing = dataset.get("ImagerPixelSpacing") or dataset.get("PixelSpacing")
    return pixels, tuple(map(float, spacing)) if spacing else None


def _grey(path: Path, pixels_yxc: np.ndarray) -> np.ndarray:
    """Average the channels of a grey picture saved as colour; refuse one that shows colours."""
    colours = pixels_yxc[..., :3]
    apart = colours.max(-1) - colours.min(-1)
    if (apart > COLOURED * colours.max()).mean() > 0.01:  # a coloured letter on an X-ray may stay
        raise _coloured(path)
    return colours.mean(-1)


def _coloured(path: Path) -> InputError:
    return InputError(path, "is a colour picture", "Give the X-ray itself, in grey")


def _stacked(path: Path, what: str) -> InputError:
    return InputError(path, f"is a stack or a volume ({what})", "Give one X-ray, a single frame")


def _checked(path: Path, image_yx: np.ndarray, spacing_mm: Sequence[float] | None) -> Xray:
    if min(image_yx.shape) < 16:
        shape = " × ".join(map(str, image_yx.shape))
        raise InputError(path, f"has only {shape} pixels", "Give the X-ray at its full size")
    if not np.isfinite(image_yx).all():
        raise InputError(path, "has pixels that are not finite", "Replace NaN and infinite pixels")
    if image_yx.min() == image_yx.max():
        raise InputError(path, "is a single grey", "Check that the right image was exported")
    if spacing_mm is None:
        return Xray(image_yx, None)
    if not min(spacing_mm) > 0.99 * max(spacing_mm):
        sides = " × ".join(f"{side:g}" for side in spacing_mm)
        raise InputError(path, f"has pixels of {sides} mm", "Resample it to square pixels")
    return Xray(image_yx, float(spacing_mm[0]))
