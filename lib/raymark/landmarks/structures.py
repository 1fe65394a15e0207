"""Label maps as sets of voxels in the world, and the few shape questions that recipes ask of them.

Recipes name structures (docs/landmarks.md); a number means the id of an own label map. The grid of a
label map may have any orientation and spacing, oblique ones included, but no shear.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import scipy  # its modules load when they are used, and few steps use them

from raymark.core.errors import InputError
from raymark.ct import LabelMap
from raymark.ct.labels.names import ids_of, nearest

SMALLEST_PART = 0.1  # a separate piece smaller than this share of its label is segmentation noise

BODY_SHARE = 0.68  # radius of the ball that opens a vertebra, of the largest ball it holds
MIDLINE_MM = 10.0  # the spinous process lies within this distance of the vertebra's mid-plane


@dataclass(frozen=True)
class Voxels:
    """Some voxels of a label map: `indices` (n, 3) and the map's `affine` (4, 4)."""

    indices: np.ndarray
    affine: np.ndarray

    @cached_property
    def points_mm(self) -> np.ndarray:
        """The voxels' centres in the world, (n, 3) mm."""
        return self.indices @ self.affine[:3, :3].T + self.affine[:3, 3]

    @cached_property
    def spacing_mm(self) -> np.ndarray:
        """The voxel size along each index axis, (3,) mm."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    def where(self, selection: np.ndarray) -> "Voxels":
        """Return the voxels that a Boolean `selection` (n,) keeps."""
        return Voxels(self.indices[selection], self.affine)

    def and_those_of(self, other: "Voxels") -> "Voxels":
        """Return these voxels followed by those of `other`, on the same grid."""
        return Voxels(np.concatenate([self.indices, other.indices]), self.affine)

    def parts(self) -> np.ndarray:
        """Number the connected parts (26 neighbours), (n,) from 0."""
        lowest = self.indices.min(axis=0)
        mask = np.zeros(np.ptp(self.indices, axis=0) + 1, dtype=bool)
        place = tuple((self.indices - lowest).T)
        mask[place] = True
        return scipy.ndimage.label(mask, np.ones((3, 3, 3)))[0][place] - 1

    def depth_mm(self) -> np.ndarray:
        """Return how deep each voxel lies: mm to the nearest voxel that is not among these, (n,)."""
        lowest = self.indices.min(axis=0) - 1
        mask = np.zeros(np.ptp(self.indices, axis=0) + 3, dtype=bool)
        place = tuple((self.indices - lowest).T)
        mask[place] = True
        return scipy.ndimage.distance_transform_edt(mask, sampling=self.spacing_mm)[place]

    def near(self, other: "Voxels", distance_mm: float) -> "Voxels":
        """Return the voxels whose centre is within `distance_mm` of one of `other`'s centres."""
        distance, _ = scipy.spatial.cKDTree(other.points_mm).query(
            self.points_mm, distance_upper_bound=distance_mm
        )
        return self.where(np.isfinite(distance))


Structure = str | int | tuple[str | int, ...]  # by name, by id, or several that are meant together


class Structures:
    """A label map that hands out one structure at a time; `source` names it in messages."""

    def __init__(self, labels: LabelMap, source: str | Path):
        self.labels, self.source = labels, source
        self._boxes = scipy.ndimage.find_objects(labels.labels_xyz)
        self._voxels: dict[Structure, Voxels] = {}
        self._vertebrae: dict[tuple, Vertebra] = {}

    def voxels(self, structure: Structure) -> Voxels:
        """Return the voxels of a structure without stray islands; InputError when it has none.

        Of several that are meant together, those count that the label map or its scheme knows: where
        S1 is a label of its own it belongs to the whole sacrum, elsewhere the sacrum has it.
        """
        if structure not in self._voxels:
            parts = [self._without_islands(label, of) for label, of in self._labels(structure)]
            voxels = parts[0]
            for part in parts[1:]:
                voxels = voxels.and_those_of(part)
            self._voxels[structure] = voxels
        return self._voxels[structure]

    def vertebra(self, structure: Structure, spine: tuple[Structure, Structure]) -> "Vertebra":
        """Return a structure as a vertebra with its own frame; InputError when it is not a whole one.

        `spine` are an upper and a lower vertebra near it, or itself; the line that joins their bodies
        is the direction of the spine.
        """
        if (structure, spine) not in self._vertebrae:
            upper, lower = (body(self.voxels(end)).points_mm.mean(axis=0) for end in spine)
            try:
                self._vertebrae[structure, spine] = Vertebra(self.voxels(structure), upper - lower)
            except ValueError as error:
                raise InputError(
                    self.source,
                    f"{told(structure)} is not a whole vertebra ({error})",
                    "Check the label, or leave out the landmarks of that vertebra",
                ) from None
        return self._vertebrae[structure, spine]

    def _labels(self, structure: Structure) -> list[tuple[int, str | int]]:
        """Return the ids of a structure, each with what the recipe calls it."""
        parts = structure if isinstance(structure, tuple) else (structure,)
        known = [(label, part) for part in parts for label in ids_of(part, self.labels.names)]
        if known:
            return known
        like = nearest(str(parts[0]), list(self.labels.names.values()))
        there = f"Alike are {', '.join(like)}; correct" if like else "Correct"
        raise InputError(
            self.source,
            f"knows no structure {told(structure)}",
            f"{there} its name in the recipe, or the column label_scheme of the subject sheet",
        )

    def _without_islands(self, label: int, structure: str | int) -> Voxels:
        box = self._boxes[label - 1] if 0 < label <= len(self._boxes) else None
        if box is None:
            by_name = f"{structure} (the label {label})" if structure != label else f"label {label}"
            raise InputError(
                self.source,
                f"has no voxel of {by_name}",
                "Segment that structure, crop less of the CT, or leave out the landmarks whose "
                "recipes need it",
            )
        lowest = [part.start for part in box]
        inside = self.labels.labels_xyz[box] == label
        voxels = Voxels(np.argwhere(inside) + lowest, self.labels.affine)
        part = voxels.parts()
        size = np.bincount(part)
        return voxels.where(size[part] >= SMALLEST_PART * len(part))


def told(structure: Structure) -> str:
    """Write a structure for a message."""
    if isinstance(structure, tuple):
        return " with ".join(map(told, structure))
    return structure if isinstance(structure, str) else f"label {structure}"


def outermost(voxels: Voxels, direction: np.ndarray, cap_mm: float) -> np.ndarray:
    """Return the outermost point (3,) along a unit `direction` (3,), steadier than a single voxel.

    The point is the middle of the connected cap that lies within `cap_mm` of the outermost voxel,
    moved out to that voxel's level.
    """
    height = voxels.points_mm @ direction
    cap = voxels.where(height >= height.max() - cap_mm)
    height = cap.points_mm @ direction
    part = cap.parts()
    middle = cap.points_mm[part == part[np.argmax(height)]].mean(axis=0)
    return middle + direction * (height.max() - middle @ direction)


def deepest(voxels: Voxels) -> np.ndarray:
    """Return the centre (3,) of the largest ball inside the voxels."""
    depth = voxels.depth_mm()
    core = depth >= depth.max() - 0.5 * voxels.spacing_mm.min()
    return voxels.points_mm[core].mean(axis=0)


def levels(voxels: Voxels, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort voxels into levels along a unit `direction`, as thick as the largest voxel spacing.

    Returns each voxel's level (n,) counted from 0, and each level's position (levels,) in mm.
    """
    along = voxels.points_mm @ direction
    thickness = voxels.spacing_mm.max()
    level = np.floor((along - along.min()) / thickness + 1e-6).astype(int)
    count = level.max() + 1
    with np.errstate(invalid="ignore"):
        return level, np.bincount(level, along, count) / np.bincount(level, minlength=count)


class Vertebra:
    """A vertebra in its own frame: where its body is, and which way it looks.

    `axes` (3, 3) has the unit vectors to its right, anterior and superior as rows, in the world;
    the origin is the middle of the body. Superior is `up` (3,), the spine's direction here; anterior
    points from the whole vertebra's centroid to its body's. Without processes it has no frame:
    ValueError.
    """

    def __init__(self, voxels: Voxels, up: np.ndarray):
        core = body(voxels)
        centre = core.points_mm.mean(axis=0)
        superior = up / np.linalg.norm(up)
        forward = centre - voxels.points_mm.mean(axis=0)
        forward -= (forward @ superior) * superior
        if np.linalg.norm(forward) < voxels.spacing_mm.max():
            raise ValueError("it has no processes behind its body")
        anterior = forward / np.linalg.norm(forward)
        self.axes = np.stack([np.cross(anterior, superior), anterior, superior])
        low, high = np.percentile((core.points_mm - centre) @ self.axes.T, [0.5, 99.5], axis=0)
        self.origin = centre + (low + high) / 2 @ self.axes
        self.half_size_mm = (high - low) / 2
        self.voxels = voxels
        self.ras_mm = (voxels.points_mm - self.origin) @ self.axes.T
        behind = self.ras_mm[:, 1] < -1.5 * self.half_size_mm[1]
        self.process = voxels.where(behind & (np.abs(self.ras_mm[:, 0]) < MIDLINE_MM))
        if not len(self.process.indices):
            raise ValueError("it has no spinous process")

    def corner(self, side: int, end: int) -> np.ndarray:
        """Return a corner (3,) of the body as seen from the front.

        `side` is +1 for the vertebra's right and −1 for its left, `end` +1 for the upper end plate
        and −1 for the lower. Only the middle half of the body's depth counts, away from the
        pedicles and the heads of the ribs.
        """
        limits = self.half_size_mm * [1.2, 0.5, 1.2]
        body = self.voxels.where((np.abs(self.ras_mm) <= limits).all(axis=1))
        diagonal = np.array([side / self.half_size_mm[0], 0, end / self.half_size_mm[2]])
        diagonal /= np.linalg.norm(diagonal)
        return outermost(body, diagonal @ self.axes, cap_mm=2.0)

    def spinous_tip(self) -> np.ndarray:
        """Return the tip (3,) of the spinous process: farthest from the body, near the mid-plane."""
        direction = self.process.points_mm.mean(axis=0) - self.origin
        return outermost(self.process, direction / np.linalg.norm(direction), cap_mm=3.0)


def body(vertebra: Voxels) -> Voxels:
    """Return a vertebra's body: its opening by a ball that pedicles and processes do not hold."""
    depth = vertebra.depth_mm()
    radius = BODY_SHARE * depth.max()
    inner = vertebra.where(depth > radius)
    part = inner.parts()
    inner = inner.where(part == part[np.argmax(depth[depth > radius])])
    return vertebra.near(inner, radius)
