"""One door for every format of label maps: read, named, brought to RAS and onto the CT's grid."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from raymark.core.errors import InputError
from raymark.ct.grid import LabelMap, Volume, check_straight, to_ras
from raymark.ct.labels.folder import is_folder_of_structures, read_folder
from raymark.ct.labels.names import ASSUMED, contradiction, read_scheme
from raymark.ct.labels.place import on_grid
from raymark.ct.labels.segments import nifti_names, read_segments
from raymark.ct.read import VOXEL_SUFFIXES, check_exists
from raymark.ct.voxel_files import NIFTI_SUFFIXES, read_voxel_file

ROUNDED = 1e-3


def read_labels(path: str | Path, like: Volume, scheme: str = "") -> LabelMap:
    """Read a label map onto the grid of `like`, with the names of its structures.

    Known are NIfTI, NRRD and MetaImage, 3D Slicer's segmentations (.seg.nrrd), DICOM SEG and RTSTRUCT,
    and TotalSegmentator's folder of one file for each structure. Names in the file count; without
    them ids are those of `scheme`, or TotalSegmentator's (version 2) where that is empty. Another grid
    is brought to the CT's by nearest neighbours. Raises InputError for values that are no ids
    (fractions, negative, above 32767), for names that contradict the scheme, for labels that lie
    beside the CT and for files that cannot be read.
    """
    path = Path(path)
    check_exists(path)
    labels = _read(path, like)
    names, told = _named(path, labels.names, scheme)
    labels_xyz, affine, _ = to_ras(labels.labels_xyz, labels.affine)
    placed = on_grid(path, LabelMap(labels_xyz, affine, doubts=labels.doubts), like)
    return replace(placed, names=names, named_by=told)


def _read(path: Path, like: Volume) -> LabelMap:
    name = path.name.lower()
    if path.is_dir() and is_folder_of_structures(path):
        return read_folder(path)
    if name.endswith(VOXEL_SUFFIXES) and not path.is_dir():
        found = read_segments(path)
        if found is None:
            voxels, affine = read_voxel_file(path)
            names = nifti_names(path)[0] if name.endswith(NIFTI_SUFFIXES) else {}
            found = LabelMap(label_ids(path, voxels), affine, names)
        check_straight(path, found.affine)
        return found
    from raymark.ct.labels.dicom_objects import read_dicom_labels

    found = read_dicom_labels(path, like)
    if found is None:
        raise InputError(
            path,
            "is not a label map of a known kind",
            f"Save the labels as one of {', '.join(VOXEL_SUFFIXES)}, DICOM SEG or RTSTRUCT, or give "
            "TotalSegmentator's folder of one file for each structure",
        )
    return found


def _named(path: Path, names: Mapping[int, str], scheme: str) -> tuple[dict[int, str], str]:
    """Return the names by id, and who gave them."""
    if not names:
        return read_scheme(scheme or ASSUMED), scheme or f"{ASSUMED}, assumed"
    if scheme and (against := contradiction(names, scheme)):
        raise InputError(
            path,
            against,
            "Leave the column label_scheme of the subject sheet empty: the file's own names count then",
        )
    return dict(names), "the file"


def label_ids(path: Path, voxels: np.ndarray) -> np.ndarray:
    """Return voxels as label ids, uint8 or int16; refuse what is none."""
    highest = voxels.max()
    if voxels.dtype.kind == "f":  # scaled and rounded on the way: 6.9999 is 7
        whole = np.rint(voxels)
        fractions = bool((np.abs(voxels - whole) > ROUNDED).any())
        voxels = whole
    else:
        fractions = False
    if fractions or voxels.min() < 0 or highest > np.iinfo(np.int16).max:
        raise InputError(
            path,
            "has values that are no label ids (whole numbers from 0 to 32767)",
            "Give the label map, resampled with nearest neighbours if at all",
        )
    return voxels.astype(np.uint8 if highest <= np.iinfo(np.uint8).max else np.int16)
