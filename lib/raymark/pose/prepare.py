"""An X-ray file made a shot: which pixels count, how its greys are meant, and where rays meet it.

Grey values that a file does not explain are tried: as they are, as raw intensities, bone bright or dark.
What is found with another reading than the file's is said.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.ndimage import label, map_coordinates

from raymark.core.errors import InputError
from raymark.geometry.affine2d import Affine
from raymark.imports.c_arm import CArm
from raymark.imports.stored_image import Xray
from raymark.imports.xray_file import read_xray
from raymark.pose.shot import Shot

FLAT = 0.004  # of the greys' range: what differs less from a corner is one with it
LEAST_FLAT = 0.01  # of the image: a smaller flat corner is dark tissue or air
DARKEST = 0.005  # of the range, below which an intensity's logarithm is noise


def _raw(bright: np.ndarray) -> np.ndarray:
    """Return the logarithm of intensities, of which `bright` is what is missing."""
    span = np.ptp(bright)
    return -np.log(bright.max() - bright + DARKEST * span)


READINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "log": lambda bright: bright,
    "raw": _raw,
    "log-dark": lambda bright: -bright,
    "raw-dark": lambda bright: _raw(-bright),
}
MEANING = {
    "log": "logarithmic, bone as the file says",
    "raw": "raw intensities, bone as the file says",
    "log-dark": "logarithmic, bone against what the file says",
    "raw-dark": "raw intensities, bone against what the file says",
}


def shot_of(xray: Xray, K: np.ndarray, valid_yx: np.ndarray, reading: str) -> Shot:
    """Return an X-ray as registration needs it, its greys read as one of `READINGS`."""
    counted = xray.image_yx[valid_yx].astype(float)
    image = np.full(valid_yx.shape, 0.0)
    image[valid_yx] = READINGS[reading](counted)
    return Shot(image, K, valid_yx)


def valid_pixels(
    path: str | Path, xray: Xray, crop_px: int = 0, mask_path: str | None = None
) -> np.ndarray:
    """Return which pixels are X-ray: no padding, no flat corners, inside of crop and mask.

    `crop_px` pixels of the file are cut from each side. A mask is an image of the file's own size, zero
    where there is no X-ray.
    """
    valid = np.ones(xray.image_yx.shape, dtype=bool)
    if xray.valid_yx is not None:
        valid &= xray.valid_yx
    valid &= ~_flat_corners(xray.image_yx)
    scale = xray.placement.to_file.scale
    side = round(crop_px / scale)
    if 2 * side >= min(valid.shape) - 16:
        height, width = xray.image_yx.shape
        problem = f"has {width} × {height} pixels, of which a crop of {crop_px} leaves nothing"
        raise InputError(path, problem, "Give a smaller --crop")
    if side:
        inner = np.zeros_like(valid)
        inner[side:-side, side:-side] = True
        valid &= inner
    if mask_path is not None:
        valid &= _mask(mask_path, xray)
    if not valid.any():
        raise InputError(path, "has no pixel that counts", "Check --crop and --mask")
    return valid


def _flat_corners(image_yx: np.ndarray) -> np.ndarray:
    """Return the parts of an image of one grey that reach its corners: a round or collimated field."""
    flat = np.zeros(image_yx.shape, dtype=bool)
    span = np.ptp(image_yx)
    for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        alike, _ = label(np.abs(image_yx - image_yx[corner]) <= FLAT * span)
        part = alike == alike[corner]
        if part.mean() >= LEAST_FLAT and np.ptp(image_yx[part]) <= 2 * FLAT * span:
            flat |= part
    return flat if flat.mean() < 0.9 else np.zeros_like(flat)


def _mask(path: str, xray: Xray) -> np.ndarray:
    mask = read_xray(path)
    shape_yx = xray.image_yx.shape
    size, own = (tuple(np.rint(x.placement.file_size_px(x.image_yx.shape))) for x in (mask, xray))
    if size != own:
        problem = f"has {size[0]:g} × {size[1]:g} pixels, its X-ray {own[0]:g} × {own[1]:g}"
        raise InputError(path, problem, "Give a mask of the X-ray file's own size")
    rows, columns = np.indices(shape_yx)
    in_file = xray.placement.to_file(np.column_stack([columns.ravel(), rows.ravel()]).astype(float))
    at_xy = mask.placement.to_file.inverse()(in_file)
    inside = mask.image_yx > mask.image_yx.min()
    found = map_coordinates(inside.astype(np.uint8), at_xy.T[::-1], order=0, mode="nearest")
    return found.reshape(shape_yx) > 0


def intrinsics(
    path: str | Path,
    xray: Xray,
    arm: CArm,
    source_to_detector_mm: float | None,
    principal_px: tuple[float, float] | None,
    mirrored: bool,
) -> tuple[np.ndarray, float]:
    """Return K (3, 3) of an X-ray's own pixels, and the distance from source to detector in mm.

    What the command line gives counts before the tags. The central ray meets the middle of the image
    unless the tags or `principal_px` (in the file's pixels) say otherwise. InputError names what is missing.
    """
    distance_mm = source_to_detector_mm or arm.source_to_detector_mm
    lacking = [
        (distance_mm, "the distance from source to detector", "--source-to-detector-mm"),
        (xray.pixel_mm, "the pixel size at the detector", "--pixel-mm"),
    ]
    for value, what, option in lacking:
        if not value:
            raise InputError(path, f"does not tell {what}", f"Give it with {option}")
    focal_px = float(distance_mm or 0) / float(xray.pixel_mm or 1)
    height, width = xray.image_yx.shape
    x, y = (width - 1) / 2, (height - 1) / 2
    in_file = principal_px or arm.principal_px
    if in_file is not None:
        x, y = xray.placement.to_file.inverse()(np.array(in_file, dtype=float))
    sign = 1.0 if mirrored else -1.0
    K = np.array([[sign * focal_px, 0, x], [0, focal_px, y], [0, 0, 1]])
    return K, float(distance_mm or 0)


def in_file(K: np.ndarray, to_file: Affine) -> np.ndarray:
    """Return `K` (3, 3) for the pixels of the file."""
    homography = np.eye(3)
    homography[:2, :2], homography[:2, 2] = to_file.matrix_xy, to_file.shift_px
    return homography @ K
