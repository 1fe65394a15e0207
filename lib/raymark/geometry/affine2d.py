"""Affine maps of the plane: where a pixel of one image lies in another."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Affine:
    """The point p = (x, y) px goes to `matrix_xy` (2, 2) · p + `shift_px` (2,)."""

    matrix_xy: np.ndarray
    shift_px: np.ndarray

    @classmethod
    def scaling(cls, scale: float, shift_px: np.ndarray) -> "Affine":
        return cls(scale * np.eye(2), np.asarray(shift_px, dtype=float))

    @property
    def scale(self) -> float:
        """Its mean magnification: the root of how it changes areas."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix_xy))))

    def __call__(self, points_px: np.ndarray) -> np.ndarray:
        """Map points (..., 2)."""
        return np.asarray(points_px) @ self.matrix_xy.T + self.shift_px

    def inverse(self) -> "Affine":
        back = np.linalg.inv(self.matrix_xy)
        return Affine(back, -back @ self.shift_px)

    def after(self, first: "Affine") -> "Affine":
        """Return the map that does `first`, then this one."""
        return Affine(self.matrix_xy @ first.matrix_xy, self(first.shift_px))


def resampled(image_yx: np.ndarray, affine: Affine, shape_yx: tuple[int, int]) -> np.ndarray:
    """Return the image (`shape_yx`), grey 0–1, in which a pixel p of `image_yx` lies at affine(p).

    Linear interpolation after a Gaussian that takes what the coarser grid cannot hold; beyond the
    image the result is 0, its darkest grey.
    """
    from scipy.ndimage import gaussian_filter, map_coordinates

    low, high = float(image_yx.min()), float(image_yx.max())
    smooth = gaussian_filter(
        (image_yx.astype(np.float32) - low) / (high - low), max(0.0, (1 / affine.scale - 1) / 2)
    )
    yx = _grid_on_image(affine, shape_yx)
    return map_coordinates(smooth, yx, order=1, mode="nearest") * _inside(yx, image_yx.shape)


def shown(image_shape_yx: tuple[int, int], affine: Affine, shape_yx: tuple[int, int]) -> np.ndarray:
    """Tell which pixels of the resampled image (`shape_yx`) show the image, not what is beyond."""
    return _inside(_grid_on_image(affine, shape_yx), image_shape_yx)


def _grid_on_image(affine: Affine, shape_yx: tuple[int, int]) -> np.ndarray:
    """Return where on the image the pixels of the resampled one lie, (yx, row, column)."""
    y, x = np.mgrid[: shape_yx[0], : shape_yx[1]]
    return np.moveaxis(affine.inverse()(np.stack([x, y], axis=-1)), -1, 0)[::-1]


def _inside(yx: np.ndarray, shape_yx: tuple[int, int]) -> np.ndarray:
    return np.logical_and.reduce(
        [(c >= -0.5) & (c <= size - 0.5) for c, size in zip(yx, shape_yx, strict=True)]
    )
