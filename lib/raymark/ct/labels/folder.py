"""TotalSegmentator's folder: one NIfTI file of zeros and ones for each structure, named after it."""

from pathlib import Path

import numpy as np

from raymark.core.errors import InputError
from raymark.ct.grid import LabelMap, check_straight
from raymark.ct.labels.names import ASSUMED, read_scheme
from raymark.ct.labels.segments import overlap_doubt
from raymark.ct.voxel_files import NIFTI_SUFFIXES, read_voxel_file

LARGEST_ID = 32767


def is_folder_of_structures(path: Path) -> bool:
    return bool(_files(path))


def read_folder(path: Path) -> LabelMap:
    """Merge a folder's structures, in the order of their names; where two overlap, the first counts.

    A structure that TotalSegmentator has too gets its id there, any other an id above those.
    """
    known = {name: label for label, name in read_scheme(ASSUMED).items()}
    free = iter(range(max(known.values()) + 1, LARGEST_ID))
    files = _files(path)
    first = next(iter(files.values()))
    voxels, affine = read_voxel_file(first)
    check_straight(first, affine)
    merged, names, overlap = np.zeros(voxels.shape, np.int16), {}, 0
    for name, file in files.items():
        voxels, place = read_voxel_file(file)
        inside = _inside(file, voxels)
        if voxels.shape != merged.shape or not np.allclose(place, affine, atol=1e-3):
            problem = f"is on another grid than {first.name}"
            raise InputError(file, problem, "Give the structures of one CT, as they were written")
        label = known.get(name) or next(free)
        overlap += int(np.count_nonzero(inside & (merged > 0)))
        merged[inside & (merged == 0)] = label
        names[label] = name
    return LabelMap(merged, affine, names, overlap_doubt(overlap, merged))


def _inside(file: Path, voxels: np.ndarray) -> np.ndarray:
    values = np.unique(voxels)
    if len(values) > 2 or (len(values) == 2 and values[0] != 0) or values[0] < 0:
        problem = "has more values than 0 and one other, as no file of one structure has"
        remedy = "Name a file of many labels itself under `labels`, not the folder it lies in"
        raise InputError(file, problem, remedy)
    return voxels > 0


def _files(path: Path) -> dict[str, Path]:
    """Return the NIfTI files of a folder by the structure that they are named after."""
    files = {}
    for file in sorted(path.iterdir()):
        for suffix in NIFTI_SUFFIXES[::-1]:
            if file.name.lower().endswith(suffix) and not file.name.startswith("."):
                files[file.name[: -len(suffix)]] = file
                break
    return files
