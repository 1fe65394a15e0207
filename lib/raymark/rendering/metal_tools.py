"""Surgical tools in the image: metal rods in the world, drawn for each view, and their shadow.

Wires, screws and drill guides are cylinders with flat ends. Where a pixel's rays meet them their
chords are known exactly; the energies of the beam are weakened accordingly before the detector adds
them up. A rod displaces no tissue, which would be a hundredth of what it attenuates; where two rods
cross, both count. This is physics of rendered images, and none of `augmentation.tool_probability`,
which paints over training images.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raymark.config.dataset import Tools
from raymark.core.seeds import generator
from raymark.geometry.camera import Camera
from raymark.rendering.physics import Shadow

TIP_FROM_LANDMARK_MM = 15.0  # standard deviation along each axis
RAYS = 4  # along each side of a pixel that a rod touches: thin wires are narrower than a pixel
HALF_DIAGONAL_PX = 0.5 * 2**0.5


@dataclass(frozen=True)
class Rod:
    """A solid cylinder from `tip_mm` (3,) to `end_mm` (3,) in world mm."""

    tip_mm: np.ndarray
    end_mm: np.ndarray
    radius_mm: float


def rods_of_view(settings: Tools, landmarks_world_mm: np.ndarray, seed: int) -> list[Rod]:
    """Draw one view's rods from its seed.

    Each tip lies near a landmark that chance picks, and the rod leaves it into the half-space in
    front of the supine patient, where a surgeon stands; all such directions are equally likely.
    """
    random = generator("tools", seed)
    known = landmarks_world_mm[np.isfinite(landmarks_world_mm).all(axis=-1)]
    rods = []
    for _ in range(random.integers(settings.count[0], settings.count[1] + 1)):
        tip = known[random.integers(len(known))] + random.normal(0, TIP_FROM_LANDMARK_MM, 3)
        direction = random.standard_normal(3)
        direction[1] = abs(direction[1])
        length_mm = random.uniform(*settings.length_mm)
        end = tip + length_mm * direction / np.linalg.norm(direction)
        rods.append(Rod(tip, end, random.uniform(*settings.diameter_mm) / 2))
    return rods


def shadow(camera: Camera, rods: Sequence[Rod], attenuation_e: np.ndarray) -> Shadow:
    """Return what the rods let through of each energy, averaged over every pixel they touch.

    `attenuation_e` (energy,) is the metal's, per mm.
    """
    height, width = camera.shape_yx
    y, x = (axis.ravel() for axis in np.mgrid[:height, :width])
    touched = np.zeros(len(x), dtype=bool)
    for rod in rods:
        touched |= chords_mm(camera, _widened(rod, camera), x, y) > 0
    pixels = np.flatnonzero(touched)
    offsets = (np.arange(RAYS) + 0.5) / RAYS - 0.5
    passed = np.zeros((len(attenuation_e), len(pixels)))
    for offset_y in offsets:
        for offset_x in offsets:
            place = x[pixels] + offset_x, y[pixels] + offset_y
            metal_mm = sum((chords_mm(camera, rod, *place) for rod in rods), np.zeros(len(pixels)))
            passed += np.exp(-np.outer(attenuation_e, metal_mm))
    return Shadow(pixels, (passed / RAYS**2).astype(np.float32))


def chords_mm(camera: Camera, rod: Rod, x_px: np.ndarray, y_px: np.ndarray) -> np.ndarray:
    """Return how far (n,) the rays through the image points (n,) run inside a rod, in mm.

    A ray is source + t · direction with t its depth in mm. Inside the mantle t lies between the
    roots of a quadratic equation, between the ends it lies between two planes.
    """
    pixels = np.stack([x_px, y_px, np.ones(len(x_px))], axis=-1)
    direction = pixels @ camera.pixel_to_ray.T
    length_mm = np.linalg.norm(rod.end_mm - rod.tip_mm)
    axis = (rod.end_mm - rod.tip_mm) / length_mm
    start = camera.source_world_mm - rod.tip_mm
    along, start_along = direction @ axis, start @ axis
    across, start_across = direction - along[:, None] * axis, start - start_along * axis
    a = np.maximum((across**2).sum(-1), 1e-18)  # of a ray along the rod: all of it, or none
    b, c = across @ start_across, start_across @ start_across - rod.radius_mm**2
    root = np.sqrt(np.maximum(b * b - a * c, 0))
    along = np.where(np.abs(along) < 1e-12, 1e-12, along)
    planes = np.stack([-start_along / along, (length_mm - start_along) / along])
    enter = np.maximum((-b - root) / a, planes.min(axis=0))
    leave = np.minimum((-b + root) / a, planes.max(axis=0))
    inside = np.maximum(leave - np.maximum(enter, 0), 0) * (b * b > a * c)
    return inside * np.linalg.norm(direction, axis=-1)


def _widened(rod: Rod, camera: Camera) -> Rod:
    """Return a rod so large that rays through the centres of all pixels the rod touches meet it."""
    ends = np.stack([rod.tip_mm, rod.end_mm])
    depth_mm = ends @ camera.world_to_camera[2, :3] + camera.world_to_camera[2, 3]
    border_mm = HALF_DIAGONAL_PX * (depth_mm.max() + rod.radius_mm) / camera.K[1, 1]
    axis = (rod.end_mm - rod.tip_mm) / np.linalg.norm(rod.end_mm - rod.tip_mm)
    tip, end = rod.tip_mm - border_mm * axis, rod.end_mm + border_mm * axis
    return Rod(tip, end, rod.radius_mm + border_mm)
