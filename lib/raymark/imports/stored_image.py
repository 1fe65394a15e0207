"""An image as its file stores it, and the way from there to one that is upright, square and whole.

Points of users are in the pixels that other programs show: those of the file. `Placement` leads back to
them, and from them to the patient's or the file's own frame in mm.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from raymark.core.errors import InputError
from raymark.geometry.affine2d import Affine

SMALLEST_PX = 16
SQUARE = 1e-3  # relative difference of a pixel's sides that changes nothing
SHARES = (0.05, 99.95)  # percentiles between which all but stray pixels lie
STRAY = 10.0  # times that range beyond it: no X-ray's contrast
LETTERS = ("L", "P", "H"), ("R", "A", "F")  # growing and falling LPS coordinates
ACROSS = {"L": "R", "R": "L", "A": "P", "P": "A", "H": "F", "F": "H"}
UNCHANGED = Affine(np.eye(2), np.zeros(2))


@dataclass(frozen=True)
class Placement:
    """Where the pixels of an `Xray` lie: `to_file` leads to px (x, y) of the file as others show it.

    `file_to_lps_mm` (3, 3) takes (x, y, 1) px of the file to LPS mm in the file's own frame; None where
    it has none.
    """

    to_file: Affine = UNCHANGED
    file_to_lps_mm: np.ndarray | None = None

    def file_size_px(self, shape_yx: tuple[int, int]) -> np.ndarray:
        """Return (width, height) px of the file of an image of `shape_yx`."""
        return np.abs(self.to_file.matrix_xy) @ np.array(shape_yx[::-1], dtype=float)

    def file_px_mm(self, pixel_mm: float) -> np.ndarray:
        """Return the sides (x, y) in mm of the file's pixels, of an image with pixels of `pixel_mm`."""
        return pixel_mm * np.abs(self.to_file.inverse().matrix_xy).sum(axis=0)


@dataclass(frozen=True)
class Xray:
    """A grey image, float32 (row, column), upright, bone bright; its pixels are square.

    `pixel_mm` is the pitch at the detector, None where unknown. `valid_yx` is False where there is
    padding and no X-ray, None where every pixel counts. `doubts` are what is not sure of it.
    """

    image_yx: np.ndarray
    pixel_mm: float | None
    valid_yx: np.ndarray | None = None
    placement: Placement = Placement()
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stored:
    """What a reader makes of a file: grey values, bone bright, (row, column) as other programs show it."""

    image_yx: np.ndarray
    spacing_yx_mm: Sequence[float] | None = None
    valid_yx: np.ndarray | None = None
    placement: Placement = Placement()
    doubts: tuple[str, ...] = ()
    aspect: float = 1.0  # height of a pixel by its width, where the spacing is unknown

    def doubted(self, doubts: Sequence[str]) -> "Stored":
        return replace(self, doubts=(*self.doubts, *doubts))

    def placed(self, to_lps_mm: np.ndarray) -> "Stored":
        return replace(self, placement=replace(self.placement, file_to_lps_mm=to_lps_mm))


def letter_of(step_lps_mm: np.ndarray) -> str:
    """Return the side (L, R, A, P, H or F) to which a step in LPS leads most."""
    axis = int(np.abs(step_lps_mm).argmax())
    return LETTERS[int(step_lps_mm[axis] < 0)][axis]


def turned(stored: Stored, transpose: bool, flip_x: bool, flip_y: bool) -> Stored:
    """Transpose an image, then mirror it; the placement leads back."""
    spacing = stored.spacing_yx_mm
    to_file, aspect = stored.placement.to_file, stored.aspect
    if transpose:
        spacing = None if spacing is None else spacing[::-1]
        to_file, aspect = to_file.after(Affine(np.eye(2)[::-1].copy(), np.zeros(2))), 1 / aspect
    image_yx = turned_array(stored.image_yx, transpose, flip_x, flip_y)
    last_xy = np.array(image_yx.shape[::-1]) - 1.0
    mirror = np.array([flip_x, flip_y])
    to_file = to_file.after(Affine(np.diag(1.0 - 2 * mirror), mirror * last_xy))
    valid_yx = stored.valid_yx
    if valid_yx is not None:
        valid_yx = turned_array(valid_yx, transpose, flip_x, flip_y)
    placement = replace(stored.placement, to_file=to_file)
    return Stored(image_yx, spacing, valid_yx, placement, stored.doubts, aspect)


def turned_array(array_yx: np.ndarray, transpose: bool, flip_x: bool, flip_y: bool) -> np.ndarray:
    array_yx = array_yx.T if transpose else array_yx
    return array_yx[:: -1 if flip_y else 1, :: -1 if flip_x else 1]


def upright(stored: Stored, row: str, column: str) -> Stored:
    """Turn an image so that its head is up and, seen from the front, the patient's left on its right.

    `row` and `column` are the sides to which columns and rows count up, as in DICOM's
    PatientOrientation. Where neither is the head or the feet (an axial slice) nothing is turned.
    """
    transpose = row in "HF" and column not in "HF"
    if transpose:
        row, column = column, row
    if column not in "HF":
        return stored
    flip_x, flip_y = row == "R", column == "H"
    if not (transpose or flip_x or flip_y):
        return stored
    is_what = (
        "lies on its side" if transpose else "is mirrored" if flip_x != flip_y else "is turned"
    )
    doubt = (
        f"{is_what} as stored (by the directions in its header): looked at upright, the patient's left on "
        "the right; points are in the file's own pixels"
    )
    return turned(stored, transpose, flip_x, flip_y).doubted([doubt])


def xray_of(path: str | Path, stored: Stored) -> Xray:
    """Check an image, take out what is no X-ray, and make its pixels square."""
    image_yx, valid_yx = stored.image_yx, stored.valid_yx
    if min(image_yx.shape) < SMALLEST_PX:
        shape = " × ".join(map(str, image_yx.shape))
        raise InputError(path, f"has only {shape} pixels", "Give the X-ray at its full size")
    if not np.isfinite(image_yx).all():
        raise InputError(path, "has pixels that are not finite", "Replace NaN and infinite pixels")
    if valid_yx is not None and valid_yx.all():
        valid_yx = None
    if valid_yx is not None and not valid_yx.any():
        raise InputError(path, "is all padding", "Check that the right image was exported")
    counted = image_yx if valid_yx is None else image_yx[valid_yx]
    low, high = counted.min(), counted.max()
    if low == high:
        raise InputError(path, "is a single grey", "Check that the right image was exported")
    if valid_yx is not None:
        stored = stored.doubted([f"{1 - valid_yx.mean():.0%} of the image is padding, no X-ray"])
    low, high, doubts = _without_strays(counted, low, high)
    image_yx = np.clip(image_yx, low, high)
    if valid_yx is not None:
        image_yx = np.where(valid_yx, image_yx, low)
    stored = replace(stored, image_yx=image_yx, valid_yx=valid_yx).doubted(doubts)
    return _squared(path, stored)


def _without_strays(counted: np.ndarray, low: float, high: float) -> tuple[float, float, list[str]]:
    """Return the range of an image's values without a few that lie far beyond all others.

    A hot pixel or two would else leave no contrast for the anatomy.
    """
    usual_low, usual_high = np.percentile(counted, SHARES)
    reach = STRAY * (usual_high - usual_low)
    if reach == 0 or (low >= usual_low - reach and high <= usual_high + reach):
        return low, high, []
    usual = counted[(counted >= usual_low - reach) & (counted <= usual_high + reach)]
    doubt = f"{counted.size - usual.size} pixels lie far beyond all others: clipped to their range"
    return usual.min(), usual.max(), [doubt]


def _squared(path: str | Path, stored: Stored) -> Xray:
    """Resample an image with oblong pixels to square ones of their shorter side."""
    spacing, image_yx = stored.spacing_yx_mm, np.ascontiguousarray(stored.image_yx, np.float32)
    tall, wide = spacing if spacing is not None else (stored.aspect, 1.0)
    side = min(tall, wide)
    pixel_mm = float(wide) if spacing is not None else None
    if max(tall, wide) <= side * (1 + SQUARE):
        return Xray(image_yx, pixel_mm, stored.valid_yx, stored.placement, stored.doubts)
    from scipy.ndimage import map_coordinates

    if max(tall, wide) > 20 * side:
        raise InputError(path, f"has pixels of {tall:g} × {wide:g} mm", "Check the pixel spacing")
    shape_yx = round(image_yx.shape[0] * tall / side), round(image_yx.shape[1] * wide / side)
    step_xy = np.array([image_yx.shape[1] / shape_yx[1], image_yx.shape[0] / shape_yx[0]])
    to_oblong = Affine(np.diag(step_xy), (step_xy - 1) / 2)  # borders onto borders
    y = to_oblong.matrix_xy[1, 1] * np.arange(shape_yx[0]) + to_oblong.shift_px[1]
    x = to_oblong.matrix_xy[0, 0] * np.arange(shape_yx[1]) + to_oblong.shift_px[0]
    yx = np.meshgrid(y, x, indexing="ij")
    square = map_coordinates(image_yx, yx, order=1, mode="nearest")
    valid_yx = stored.valid_yx
    if valid_yx is not None:
        valid_yx = map_coordinates(valid_yx.astype(np.uint8), yx, order=0, mode="nearest") > 0
    placement = replace(stored.placement, to_file=stored.placement.to_file.after(to_oblong))
    unit = " mm" if spacing is not None else ""
    doubt = f"has pixels of {tall:g} × {wide:g}{unit}: resampled to square ones"
    pixel_mm = float(side) if spacing is not None else None
    return Xray(square, pixel_mm, valid_yx, placement, (*stored.doubts, doubt))


def coloured(path: str | Path) -> InputError:
    return InputError(path, "is a colour picture", "Give the X-ray itself, in grey")
