"""One door for every format: CT volumes and label maps, brought to RAS and checked."""

import zipfile
from pathlib import Path

import numpy as np

from raymark.core.errors import InputError
from raymark.ct.grid import SAME_PLACE_MM, LabelMap, Volume, corners_mm, to_ras
from raymark.ct.voxel_files import ITK_SUFFIXES, NIFTI_SUFFIXES, read_voxel_file

VOXEL_SUFFIXES = (*NIFTI_SUFFIXES, *ITK_SUFFIXES)
AIR_ONLY_BELOW_HU = -500
LOWEST_OF_A_PATIENT_HU, HIGHEST_OF_A_PATIENT_HU = -200, 100


def read_ct(path: str | Path) -> Volume:
    """Read a CT: NIfTI, NRRD/NHDR, MHA/MHD, or a DICOM series in a folder or a zip.

    Voxels become int16 HU, rounded and clipped; axes the ones closest to RAS; the affine stays exact.
    Raises InputError, naming the file and the remedy, for anything that is not one whole CT.
    """
    path = Path(path)
    _check_exists(path)
    name = path.name.lower()
    if path.is_dir() or name.endswith(".zip"):
        from raymark.ct.dicom import read_series

        voxels, affine = read_series(path)
    elif name.endswith(VOXEL_SUFFIXES):
        voxels, affine = read_voxel_file(path)
    else:
        raise _unknown_kind(path)
    _check_hounsfield(path, voxels)
    hu_xyz, affine, orientation = to_ras(_to_int16(voxels), affine)
    return Volume(np.ascontiguousarray(hu_xyz), affine, orientation)


def read_labels(path: str | Path, like: Volume | None = None) -> LabelMap:
    """Read a label map (NIfTI, NRRD or MetaImage) that lies on the grid of `like`.

    The axes may be stored in another order than the CT's. Raises InputError for another grid, for
    values that are no ids (fractions, negative, above 32767) and for files that cannot be read.
    """
    path = Path(path)
    _check_exists(path)
    if not path.name.lower().endswith(VOXEL_SUFFIXES) or path.is_dir():
        raise InputError(
            path,
            "is not a label map of a known kind",
            f"Save the labels as one of {', '.join(VOXEL_SUFFIXES)}",
        )
    voxels, affine = read_voxel_file(path)
    labels_xyz, affine, _ = to_ras(_to_label_ids(path, voxels), affine)
    if like is not None:
        _check_same_grid(path, labels_xyz.shape, affine, like)
        affine = like.affine
    return LabelMap(np.ascontiguousarray(labels_xyz), affine)


def _check_exists(path: Path) -> None:
    if not path.exists():
        raise InputError(path, "does not exist", "Check the path in the subject sheet")


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


def _check_hounsfield(path: Path, voxels: np.ndarray) -> None:
    """Refuse values that no patient's CT has.

    In Hounsfield units a patient reaches below -200 (gas, the air around; fat is near -100) and
    above 100 (bone). Magnetic resonance, emission tomography, masks, 8-bit pictures, normalised
    intensities and unrescaled detector values do not do both.
    """
    lowest, highest = voxels.min(), voxels.max()
    if highest < AIR_ONLY_BELOW_HU:
        raise InputError(
            path,
            f"holds nothing but air (no value above {AIR_ONLY_BELOW_HU} HU)",
            "Give a scan with a patient in it, with the rescale slope and intercept applied",
        )
    if lowest > LOWEST_OF_A_PATIENT_HU or highest < HIGHEST_OF_A_PATIENT_HU:
        raise InputError(
            path,
            f"is not a CT in Hounsfield units: values run from {lowest:.6g} to {highest:.6g}, "
            f"a patient's from below {LOWEST_OF_A_PATIENT_HU} to above {HIGHEST_OF_A_PATIENT_HU}",
            "Give the original CT with the rescale slope and intercept applied "
            "(not windowed, normalised, a mask or another modality)",
        )


def _to_int16(voxels: np.ndarray) -> np.ndarray:
    if voxels.dtype == np.int16:
        return voxels
    limits = np.iinfo(np.int16)
    whole = np.rint(voxels) if voxels.dtype.kind == "f" else voxels
    return np.clip(whole, limits.min, limits.max).astype(np.int16)


def _to_label_ids(path: Path, voxels: np.ndarray) -> np.ndarray:
    highest = voxels.max()
    fractions = voxels.dtype.kind == "f" and (voxels != np.rint(voxels)).any()
    if fractions or voxels.min() < 0 or highest > np.iinfo(np.int16).max:
        raise InputError(
            path,
            "has values that are no label ids (whole numbers from 0 to 32767)",
            "Give the label map, resampled with nearest neighbours if at all",
        )
    return voxels.astype(np.uint8 if highest <= np.iinfo(np.uint8).max else np.int16)


def _check_same_grid(path: Path, shape: tuple, affine: np.ndarray, like: Volume) -> None:
    same = shape == like.hu_xyz.shape
    if same:
        distance_mm = np.abs(corners_mm(affine, shape) - corners_mm(like.affine, shape)).max()
        same = distance_mm < SAME_PLACE_MM
    if not same:
        raise InputError(
            path,
            "is not on the CT's grid (other size, spacing, position or directions)",
            "Resample the labels to the CT with nearest neighbours, e.g. 3D Slicer's "
            "Resample Scalar Volume with the CT as reference",
        )
