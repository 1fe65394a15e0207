"""One door for every format of CT volumes, brought to RAS and checked."""

import zipfile
from pathlib import Path

import numpy as np

from raymark.core.errors import InputError
from raymark.ct.grid import Volume, check_straight, is_sheared, to_ras
from raymark.ct.tilt import straightened
from raymark.ct.values import plausible_hu, size_doubts
from raymark.ct.voxel_files import ITK_SUFFIXES, NIFTI_SUFFIXES, read_voxel_file

VOXEL_SUFFIXES = (*NIFTI_SUFFIXES, *ITK_SUFFIXES)


def read_ct(path: str | Path, straighten: bool = False) -> Volume:
    """Read a CT: NIfTI, NRRD/NHDR, MHA/MHD, or a DICOM series in a folder, a zip or one enhanced file.

    Voxels become int16 HU, rounded and clipped; axes the ones closest to RAS; the affine stays exact.
    Padding around the scan becomes air. `straighten` resamples a sheared grid, of a tilted gantry.
    Raises InputError, naming the file and the remedy, for anything that is not one whole CT.
    """
    path = Path(path)
    check_exists(path)
    name = path.name.lower()
    doubts: list[str] = []
    if path.is_dir() or name.endswith(".zip") or _is_enhanced(path):
        from raymark.ct.dicom import read_series

        voxels, affine, doubts = read_series(path)
    elif name.endswith(VOXEL_SUFFIXES):
        voxels, affine = read_voxel_file(path)
    else:
        raise _unknown_kind(path)
    hu, more = plausible_hu(path, voxels)
    doubts += [*more, *size_doubts(path, hu, affine)]
    if straighten and is_sheared(affine):
        hu, affine = straightened(hu, affine)
        doubts.append("taken with a tilted gantry: resampled to a rectangular grid")
    check_straight(path, affine)
    hu_xyz, affine, orientation = to_ras(hu, affine)
    return Volume(np.ascontiguousarray(hu_xyz), affine, orientation, tuple(doubts))


def check_exists(path: Path) -> None:
    if not path.exists():
        raise InputError(path, "does not exist", "Check the path in the subject sheet")


def _is_enhanced(path: Path) -> bool:
    """Tell whether a file is one DICOM file with many frames."""
    from pydicom import dcmread
    from pydicom.misc import is_dicom

    from raymark.ct.voxel_files import reading

    if not is_dicom(path):
        return False
    with reading(path):
        header = dcmread(path, stop_before_pixels=True, specific_tags=["NumberOfFrames"])
        return int(header.get("NumberOfFrames") or 1) > 1


def _unknown_kind(path: Path) -> InputError:
    with open(path, "rb") as file:
        is_dicom = file.read(132)[128:] == b"DICM"
    if is_dicom:
        return InputError(
            path, "is a single DICOM file", "Name the folder (or a zip of it) that holds the series"
        )
    if zipfile.is_zipfile(path):
        return InputError(path, "is a zip under another name", "Rename it to end in .zip")
    return InputError(
        path,
        "is no CT of a known kind",
        f"Give {', '.join(VOXEL_SUFFIXES)}, or a folder or .zip with one DICOM series",
    )
