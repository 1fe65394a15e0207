"""Whether voxels are Hounsfield units of a patient, and what around him was never measured."""

from pathlib import Path

import numpy as np

from raymark.core.errors import InputError
from raymark.ct.grid import spacing_of

AIR_HU = -1024
AIR_ONLY_BELOW_HU = -500
LOWEST_OF_A_PATIENT_HU, HIGHEST_OF_A_PATIENT_HU = -200, 100
LOWEST_OF_TISSUE_HU = -30  # fat is below it: who has no lower value is not in Hounsfield units
SHIFTED_HU = 1024
CLIPPED_SHARE = 0.01  # of voxels with the lowest value: a window cut off what was below
DENSER_THAN_A_PATIENT_HU = 2000  # no patient ends in it on all sides
PADDED_SHARE = 0.25  # of the outermost voxels: no tissue has one value in so many
SMALLEST_MM, SMALL_MM, LARGE_MM = 2.0, 60.0, 2500.0


def plausible_hu(path: Path, voxels: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return int16 HU, any order of axes, with padding made air, and doubts; refuse what is no patient.

    In Hounsfield units a patient reaches below -200 (gas, the air around), or at least below fat in a
    crop within the body, and above 100 (bone). Magnetic resonance, emission tomography, masks, 8-bit
    pictures, normalised intensities and unrescaled detector values do not do both. Padding counts for
    nothing in that: what lies below any scanner's range, and one value that fills the outside.
    """
    hu, doubts = _to_int16(voxels), []
    padding = padding_value(hu)
    measured = hu >= AIR_HU
    if padding is not None:
        measured &= hu != padding
    known = hu[measured]
    if not known.size:
        raise _no_hounsfield(path, voxels, hu)
    if known.max() < AIR_ONLY_BELOW_HU:
        raise InputError(
            path,
            f"holds nothing but air (no value above {AIR_ONLY_BELOW_HU} HU)",
            "Give a scan with a patient in it, with the rescale slope and intercept applied",
        )
    lowest, highest = int(known.min()), int(known.max())
    windowed = lowest > LOWEST_OF_A_PATIENT_HU and (known == lowest).mean() > CLIPPED_SHARE
    if lowest > LOWEST_OF_TISSUE_HU or highest < HIGHEST_OF_A_PATIENT_HU or windowed:
        raise _no_hounsfield(path, voxels, known)
    if lowest > LOWEST_OF_A_PATIENT_HU:
        doubts.append(f"holds no air, and nothing below {lowest} HU: a crop within the body?")
    if padding is not None:
        outside = connected_with_rim(hu == padding)
        hu = np.where(outside, np.int16(AIR_HU), hu)
        doubts.append(f"is surrounded by padding of {padding} HU: taken as air")
    return hu, doubts


def padding_value(hu: np.ndarray) -> int | None:
    """Return the one value that fills much of the outside of a volume: 0, or above any tissue's."""
    rim = np.concatenate([hu.take(side, axis).ravel() for axis in range(3) for side in (0, -1)])
    values, counts = np.unique(rim, return_counts=True)
    most = int(values[counts.argmax()])
    impossible = most == 0 or most >= DENSER_THAN_A_PATIENT_HU
    return most if counts.max() > PADDED_SHARE * rim.size and impossible else None


def size_doubts(path: Path, hu: np.ndarray, affine: np.ndarray) -> list[str]:
    """Doubt a scan whose size in mm no part of a patient has; refuse what only another unit explains."""
    extent_mm = np.array(hu.shape) * spacing_of(affine)
    told = " × ".join(f"{mm:.4g}" for mm in extent_mm)
    if extent_mm.max() < SMALLEST_MM or extent_mm.max() > LARGE_MM:
        raise InputError(
            path,
            f"measures {told} mm, as no patient does",
            "Correct the spacing in its header; it is in millimetres",
        )
    if extent_mm.max() < SMALL_MM:
        return [f"measures {told} mm in all: is its spacing in centimetres?"]
    return []


def _to_int16(voxels: np.ndarray) -> np.ndarray:
    if voxels.dtype == np.int16:
        return voxels
    limits = np.iinfo(np.int16)
    whole = np.rint(voxels) if voxels.dtype.kind == "f" else voxels
    return np.clip(whole, limits.min, limits.max).astype(np.int16)


def connected_with_rim(padded: np.ndarray) -> np.ndarray:
    """Return the part of a mask (3 axes) that is connected with the volume's border."""
    from scipy import ndimage

    parts, _ = ndimage.label(padded)
    rim = np.unique(
        [part for axis in range(3) for s in (0, -1) for part in np.unique(parts.take(s, axis))]
    )
    return np.isin(parts, rim[rim > 0])


def _no_hounsfield(path: Path, voxels: np.ndarray, known: np.ndarray) -> InputError:
    water = SHIFTED_HU - LOWEST_OF_A_PATIENT_HU
    body = known[known > SHIFTED_HU // 2]
    shifted = known.min() >= 0 and body.size and SHIFTED_HU - 200 < np.median(body) < water
    why = "; they look like HU + 1024, without the rescale intercept" if shifted else ""
    return InputError(
        path,
        f"is not a CT in Hounsfield units: values run from {voxels.min():.6g} to {voxels.max():.6g}, "
        f"a patient's from below {LOWEST_OF_A_PATIENT_HU} to above {HIGHEST_OF_A_PATIENT_HU}{why}",
        "Give the original CT with the rescale slope and intercept applied "
        "(not windowed, normalised, a mask or another modality)",
    )
