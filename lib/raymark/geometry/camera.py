"""The one coordinate convention: patient, C-arm, camera, detector.

World
    RAS, millimetres: +x is the patient's right, +y anterior, +z superior. A NIfTI affine maps
    voxel indices to this frame; integer indices are voxel centres.
C-arm
    DICOM positioner angles say where the *detector* stands about the supine patient. Primary is
    positive towards the patient's left (LAO), negative towards the right (RAO); secondary is
    positive towards the head (cranial), negative towards the feet (caudal). At (0, 0) the detector
    is in front of the patient (anterior) and the source behind.
Camera
    Origin at the X-ray source, z along the central ray from source to detector, y down the image,
    x = y × z, so that `world_to_camera` is always a proper rigid motion (determinant +1).
Image
    Pixel (0, 0) is the *centre* of the first pixel, x counts columns to the right, y rows down.
    C-arm images are shown as seen facing the patient, from the detector towards the source: the
    patient's left is on the image's right. Seen against the beam, the image's right is the
    camera's −x, therefore ``K[0, 0] = -f`` for an ordinary view and ``+f`` for a flipped one.
    Nothing else in `K` or `world_to_camera` knows about the display.

A world point X is seen at ``(u/w, v/w)`` where ``(u, v, w) = K (R X + t)``; w is its depth in mm.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Detector:
    """A flat detector: size in px, pitch in mm, and how far the central ray misses its centre in px."""

    height_px: int
    width_px: int
    pixel_mm: float
    principal_point_offset_px: tuple[float, float] = (0.0, 0.0)

    @property
    def shape_yx(self) -> tuple[int, int]:
        return self.height_px, self.width_px


@dataclass(frozen=True)
class Camera:
    """One X-ray view: `K` (3, 3) in px, `world_to_camera` (4, 4) in mm, image size in px."""

    K: np.ndarray
    world_to_camera: np.ndarray
    height_px: int
    width_px: int

    @property
    def shape_yx(self) -> tuple[int, int]:
        return self.height_px, self.width_px

    @cached_property
    def source_world_mm(self) -> np.ndarray:
        """The X-ray source in the world, (3,) mm."""
        rotation, translation = self.world_to_camera[:3, :3], self.world_to_camera[:3, 3]
        return -rotation.T @ translation

    @cached_property
    def projection(self) -> np.ndarray:
        """The matrix P = K [R | t], (3, 4)."""
        return self.K @ self.world_to_camera[:3]

    @cached_property
    def pixel_to_ray(self) -> np.ndarray:
        """M (3, 3): ``M @ (x_px, y_px, 1)`` is the world direction of a pixel's ray, its depth 1 mm."""
        return self.world_to_camera[:3, :3].T @ np.linalg.inv(self.K)

    def project(self, points_world_mm: np.ndarray) -> np.ndarray:
        """Project points (..., 3) in world mm to pixels (..., 2) as (x, y); behind the source: NaN."""
        return project(self.K, self.world_to_camera, points_world_mm)


def project(K: np.ndarray, world_to_camera: np.ndarray, points_world_mm: np.ndarray) -> np.ndarray:
    """Project world points (..., 3) in mm to image points (..., 2) in px as (x, y).

    A point that is not in front of the source has no image: its coordinates are NaN.
    """
    points = np.asarray(points_world_mm, dtype=np.float64)
    camera = points @ world_to_camera[:3, :3].T + world_to_camera[:3, 3]
    homogeneous = camera @ K.T
    depth = homogeneous[..., 2:]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(depth > 0, homogeneous[..., :2] / depth, np.nan)


def carm_rotation(primary_deg: float, secondary_deg: float, roll_deg: float = 0.0) -> np.ndarray:
    """Return the world-to-camera rotation (3, 3) of a C-arm pose.

    Rows are the camera's x, y, z axes in the world. A positive roll turns the camera about the
    central ray so that x moves towards y.
    """
    alpha, beta, roll = np.deg2rad([primary_deg, secondary_deg, roll_deg])
    sin_a, cos_a, sin_b, cos_b = np.sin(alpha), np.cos(alpha), np.sin(beta), np.cos(beta)
    z = np.array([-sin_a * cos_b, cos_a * cos_b, sin_b])
    down = np.array([-sin_a * sin_b, cos_a * sin_b, -cos_b])
    x = np.cross(down, z)
    return np.stack(
        [np.cos(roll) * x + np.sin(roll) * down, -np.sin(roll) * x + np.cos(roll) * down, z]
    )


def carm_angles(rotation: np.ndarray) -> tuple[float, float, float]:
    """Return (primary, secondary, roll) in degrees of a world-to-camera rotation (3, 3)."""
    beam = rotation[2]
    primary_deg = np.rad2deg(np.arctan2(-beam[0], beam[1]))
    secondary_deg = np.rad2deg(np.arcsin(np.clip(beam[2], -1, 1)))
    x, down, _ = carm_rotation(float(primary_deg), float(secondary_deg))
    roll_deg = np.rad2deg(np.arctan2(rotation[0] @ down, rotation[0] @ x))
    return float(primary_deg), float(secondary_deg), float(roll_deg)


def carm_camera(
    detector: Detector,
    *,
    primary_deg: float,
    secondary_deg: float,
    isocentre_world_mm: np.ndarray,
    source_to_isocentre_mm: float,
    source_to_detector_mm: float,
    roll_deg: float = 0.0,
    flip: bool = False,
) -> Camera:
    """Build the camera of a C-arm view whose central ray runs through `isocentre_world_mm` (3,).

    `flip` mirrors the image left to right about the detector's middle column.
    """
    rotation = carm_rotation(primary_deg, secondary_deg, roll_deg)
    world_to_camera = np.eye(4)
    world_to_camera[:3, :3] = rotation
    world_to_camera[:3, 3] = -rotation @ np.asarray(isocentre_world_mm, dtype=np.float64)
    world_to_camera[2, 3] += source_to_isocentre_mm
    focal_px = source_to_detector_mm / detector.pixel_mm
    offset_x, offset_y = detector.principal_point_offset_px
    middle_x, middle_y = (detector.width_px - 1) / 2, (detector.height_px - 1) / 2
    sign = 1.0 if flip else -1.0
    K = np.array(
        [
            [sign * focal_px, 0.0, middle_x - sign * offset_x],
            [0.0, focal_px, middle_y + offset_y],
            [0.0, 0.0, 1.0],
        ]
    )
    return Camera(K, world_to_camera, detector.height_px, detector.width_px)


def inside(points_px: np.ndarray, shape_yx: tuple[int, int]) -> np.ndarray:
    """Tell which image points (..., 2) lie on the image, pixel borders included; NaN is outside."""
    limits = np.array([shape_yx[1], shape_yx[0]]) - 0.5
    return np.all((points_px >= -0.5) & (points_px <= limits), axis=-1)
