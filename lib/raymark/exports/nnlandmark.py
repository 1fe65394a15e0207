"""The CT side of a view set in the layout of nnLandmark (Ertl et al., MIDL 2026; a form of nnU-Net's).

`imagesTr/<subject>_0000.nii.gz`, `labelsTr/<subject>.nii.gz` with a cube of 3 x 3 x 3 voxels for each
landmark, and its four JSON files. Voxels count along the file's own axes, as nibabel has them.
"""

import shutil
from pathlib import Path

import numpy as np

from raymark.core.errors import InputError
from raymark.ct.grid import LabelMap, Volume
from raymark.ct.store import read_volume, write_labels
from raymark.datasets.lookup import cts_of, landmark_names, landmark_points, rendered
from raymark.exports.base import Format, Source, write_json

SUFFIX = ".nii.gz"


def write(source: Source, folder: Path) -> int:
    """Write the CTs that the view set shows, with their landmarks."""
    dataset = rendered(source.project, source.dataset)
    names = landmark_names(dataset)
    number_of = {name: number for number, name in enumerate(names, start=1)}
    voxels, spacings = {}, {}
    paths = cts_of(source.project, source.dataset, source.view_set)
    if not paths:
        raise InputError(f"view set {source.view_set}", "shows no subject", "Take another")
    (folder / "imagesTr").mkdir()
    for subject, path in paths.items():
        volume = read_volume(path)
        centres = _voxels(volume, landmark_points(dataset, subject))
        labels = _cubes(f"{path}, subject {subject}", volume.hu_xyz.shape, centres, names)
        shutil.copyfile(path, folder / f"imagesTr/{subject}_0000{SUFFIX}")
        label_map = LabelMap(labels, volume.affine)
        write_labels(folder / f"labelsTr/{subject}{SUFFIX}", label_map)
        voxels[subject] = dict(zip(names, centres.tolist(), strict=True))
        spacing = [float(mm) for mm in volume.spacing_mm]
        spacings[subject] = {"image_spacing": spacing, "annotation_spacing": None}
    dataset_json = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0} | number_of,
        "numTraining": len(paths),
        "file_ending": SUFFIX,
        "dataset_name": source.dataset,
    }
    write_json(folder / "dataset.json", dataset_json)
    write_json(folder / "name_to_label.json", number_of)
    write_json(folder / "spacing.json", spacings)
    write_json(folder / "all_landmarks_voxel.json", voxels)
    return len(paths)


def _voxels(volume: Volume, points_mm: np.ndarray) -> np.ndarray:
    """Return the voxels (landmark, 3) in which world points lie."""
    to_voxel = np.linalg.inv(volume.affine)
    return np.rint(points_mm @ to_voxel[:3, :3].T + to_voxel[:3, 3]).astype(int)


def _cubes(place: str, shape: tuple[int, ...], centres: np.ndarray, names: list[str]) -> np.ndarray:
    """Return a label map of cubes; InputError where one does not fit, or two share a voxel.

    nnLandmark takes the centre of mass of a label for the landmark.
    """
    labels = np.zeros(shape, np.uint8 if len(names) < 256 else np.int16)
    for number, (name, centre) in enumerate(zip(names, centres, strict=True), start=1):
        if (centre < 1).any() or (centre > np.array(shape) - 2).any():
            problem = f"the landmark {name!r} lies at the border of the CT: its cube would be cut"
            raise InputError(place, problem, "Leave it out under `use_landmarks` of the data set")
        cube = labels[tuple(slice(c - 1, c + 2) for c in centre)]
        if cube.any():
            other = names[int(cube.max()) - 1]
            problem = f"{other!r} and {name!r} are so near that their cubes share voxels"
            raise InputError(place, problem, "Leave one out under `use_landmarks` of the data set")
        cube[:] = number
    return labels


FORMAT = Format(write)
