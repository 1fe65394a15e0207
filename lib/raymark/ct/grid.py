"""Voxels with a place in the world, and the checks that every grid has to pass."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from raymark.core.errors import InputError

SHEAR_TOLERANCE = 1e-3  # cosine between two axes: 0.06°, above what rounded headers leave behind
SMALLEST_VOXEL_MM, LARGEST_VOXEL_MM = 1e-3, 100.0
SAME_PLACE_MM = 0.05  # corners of two grids closer than this are the same corners


@dataclass(frozen=True)
class Volume:
    """A CT: int16 HU (x, y, z) and the affine (4, 4) from voxel indices to world RAS mm.

    `orientation` tells how the file it came from stored its axes (``LAS``, ``LPS``, ...), `doubts`
    what was corrected on the way, or may be wrong.
    """

    hu_xyz: np.ndarray
    affine: np.ndarray
    orientation: str = "RAS"
    doubts: tuple[str, ...] = ()

    @property
    def spacing_mm(self) -> np.ndarray:
        """Distance of neighbouring voxel centres along x, y, z, (3,) mm."""
        return spacing_of(self.affine)


@dataclass(frozen=True)
class LabelMap:
    """Label ids (x, y, z), uint8 or int16, zero is background; the affine (4, 4) is the CT's.

    `names` are those of the structures by id, of whichever the file or its scheme knows, there or not;
    `named_by` tells which of both, `doubts` what was corrected on the way, or may be wrong.
    """

    labels_xyz: np.ndarray
    affine: np.ndarray
    names: Mapping[int, str] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    named_by: str = ""

    @property
    def spacing_mm(self) -> np.ndarray:
        """Distance of neighbouring voxel centres along x, y, z, (3,) mm."""
        return spacing_of(self.affine)


def spacing_of(affine: np.ndarray) -> np.ndarray:
    """Return the lengths (3,) of the voxel steps of an affine (4, 4)."""
    return np.linalg.norm(affine[:3, :3], axis=0)


def check_shape(source: str | Path, shape: tuple[int, ...]) -> None:
    """Refuse anything but a three-dimensional grid with at least two voxels along each axis."""
    if len(shape) > 3:
        raise InputError(
            source,
            f"has {len(shape)} dimensions (a time series, a vector field or several phases)",
            "Save one three-dimensional volume of it, e.g. with 3D Slicer",
        )
    if len(shape) < 3 or min(shape) < 2:
        size = " × ".join(map(str, shape)) or "nothing"
        raise InputError(
            source,
            f"holds {size}, not a volume of at least two voxels along each axis",
            "Give the whole three-dimensional scan",
        )


def check_affine(source: str | Path, affine: np.ndarray) -> None:
    """Refuse an affine (4, 4) that is singular or absurd; oblique grids are fine."""
    spacing = spacing_of(affine)
    if not np.isfinite(affine).all() or not spacing.all():
        raise _singular(source)
    axes = affine[:3, :3] / spacing
    if abs(np.linalg.det(axes)) < 0.01:
        raise _singular(source)
    if spacing.min() < SMALLEST_VOXEL_MM or spacing.max() > LARGEST_VOXEL_MM:
        raise InputError(
            source,
            f"has voxels of {_by(spacing)} mm",
            "Correct the spacing in its header; it is in millimetres",
        )


def check_straight(source: str | Path, affine: np.ndarray) -> None:
    """Refuse a sheared grid."""
    if is_sheared(affine):
        raise InputError(
            source,
            "has a sheared grid: its slices are shifted sideways (the gantry was tilted)",
            "Set `ct.straighten` in the data set, or resample it first to a rectangular grid as "
            "dcm2niix does",
        )


def is_sheared(affine: np.ndarray) -> bool:
    """Tell whether the axes of an affine (4, 4) are not at right angles."""
    axes = affine[:3, :3] / spacing_of(affine)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() > SHEAR_TOLERANCE)


def _singular(source: str | Path) -> InputError:
    return InputError(
        source,
        "has a singular affine: its header does not say where the voxels lie",
        "Convert the original scan again, or correct spacing and directions in the header",
    )


def _by(numbers: np.ndarray) -> str:
    return " × ".join(f"{number:.4g}" for number in numbers)


def to_ras(voxels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """Permute and flip axes to the ones closest to RAS, and the affine with them.

    Returns voxels (x, y, z), affine (4, 4) and the axis codes found. No voxel moves in the world.
    """
    import nibabel as nib  # it brings pydicom: most steps read no voxels and need neither

    axes = nib.orientations.io_orientation(affine)
    ras_affine = affine @ nib.orientations.inv_ornt_aff(axes, voxels.shape)
    codes = "".join(nib.orientations.ornt2axcodes(axes))
    return nib.orientations.apply_orientation(voxels, axes), ras_affine + 0.0, codes  # no -0.0


def corners_mm(affine: np.ndarray, shape_xyz: tuple[int, ...]) -> np.ndarray:
    """Return the world positions (8, 3) of the centres of a grid's corner voxels."""
    indices = np.indices((2, 2, 2)).reshape(3, 8).T * (np.array(shape_xyz) - 1)
    return indices @ affine[:3, :3].T + affine[:3, 3]
