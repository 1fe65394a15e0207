"""Readers of single files: NIfTI by nibabel, NRRD and MetaImage by SimpleITK.

Each returns the voxels as stored (i, j, k) and the affine (4, 4) to world RAS mm. What a library has to
say about a bad file may quote its header, hence a patient: nothing of it is passed on.
"""

import gzip
import logging
import math
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from raymark.core.errors import InputError
from raymark.ct.detached import LONGEST_NRRD_HEADER, check_data_file
from raymark.ct.grid import check_affine, check_shape

if TYPE_CHECKING:
    import SimpleITK

NIFTI_SUFFIXES = (".nii", ".nii.gz")
ITK_SUFFIXES = {
    ".nrrd": "NrrdImageIO",
    ".nhdr": "NrrdImageIO",
    ".mha": "MetaImageIO",
    ".mhd": "MetaImageIO",
}
MM_PER_UNIT = {"meter": 1000.0, "micron": 1e-3}  # of NIfTI's xyzt_units
BEHIND_BYTES = 2**20  # what may follow the voxels, or lie between them and the header
DEFLATED = 1100  # gzip and zlib make at most 1032 bytes of one
PACKED = re.compile(
    rb"^(encoding[ \t]*:[ \t]*(?!raw)|CompressedData\s*[=:]\s*T|BinaryData\s*[=:]\s*F)", re.M | re.I
)
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Python warnings, logging and what C++ libraries print to the error stream."""
    sys.stderr.flush()
    error_stream = os.dup(2)
    disabled = logging.root.manager.disable
    try:
        with open(os.devnull, "w") as nowhere, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logging.disable(logging.CRITICAL)
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(error_stream, 2)
        os.close(error_stream)
        logging.disable(disabled)


@contextmanager
def reading(source: str | Path) -> Iterator[None]:
    """Turn whatever a library raises about `source` into one InputError, and keep it quiet."""
    try:
        with quiet():
            yield
    except InputError:
        raise
    except Exception:
        raise InputError(
            source,
            "cannot be read: it is truncated, damaged or not the image its name says",
            "Copy, download or export it again",
        ) from None


def read_voxel_file(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a NIfTI, NRRD or MetaImage file: voxels (i, j, k) and affine (4, 4) to RAS mm."""
    with reading(path):
        read = _read_nifti if path.name.lower().endswith(NIFTI_SUFFIXES) else _read_itk
        voxels, affine = read(path)
    if voxels.dtype.kind not in "biuf":
        raise _coloured(path)
    if voxels.dtype.kind == "f":
        bad = voxels.size - np.count_nonzero(np.isfinite(voxels))
        if bad:
            raise InputError(
                path,
                f"has {bad} voxels that are NaN or infinite",
                "Convert the original scan again, or replace them by -1000 if they are padding",
            )
    return voxels, affine


def _read_nifti(path: Path) -> tuple[np.ndarray, np.ndarray]:
    import nibabel as nib  # see `raymark.ct.grid.to_ras`

    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"  # by its content: names lie
    with gzip.open(path, "rb") if packed else open(path, "rb") as file:
        start = file.read(540)
        kind = nib.Nifti2Image if _header_size(start) == 540 else nib.Nifti1Image
        header = kind.header_class(start[: kind.header_class.sizeof_hdr], check=False)
        voxels_bytes = math.prod(header.get_data_shape()) * header.get_data_dtype().itemsize
        declared = header.get_data_offset() + voxels_bytes
        _check_declared(declared, path.stat().st_size, packed)
        file.seek(0)
        content = file.read(max(declared, 0) + BEHIND_BYTES)
        if file.read(1):  # to the end, so that gzip compares its checksum
            raise _too_long(path)
    image = kind.from_bytes(content)
    shape = image.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if image.get_data_dtype().fields is not None:
        raise _coloured(path)
    check_shape(path, shape)
    if image.header["sform_code"] == 0 and image.header["qform_code"] == 0:
        raise _unoriented(path, "sform and qform codes are 0")
    affine = np.asarray(image.affine, dtype=np.float64)
    affine[:3] *= MM_PER_UNIT.get(image.header.get_xyzt_units()[0], 1.0)
    check_affine(path, affine)
    return np.asarray(image.dataobj).reshape(shape, order="F"), affine


def _check_declared(declared_bytes: int, file_bytes: int, packed: bool) -> None:
    """Refuse voxels that the file is too short to hold, before memory is taken for them."""
    if declared_bytes > file_bytes * (DEFLATED if packed else 1):
        raise EOFError


def _header_size(content: bytes) -> int:
    """Return the size field that a NIfTI file starts with, whichever its byte order."""
    return min(int.from_bytes(content[:4], order) for order in ("little", "big"))


def _read_itk(path: Path) -> tuple[np.ndarray, np.ndarray]:
    import SimpleITK

    file_bytes = check_data_file(path)
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO(ITK_SUFFIXES[path.suffix.lower()])
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    if reader.GetNumberOfComponents() > 1:
        raise _coloured(path)
    check_shape(path, reader.GetSize())
    voxels_bytes = check_itk_size(reader, path, file_bytes)
    is_nrrd = "Nrrd" in reader.GetImageIO()
    if is_nrrd:
        _check_gzip_end(path, voxels_bytes)
    if is_nrrd and _nrrd_space(reader) != "left-posterior-superior":
        raise _unoriented(path, "`space` names no patient axes")
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(reader.GetDirection(), (3, 3)) * reader.GetSpacing()
    affine[:3, 3] = reader.GetOrigin()
    check_affine(path, affine)
    voxels_kji = SimpleITK.GetArrayFromImage(reader.Execute())
    return voxels_kji.T, LPS_TO_RAS @ affine


def check_itk_size(reader: "SimpleITK.ImageFileReader", path: Path, file_bytes: int) -> int:
    """Return the bytes of the voxels that a reader's header declares, where the files can hold them.

    `file_bytes` is what header and data files have together.
    """
    import SimpleITK

    pixel = SimpleITK.Image([1] * reader.GetDimension(), reader.GetPixelID())
    values = math.prod(reader.GetSize()) * reader.GetNumberOfComponents()
    voxels_bytes = values * pixel.GetSizeOfPixelComponent()
    with open(path, "rb") as file:
        packed = PACKED.search(file.read(LONGEST_NRRD_HEADER)) is not None
    _check_declared(voxels_bytes, file_bytes, packed)
    return voxels_bytes


def _check_gzip_end(path: Path, voxels_bytes: int) -> None:
    """Read the gzip stream of a NRRD file to its checksum, which ITK leaves unread."""
    with open(path, "rb") as file:
        header, end, _ = file.read(LONGEST_NRRD_HEADER).partition(b"\n\n")
        encoding = [line for line in header.splitlines() if line.lower().startswith(b"encoding:")]
        if end and encoding and encoding[0].split(b":")[1].strip().lower() in (b"gzip", b"gz"):
            file.seek(len(header + end))
            left = voxels_bytes + BEHIND_BYTES
            with gzip.open(file) as stream:
                while piece := stream.read(2**20):
                    left -= len(piece)
                    if left < 0:
                        raise _too_long(path)


def _nrrd_space(reader: "SimpleITK.ImageFileReader") -> str:
    """Return the frame of a NRRD file after ITK has turned RAS and LAS to LPS; empty if untold."""
    return reader.GetMetaData("NRRD_space") if reader.HasMetaDataKey("NRRD_space") else ""


def _too_long(path: Path) -> InputError:
    return InputError(
        path, "holds far more data than its header tells", "Copy, download or export it again"
    )


def _coloured(path: Path) -> InputError:
    return InputError(
        path,
        "has colour, vector or complex voxels",
        "Give the scan itself, one Hounsfield value per voxel, not a rendering of it",
    )


def _unoriented(path: Path, why: str) -> InputError:
    return InputError(
        path,
        f"does not say where left and right are ({why})",
        "Convert the original scan again, or set the orientation in 3D Slicer and save it",
    )
