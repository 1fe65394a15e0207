"""Labels in DICOM: segmentation objects (SEG, by highdicom) and the contours of a structure set (RTSTRUCT).

Both lie in the patient's LPS frame. Which CT they were drawn on is not asked: identities are often
replaced. Whether they fit the CT, the plausibility of what they label tells.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
from pydicom.misc import is_dicom

from raymark.core.errors import InputError
from raymark.ct.grid import LabelMap, Volume
from raymark.ct.labels.segments import overlap_doubt
from raymark.ct.voxel_files import LPS_TO_RAS, reading

if TYPE_CHECKING:
    import highdicom as hd

IN_PLANE_VOXELS = 0.35  # contours of one slice lie so close to one index of the CT, along one axis
LARGEST_GAP = 1.5  # a plane of contours counts for slices up to this many half distances of planes


def read_dicom_labels(path: Path, like: Volume) -> LabelMap | None:
    """Read a DICOM SEG or RTSTRUCT file, or the folder of one; None for anything else."""
    file = _only_file(path)
    if file is None or not is_dicom(file):
        return None
    with reading(path):
        dataset = pydicom.dcmread(file)
        modality = str(dataset.get("Modality", ""))
    if modality == "SEG":
        return _segmentation(path, dataset)
    return _structure_set(path, dataset, like) if modality == "RTSTRUCT" else None


def _only_file(path: Path) -> Path | None:
    if not path.is_dir():
        return path
    files = [file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")]
    return files[0] if len(files) == 1 else None


# ------------------------------------------------------------------------------------------ SEG


def _segmentation(path: Path, dataset: pydicom.Dataset) -> LabelMap:
    import highdicom as hd

    with reading(path):
        segmentation = hd.seg.Segmentation.from_dataset(dataset, copy=False)
        geometry = segmentation.get_volume_geometry(allow_missing_positions=True)
    if geometry is None:
        raise InputError(
            path,
            "has frames that are no stack of parallel, equally spaced slices",
            "Save the segmentation on the CT's slices, e.g. with 3D Slicer",
        )
    with reading(path):
        return _merged_segments(segmentation, geometry)


def _merged_segments(
    segmentation: "hd.seg.Segmentation", geometry: "hd.VolumeGeometry"
) -> LabelMap:
    """Merge the segments, in the order of their numbers; where two overlap, the first counts."""
    merged = np.zeros(geometry.spatial_shape, np.int16)
    names, overlap = {}, 0
    for number in segmentation.segment_numbers:
        names[int(number)] = str(segmentation.get_segment_description(number).segment_label)
        volume = segmentation.get_volume(segment_numbers=[number], allow_missing_positions=True)
        inside = (
            np.asarray(volume.array)[..., 0] >= 0.5
        )  # of a fractional segment, what is mostly in it
        overlap += int(np.count_nonzero(inside & (merged > 0)))
        merged[inside & (merged == 0)] = number
    affine = LPS_TO_RAS @ np.asarray(geometry.affine, float)
    return LabelMap(merged, affine, names, overlap_doubt(overlap, merged))


# ------------------------------------------------------------------------------------- RTSTRUCT


def _structure_set(path: Path, dataset: pydicom.Dataset, like: Volume) -> LabelMap:
    """Fill the contours on the CT's own grid; a structure without any is named among the doubts."""
    with reading(path):
        names = {int(roi.ROINumber): str(roi.ROIName) for roi in dataset.StructureSetROISequence}
        contours = {
            int(roi.ReferencedROINumber): _contours(roi) for roi in dataset.ROIContourSequence
        }
    merged, overlap, empty = np.zeros(like.hu_xyz.shape, np.int16), 0, []
    labels: dict[int, str] = {}
    for label, (number, name) in enumerate(names.items(), start=1):
        drawn = contours.get(number, [])
        labels[label] = name
        if not drawn:
            empty.append(name)
            continue
        inside = _filled(path, name, drawn, like)
        overlap += int(np.count_nonzero(inside & (merged > 0)))
        merged[inside & (merged == 0)] = label
    doubts = list(overlap_doubt(overlap, merged))
    if empty:
        doubts.append(f"has no closed contour of {', '.join(empty)}")
    return LabelMap(merged, like.affine, labels, tuple(doubts))


def _contours(roi: Any) -> list[np.ndarray]:
    """Return the closed contours (n, 3) LPS mm of one structure."""
    return [
        np.reshape([float(value) for value in contour.ContourData], (-1, 3))
        for contour in roi.get("ContourSequence") or []
        if str(contour.get("ContourGeometricType", "")) in ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
        and len(contour.ContourData) >= 9
    ]


def _filled(path: Path, name: str, contours: Iterable[np.ndarray], like: Volume) -> np.ndarray:
    """Fill contours (n, 3) LPS mm on the grid of `like`: a Boolean array (x, y, z).

    Contours run through voxel centres, which belong to the structure; one within another is a hole.
    A plane counts for every slice that is nearest to it, up to the distance of neighbouring planes.
    """
    to_voxel = np.linalg.inv(like.affine) @ LPS_TO_RAS
    planes = [points @ to_voxel[:3, :3].T + to_voxel[:3, 3] for points in contours]
    axis = int(np.argmin([max(np.ptp(points[:, a]) for points in planes) for a in range(3)]))
    if max(np.ptp(points[:, axis]) for points in planes) > IN_PLANE_VOXELS:
        raise InputError(
            path,
            f"has contours of {name!r} that lie in no slices of the CT",
            "Draw them on the CT's slices, or convert the structure set to a label map",
        )
    levels: dict[float, list[np.ndarray]] = {}
    for points in planes:
        levels.setdefault(round(float(points[:, axis].mean()), 1), []).append(points)
    across = [a for a in range(3) if a != axis]
    size = np.array(like.hu_xyz.shape)
    slices = np.zeros((size[axis], *size[across]), bool)
    for index, level in _nearest_planes(sorted(levels), size[axis]):
        slices[index] = _fill([points[:, across] for points in levels[level]], tuple(size[across]))
    return np.moveaxis(slices, 0, axis)


def _nearest_planes(levels: list[float], count: int) -> list[tuple[int, float]]:
    """Return (slice, its nearest plane) for the slices, `count` in all, that planes stand for."""
    distance = float(np.median(np.diff(levels))) if len(levels) > 1 else 1.0
    reach = max(0.5, LARGEST_GAP * distance / 2)
    nearest = [(index, min(levels, key=lambda level: abs(level - index))) for index in range(count)]
    return [(index, level) for index, level in nearest if abs(level - index) <= reach]


def _fill(polygons: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    from skimage.measure import grid_points_in_poly

    inside, edge = np.zeros(shape, bool), np.zeros(shape, bool)
    for polygon in polygons:
        where = grid_points_in_poly(shape, np.round(polygon, 3), binarize=False)
        inside ^= where == 1
        edge |= where > 1
    return inside | edge
