"""Readers of single files: NIfTI by nibabel, NRRD and MetaImage by SimpleITK.

Each returns the voxels as stored (i, j, k) and the affine (4, 4) to world RAS mm. What a library has to
say about a bad file may quote its header, hence a patient: nothing of it is passed on.
"""

import gzip
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np

from raymark.ct.detached import check_data_file
from raymark.ct.grid import check_affine, check_shape
from raymark.errors import InputError

NIFTI_SUFFIXES = (".nii", ".nii.gz")
ITK_SUFFIXES = {
    ".nrrd": "NrrdImageIO",
    ".nhdr": "NrrdImageIO",
    ".mha": "MetaImageIO",
    ".mhd": "MetaImageIO",
}
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
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    with opener(path, "rb") as file:
        content = file.read()  # to the end, so that gzip compares its checksum
    kind = nib.Nifti2Image if _header_size(content) == 540 else nib.Nifti1Image
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
    check_affine(path, affine)
    return np.asarray(image.dataobj).reshape(shape, order="F"), affine


def _header_size(content: bytes) -> int:
    """Return the size field that a NIfTI file starts with, whichever its byte order."""
    return min(int.from_bytes(content[:4], order) for order in ("little", "big"))


def _read_itk(path: Path) -> tuple[np.ndarray, np.ndarray]:
    import SimpleITK

    check_data_file(path)
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO(ITK_SUFFIXES[path.suffix.lower()])
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    if reader.GetNumberOfComponents() > 1:
        raise _coloured(path)
    check_shape(path, reader.GetSize())
    is_nrrd = "Nrrd" in reader.GetImageIO()
    if is_nrrd:
        _check_gzip_end(path)
    if is_nrrd and _nrrd_space(reader) != "left-posterior-superior":
        raise _unoriented(path, "`space` names no patient axes")
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(reader.GetDirection(), (3, 3)) * reader.GetSpacing()
    affine[:3, 3] = reader.GetOrigin()
    check_affine(path, affine)
    voxels_kji = SimpleITK.GetArrayFromImage(reader.Execute())
    return voxels_kji.T, LPS_TO_RAS @ affine


def _check_gzip_end(path: Path) -> None:
    """Read the gzip stream of a NRRD file to its checksum, which ITK leaves unread."""
    header, _, data = path.read_bytes().partition(b"\n\n")
    encoding = [line for line in header.splitlines() if line.lower().startswith(b"encoding:")]
    if data and encoding and encoding[0].split(b":")[1].strip().lower() in (b"gzip", b"gz"):
        gzip.decompress(data)


def _nrrd_space(reader) -> str:
    """Return the frame of a NRRD file after ITK has turned RAS and LAS to LPS; empty if untold."""
    return reader.GetMetaData("NRRD_space") if reader.HasMetaDataKey("NRRD_space") else ""


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
