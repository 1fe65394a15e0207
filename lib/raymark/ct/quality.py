"""What is worth knowing about a CT before its landmarks are trusted: one row of numbers and warnings."""

import hashlib

import numpy as np

from raymark.ct.grid import Volume

PADDING_HU = -1024  # the lowest value of a 12-bit scanner: at or below it nothing was measured
SOFT_TISSUE_FROM_HU, BONE_FROM_HU, METAL_FROM_HU = -500, 200, 3000
THICK_SLICE_MM, ANISOTROPIC = 3.0, 3.0
PADDING_SHARE = 0.01
METAL_MM3 = 100.0
BONE_CUT_MM2 = 100.0
SIDES = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))


Row = dict[str, float | int | str]
SAME_CT = "voxels_sha256"  # equal for one scan, however it was stored


def quality(volume: Volume, original: Volume) -> Row:
    """Describe the canonical `volume` and the `original` it came from; one flat row.

    Grid, HU statistics, padding and metal are the original's, tissue shares the canonical volume's.
    """
    hu = original.hu_xyz
    levels = np.percentile(hu, (1, 50, 99))
    soft = np.count_nonzero(volume.hu_xyz >= SOFT_TISSUE_FROM_HU) / volume.hu_xyz.size
    bone = np.count_nonzero(volume.hu_xyz >= BONE_FROM_HU) / volume.hu_xyz.size
    row: Row = {"original_orientation": original.orientation, SAME_CT: _voxels_digest(original)}
    row |= _grid("original", original) | _grid("volume", volume)
    row |= {
        "hu_min": int(hu.min()),
        "hu_p1": float(levels[0]),
        "hu_median": float(levels[1]),
        "hu_p99": float(levels[2]),
        "hu_max": int(hu.max()),
        "padding_share": round(np.count_nonzero(hu <= PADDING_HU) / hu.size, 4),
        "metal_mm3": round(np.count_nonzero(hu > METAL_FROM_HU) * _voxel_mm3(original), 1),
        "air_share": round(1 - soft, 4),
        "soft_tissue_share": round(soft - bone, 4),
        "bone_share": round(bone, 4),
    }
    return row | {"warnings": "; ".join(_warnings(row, volume, original))}


def _grid(prefix: str, volume: Volume) -> Row:
    row: Row = {}
    for axis, count, spacing in zip("xyz", volume.hu_xyz.shape, volume.spacing_mm, strict=True):
        row[f"{prefix}_voxels_{axis}"] = count
        row[f"{prefix}_spacing_{axis}_mm"] = round(float(spacing), 4)
        row[f"{prefix}_extent_{axis}_mm"] = round(float(count * spacing), 2)
    return row


def _voxels_digest(original: Volume) -> str:
    shape = str(original.hu_xyz.shape).encode()
    return hashlib.sha256(shape + np.ascontiguousarray(original.hu_xyz).tobytes()).hexdigest()


def _voxel_mm3(volume: Volume) -> float:
    return float(np.prod(volume.spacing_mm))


def _warnings(row: dict, volume: Volume, original: Volume) -> list[str]:
    warnings = list(original.doubts)
    spacing = original.spacing_mm
    if spacing.max() > THICK_SLICE_MM:
        warnings.append(f"thick slices: {spacing.max():.2f} mm apart")
    if spacing.max() > ANISOTROPIC * spacing.min():
        warnings.append(f"anisotropic voxels: {spacing.max() / spacing.min():.1f} to 1")
    if row["padding_share"] > PADDING_SHARE:
        warnings.append(f"padding: {row['padding_share']:.0%} at or below {PADDING_HU} HU")
    if row["metal_mm3"] > METAL_MM3:
        warnings.append(f"metal: {row['metal_mm3']:.0f} mm3 above {METAL_FROM_HU} HU")
    cut = _sides_that_cut_bone(volume)
    if cut:
        warnings.append(f"bone (or contrast agent) cut at the border: {', '.join(cut)}")
    return warnings


def _sides_that_cut_bone(volume: Volume) -> list[str]:
    """Name the sides of the volume on which more than a square centimetre is as dense as bone."""
    sides = []
    for axis, names in enumerate(SIDES):
        pixel_mm2 = _voxel_mm3(volume) / volume.spacing_mm[axis]
        for index, name in zip((0, -1), names, strict=True):
            dense = np.count_nonzero(volume.hu_xyz.take(index, axis) >= BONE_FROM_HU)
            if dense * pixel_mm2 > BONE_CUT_MM2:
                sides.append(name)
    return sides
