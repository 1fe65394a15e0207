"""A slice and its transformed copy, with every correspondence known exactly.

Image 2 is image 1 seen through a map phi of its own pixels: I2(x) = I1(phi(x)). So a point x of image
2 corresponds to phi(x) of image 1: no inverse, no approximation. All points are (x, y) in px of 1 mm;
fields and displacements are float64 until they are stored.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from raymark.core.seeds import generator
from raymark.correspondence.config import Correspondence, Transformations
from raymark.correspondence.slices import Stack

LEAST_JACOBIAN = 0.2  # of an elastic map: it stays clear of folding
CHECK_STEP_PX = 4  # the Gaussians are ten times as wide


@dataclass(frozen=True)
class Affine:
    """phi(x) = centre + matrix · (x − centre), (2, 2) and (2,)."""

    matrix: np.ndarray
    centre_px: np.ndarray

    def __call__(self, points_px: np.ndarray) -> np.ndarray:
        return self.centre_px + (points_px - self.centre_px) @ self.matrix.T

    def grid(self, shape_yx: tuple[int, int]) -> np.ndarray:
        """Return phi at every pixel, (y, x, 2)."""
        y, x = np.mgrid[: shape_yx[0], : shape_yx[1]]
        return self(np.stack([x, y], axis=-1).astype(np.float64))


@dataclass(frozen=True)
class Gaussians:
    """phi(x) = x + Σ displacement · exp(−|x − centre|² / 2 width²): (n, 2), (n, 2) px and (n,) px."""

    displacements_px: np.ndarray
    centres_px: np.ndarray
    widths_px: np.ndarray

    def __call__(self, points_px: np.ndarray) -> np.ndarray:
        gx, gy = self._factors(points_px[..., 0], points_px[..., 1])
        return points_px + (gx * gy) @ self.displacements_px

    def grid(self, shape_yx: tuple[int, int]) -> np.ndarray:
        """Return phi at every pixel, (y, x, 2): the same sum, row factors by column factors."""
        x, y = np.arange(shape_yx[1], dtype=float), np.arange(shape_yx[0], dtype=float)
        gx, gy = self._factors(x, y)
        moved = [(gy * along) @ gx.T for along in self.displacements_px.T]
        return np.stack([moved[0] + x, moved[1] + y[:, None]], axis=-1)

    def jacobian(self, shape_yx: tuple[int, int], step_px: int = 1) -> np.ndarray:
        """Return det(dphi/dx) at every `step_px`-th pixel, (y, x)."""
        x = np.arange(0, shape_yx[1], step_px, dtype=float)
        y = np.arange(0, shape_yx[0], step_px, dtype=float)
        gx, gy = self._factors(x, y)
        slope_x = -(x[:, None] - self.centres_px[:, 0]) / self.widths_px**2 * gx
        slope_y = -(y[:, None] - self.centres_px[:, 1]) / self.widths_px**2 * gy
        along_x, along_y = self.displacements_px.T
        xx, xy = (gy * along_x) @ slope_x.T, (slope_y * along_x) @ gx.T
        yx, yy = (gy * along_y) @ slope_x.T, (slope_y * along_y) @ gx.T
        return (1 + xx) * (1 + yy) - xy * yx

    def _factors(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return every Gaussian's factor along x and along y, (..., n) each."""
        by_x = (x[..., None] - self.centres_px[:, 0]) / self.widths_px
        by_y = (y[..., None] - self.centres_px[:, 1]) / self.widths_px
        return np.exp(-0.5 * by_x**2), np.exp(-0.5 * by_y**2)


@dataclass(frozen=True)
class Transformation:
    """How image 2 comes from image 1: where each of its pixels is seen, and how bright."""

    phi: Affine | Gaussians
    contrast: float = 1.0
    brightness: float = 0.0


@dataclass(frozen=True)
class Pair:
    """Images (y, x) from 0 to 1 with their body masks, and phi at each pixel of image 2 (y, x, 2).

    The second mask marks pixels that show body which image 1 shows too.
    """

    image1: np.ndarray
    body1: np.ndarray
    image2: np.ndarray
    body2: np.ndarray
    field2: np.ndarray


def draw(
    kind: str, ranges: Transformations, shape_yx: tuple[int, int], random: np.random.Generator
) -> Transformation:
    """Draw a transformation of one of `KINDS` for images of `shape_yx` (sections 2.3 and 3.2)."""
    if kind == "elastic":
        return Transformation(_elastic(ranges, shape_yx, random))
    centre = (np.array(shape_yx[::-1], dtype=float) - 1) / 2
    if kind == "affine":
        return Transformation(Affine(_matrix(ranges, random), centre))
    change = ranges.intensity
    contrast, brightness = 1 + random.uniform(-change, change), random.uniform(-change, change)
    return Transformation(Affine(np.eye(2), centre), contrast, brightness)


def make_pair(
    image_yx: np.ndarray,
    body_yx: np.ndarray,
    transformation: Transformation,
    origin_px: tuple[int, int] = (0, 0),
    shape_yx: tuple[int, int] | None = None,
) -> Pair:
    """Make a pair from a slice (uint8) and its mask.

    Image 1 is the slice's window at `origin_px` (x, y) of `shape_yx` (the whole slice), phi is in
    px of the window. Image 2 sees the whole slice; only beyond it there is air.
    """
    shape_yx = shape_yx or image_yx.shape
    y, x = np.mgrid[: shape_yx[0], : shape_yx[1]]
    field = transformation.phi.grid(shape_yx)
    slice_yx = image_yx.astype(np.float32) / 255
    seen = np.moveaxis(field + np.array(origin_px, dtype=float), -1, 0)[::-1]
    plain = np.stack([y + origin_px[1], x + origin_px[0]])
    image2 = _sampled(slice_yx, seen)
    mean = image2.mean()
    image2 = mean + transformation.contrast * (image2 - mean) + transformation.brightness
    last = np.array(shape_yx[::-1]) - 1
    inside = ((field >= 0) & (field <= last)).all(axis=-1)
    return Pair(
        image1=_sampled(slice_yx, plain),
        body1=_sampled(body_yx.astype(np.uint8), plain, order=0).astype(bool),
        image2=np.clip(image2, 0, 1),
        body2=_sampled(body_yx.astype(np.uint8), seen, order=0).astype(bool) & inside,
        field2=field.astype(np.float32),
    )


def _sampled(image_yx: np.ndarray, places: np.ndarray, order: int = 1) -> np.ndarray:
    """Interpolate at `places` (2, y, x), rows first; outside the slice there is nothing."""
    return ndimage.map_coordinates(image_yx, places, order=order, mode="constant", cval=0)


def _matrix(ranges: Transformations, random: np.random.Generator) -> np.ndarray:
    """Draw rotation · shear · scaling."""
    angle = np.deg2rad(random.uniform(-ranges.rotation_deg, ranges.rotation_deg))
    cos, sin = np.cos(angle), np.sin(angle)
    shear = random.uniform(-ranges.shear, ranges.shear)
    scale = np.diag(random.uniform(*ranges.scale, 2))
    return np.array([[cos, -sin], [sin, cos]]) @ np.array([[1, shear], [0, 1]]) @ scale


def _elastic(
    ranges: Transformations, shape_yx: tuple[int, int], random: np.random.Generator
) -> Gaussians:
    """Draw Gaussians at random places, about four to each one's own area.

    Their sum is scaled to a drawn median displacement, and shrunk as far as it needs to be free of
    folds.
    """
    low, high = ranges.gaussian_mm
    count = int(np.ceil(4 * shape_yx[0] * shape_yx[1] / (low * high)))
    phi = Gaussians(
        displacements_px=random.normal(size=(count, 2)),
        centres_px=random.uniform((0, 0), shape_yx[::-1], (count, 2)),
        widths_px=random.uniform(low, high, count),
    )
    lengths = np.linalg.norm(phi.grid(shape_yx) - _identity(shape_yx), axis=-1)
    factor = random.uniform(*ranges.displacement_mm) / np.median(lengths)
    phi = replace(phi, displacements_px=factor * phi.displacements_px)
    while phi.jacobian(shape_yx, CHECK_STEP_PX).min() < LEAST_JACOBIAN:
        phi = replace(phi, displacements_px=0.9 * phi.displacements_px)
    return phi


def _identity(shape_yx: tuple[int, int]) -> np.ndarray:
    return Affine(np.eye(2), np.zeros(2)).grid(shape_yx)


def pair_for_testing(
    stack: Stack, k: int, kind: str, settings: Correspondence
) -> tuple[Pair, Transformation]:
    """Make the test pair of a slice and a kind of transformation: always the same one."""
    image = stack.image_zyx[k]
    random = generator("test", stack.subject, f"{stack.z_mm[k]:.3f}", kind)
    transformation = draw(kind, settings.transformations, image.shape, random)
    return make_pair(image, stack.body_zyx[k], transformation), transformation
