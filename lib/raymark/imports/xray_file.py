"""X-ray images that nobody rendered: any usual file becomes one grey image, upright, bone bright."""

import gzip
import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from raymark.core.errors import InputError
from raymark.imports.stored_image import Stored, Xray, coloured, letter_of, upright, xray_of
from raymark.imports.xray_dicom import read_dicom
from raymark.imports.xray_picture import grey_of, read_picture

PICTURES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
NIFTI = (".nii", ".nii.gz")
ITK_FILES = (".mha", ".mhd", ".nrrd")
FORMATS = "DICOM, PNG, TIFF, JPEG, NIfTI, MetaImage (.mha) or NRRD"
MOST_PIXELS = 50_000_000  # a whole spine or leg, stitched, has less
MAGIC = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"BM": "BMP",
    b"NRRD000": "NRRD",
    b"\x1f\x8b": "NIfTI",  # gzip; what else may be in it is refused by its reader
}
KIND_OF_SUFFIX = {
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
    ".nii": "NIfTI",
    ".nii.gz": "NIfTI",
    ".mha": "MetaImage",
    ".mhd": "MetaImage",
    ".nrrd": "NRRD",
    ".dcm": "DICOM",
}
ITK_READERS = {"NRRD": "NrrdImageIO", "MetaImage": "MetaImageIO"}


def read_xray(path: str | Path, frame: int | None = None) -> Xray:
    """Read DICOM, PNG, TIFF, JPEG, BMP, NIfTI, MetaImage or NRRD, recognised by its content.

    `frame`, from 1, chooses one of a series or of several pages. The result is upright and bone bright
    as far as the file tells: DICOM's polarity by `xray_dicom`, TIFF's WhiteIsZero, the orientation tags
    of cameras and scanners, DICOM's PatientOrientation, the directions of a coronal or sagittal slice.
    Pixels are made square. What was corrected or stays unknown is among the doubts. The pitch is the
    detector's; pictures state none (their dots per inch are a size on paper).

    Raises InputError, with the cause, for what cannot be read; it quotes nothing of the file that may
    name a patient.
    """
    path = Path(path)
    if not os.path.isfile(path):  # Path.is_file raises where the name is too long
        raise InputError(path, "is missing", "Check the path")
    if not path.stat().st_size:
        raise InputError(path, "is empty", "Copy, download or export it again")
    if frame is not None and frame < 1:
        raise InputError(path, f"has no frame {frame}", "Frames count from 1")
    from raymark.ct.voxel_files import reading

    kind, doubts = _kind(path)
    with reading(path):
        stored = _READERS[kind](path, kind, frame)
    return xray_of(path, stored.doubted(doubts))


def stem_of(path: str | Path) -> str:
    """Return a file's name without the suffix of its format; other dots stay (DICOM UIDs have many)."""
    name = Path(path).name
    suffixes = [s for s in KIND_OF_SUFFIX if name.lower().endswith(s)]
    return name[: -len(max(suffixes, key=len))] if suffixes else name


def _kind(path: Path) -> tuple[str, list[str]]:
    """Tell the format by the content, with a doubt where the name says another."""
    found = _kind_of_content(path)
    suffixes = [s for s in KIND_OF_SUFFIX if path.name.lower().endswith(s)]
    named = KIND_OF_SUFFIX[max(suffixes, key=len)] if suffixes else None
    if found is None and named is None:
        raise InputError(path, "is no image of a kind that is known here", f"Use {FORMATS}")
    if found is None:
        found = str(named)
    packed = path.name.lower().endswith(".nii") and _starts_with(path, b"\x1f\x8b")
    unpacked = path.name.lower().endswith(".nii.gz") and not _starts_with(path, b"\x1f\x8b")
    if found == named and (packed or unpacked):
        is_what = "compressed" if packed else "not compressed"
        return found, [f"is {is_what}, against its name; read as it is"]
    if named is not None and found != named:
        return found, [f"is a {found} file, against its name; read as one"]
    return found, []


def _starts_with(path: Path, magic: bytes) -> bool:
    with open(path, "rb") as file:
        return file.read(len(magic)) == magic


def _kind_of_content(path: Path) -> str | None:
    with open(path, "rb") as file:
        start = file.read(1024)
    if start[128:132] == b"DICM":
        return "DICOM"
    for magic, kind in MAGIC.items():
        if start.startswith(magic):
            return kind
    if start[344:348] in (b"n+1\0", b"ni1\0") or start[4:8] == b"n+2\0":
        return "NIfTI"
    if start.startswith((b"ObjectType", b"NDims", b"Comment")) and b"=" in start[:80]:
        return "MetaImage"
    if start[:4] in (
        b"\x08\0\x05\0",
        b"\x08\0\0\0",
        b"\x08\0\x08\0",
        b"\x02\0\0\0",
        b"\x02\0\x10\0",
    ):
        return "DICOM"  # without preamble: its first tags
    return None


def _picture(path: Path, kind: str, frame: int | None) -> Stored:
    return read_picture(path, kind, frame, _check_pixels)


def _nifti(path: Path, _: str, frame: int | None) -> Stored:
    import nibabel as nib  # ITK reads the missing end of a truncated NIfTI file as zeros

    content = path.read_bytes()
    if content.startswith(b"\x1f\x8b"):
        with gzip.open(path) as file:
            content = file.read(16 * MOST_PIXELS)
            if file.read(1):
                raise InputError(path, "holds more than one X-ray", "Give a single image")
    header_bytes = min(int.from_bytes(content[:4], order) for order in ("little", "big"))
    if header_bytes not in (348, 540):
        raise InputError(path, "holds no NIfTI image", "Export it again as NIfTI, PNG or DICOM")
    image = (nib.Nifti2Image if header_bytes == 540 else nib.Nifti1Image).from_bytes(content)
    if image.get_data_dtype().fields is not None:
        raise coloured(path)
    _check_pixels(path, image.shape)
    pixels = np.asarray(image.dataobj, np.float64)
    ras_to_lps = np.diag([-1.0, -1.0, 1.0])
    axes = ras_to_lps @ image.affine[:3, :3]
    spacing_mm = np.array([*image.header.get_zooms()[:3], 1.0, 1.0, 1.0][:3], float)
    has_place = int(image.header["sform_code"]) > 0 or int(image.header["qform_code"]) > 0
    return _of_volume(
        path,
        pixels,
        spacing_mm,
        axes if has_place else None,
        ras_to_lps @ image.affine[:3, 3] if has_place else None,
        frame,
    )


def _itk_file(path: Path, kind: str, frame: int | None) -> Stored:
    import SimpleITK as sitk

    from raymark.ct.detached import check_data_file
    from raymark.ct.voxel_files import check_itk_size

    file_bytes = check_data_file(path)
    reader = sitk.ImageFileReader()
    reader.SetImageIO(ITK_READERS[kind])
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    size = reader.GetSize()
    check_itk_size(reader, path, file_bytes)
    in_stack = frame is not None and len(size) == 3 and size[2] > 1
    if in_stack and frame is not None:  # this image is read alone
        if frame > size[2]:
            raise InputError(path, f"has {size[2]} frames, no frame {frame}", "Give one it has")
        reader.SetExtractIndex([0, 0, frame - 1])
        size = (*size[:2], 1)
        reader.SetExtractSize(size)
        frame = None
    _check_pixels(path, size)
    image = reader.Execute()
    pixels = sitk.GetArrayFromImage(image).astype(np.float64)
    if image.GetNumberOfComponentsPerPixel() > 1:
        pixels = grey_of(path, pixels, has_opacity=False)[0]
    pixels = (_without_zeros_behind(pixels) if in_stack else pixels).T
    dimensions = image.GetDimension()
    if dimensions > 3:
        pixels = pixels.reshape((*pixels.shape[:3], -1))[..., 0]
    spacing_mm = np.ones(3)
    spacing_mm[: min(dimensions, 3)] = image.GetSpacing()[:3]
    direction, origin_mm = np.eye(3), np.zeros(3)
    known = min(dimensions, 3)
    direction[:known, :known] = np.reshape(image.GetDirection(), (dimensions, -1))[:known, :known]
    origin_mm[:known] = image.GetOrigin()[:known]
    return _of_volume(path, pixels, spacing_mm, direction * spacing_mm, origin_mm, frame)


def _without_zeros_behind(pixels: np.ndarray) -> np.ndarray:
    """Cut off the rows and columns (..., y, x) of zeros that bring images of a stack to one size."""
    rows, columns = (np.flatnonzero(pixels.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    if not len(rows):
        return pixels
    return pixels[:, : rows[-1] + 1, : columns[-1] + 1]


def _of_volume(
    path: Path,
    voxels_ijk: np.ndarray,
    spacing_mm: np.ndarray,
    axes_lps_mm: np.ndarray | None,
    origin_lps_mm: np.ndarray | None,
    frame: int | None,
) -> Stored:
    """Return the one plane of a file of voxels, or the `frame` of a stack along its last axis.

    `axes_lps_mm` (3, voxel axis) are the steps from voxel to voxel.
    """
    shape = voxels_ijk.shape + (1,) * (3 - voxels_ijk.ndim)
    if math.prod(shape[3:]) > 1:
        raise _stacked(path, " × ".join(map(str, voxels_ijk.shape)) + " voxels")
    voxels_ijk = voxels_ijk.reshape(shape[:3])
    first = 0
    if frame is not None and shape[2] > 1:
        if frame > shape[2]:
            raise InputError(path, f"has {shape[2]} frames, no frame {frame}", "Give one it has")
        first = frame - 1
        voxels_ijk = voxels_ijk[:, :, first : first + 1]
    thin = [axis for axis in (2, 1, 0) if voxels_ijk.shape[axis] == 1]
    if not thin:
        raise _stacked(path, " × ".join(map(str, shape[:3])) + " voxels")
    x, y = (axis for axis in range(3) if axis != thin[0])
    image_yx = voxels_ijk.squeeze(thin[0]).T
    stored = Stored(image_yx, (float(spacing_mm[y]), float(spacing_mm[x])))
    if axes_lps_mm is None or origin_lps_mm is None:
        return stored
    origin_lps_mm = origin_lps_mm + first * axes_lps_mm[:, 2]
    to_lps_mm = np.column_stack([axes_lps_mm[:, x], axes_lps_mm[:, y], origin_lps_mm])
    sides = letter_of(axes_lps_mm[:, x]), letter_of(axes_lps_mm[:, y])
    return upright(stored.placed(to_lps_mm), *sides)


def _dicom(path: Path, _: str, frame: int | None) -> Stored:
    return read_dicom(path, frame, _check_pixels)


def _check_pixels(path: Path, shape: tuple[int, ...]) -> None:
    """Refuse what its header, before anything is read, says to be too large for an X-ray."""
    if math.prod(shape) > MOST_PIXELS:
        size = " × ".join(map(str, shape))
        problem = f"has {size} pixels, more than {MOST_PIXELS // 10**6} million"
        raise InputError(path, problem, "Give one X-ray, not enlarged")


def _stacked(path: Path, what: str) -> InputError:
    return InputError(
        path, f"is a stack or a volume ({what})", "Give one X-ray, a single frame (--frame N)"
    )


_READERS: dict[str, Callable[[Path, str, int | None], Stored]] = {
    **dict.fromkeys(("PNG", "JPEG", "TIFF", "BMP"), _picture),
    "NIfTI": _nifti,
    "NRRD": _itk_file,
    "MetaImage": _itk_file,
    "DICOM": _dicom,
}
