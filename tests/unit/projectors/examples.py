"""Volumes, grids and cameras that the tests of projectors share."""

from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from raymark.core.seeds import generator
from raymark.geometry.camera import Camera, Detector, carm_camera
from tests.oracles import Ellipsoid, SoftEllipsoid, grid

CENTRE_MM = np.array([20.0, -35.0, 310.0])
OBLIQUE = Rotation.from_euler("xyz", [25, -40, 15], degrees=True).as_matrix()
GRIDS = {  # axes, voxels, spacing in mm, turn
    "RAS": ("RAS", (64, 60, 70), (1.0, 1.0, 1.0), None),
    "LPS": ("LPS", (64, 60, 70), (1.0, 1.0, 1.0), None),
    "SAR": ("SAR", (70, 64, 60), (1.0, 1.0, 1.0), None),
    "anisotropic": ("LAS", (80, 75, 35), (0.8, 0.8, 2.0), None),
    "oblique": ("RAS", (80, 80, 80), (0.9, 0.9, 0.9), OBLIQUE),
}
VIEWS = [  # primary, secondary, roll in degrees, flip, principal point offset in px
    (0, 0, 0, False, (0, 0)),
    (0, 0, 0, True, (0, 0)),
    (40, 25, 0, False, (15.5, -8.0)),
    (-60, -45, 30, True, (-20.0, 12.3)),
    (90, 0, 90, False, (0, 30.0)),
    (10, 88, -45, True, (7.0, 0)),
    (180, -20, 180, False, (0, 0)),
]
COARSE_XYZ, COARSE_MM = (64, 60, 40), (1.6, 1.7, 2.5)
COARSE_GRIDS = {
    "RAS": grid("RAS", COARSE_XYZ, COARSE_MM, CENTRE_MM),
    "LPI": grid("LPI", COARSE_XYZ, COARSE_MM, CENTRE_MM),
    "PSR-oblique": grid("PSR", COARSE_XYZ, COARSE_MM, CENTRE_MM, OBLIQUE),
}
COARSE_VIEWS = [
    (0, 0, 0, False, (5.3, -2.6)),
    (90, 0, 0, True, (5.3, -2.6)),
    (0, 90, 5, False, (5.3, -2.6)),
    (33, -27, 14, True, (5.3, -2.6)),
    (-140, 41, -80, False, (5.3, -2.6)),
]
AXES_MM = Rotation.from_euler("xyz", [50, 20, -70], degrees=True).as_matrix() @ np.diag(
    [36.0, 24, 30]
)
SOLID = Ellipsoid(CENTRE_MM + np.array([2.0, -3.0, 4.0]), AXES_MM, density=0.021)
SOFT = SoftEllipsoid(SOLID.centre_mm, AXES_MM, density=0.021)


def camera_of(view, detector_yx=(110, 130), pixel_mm=0.8, **distances) -> Camera:
    primary, secondary, roll, flip, offset = view
    distances = {"source_to_isocentre_mm": 600.0, "source_to_detector_mm": 900.0, **distances}
    return carm_camera(
        Detector(*detector_yx, pixel_mm, offset),
        primary_deg=primary,
        secondary_deg=secondary,
        roll_deg=roll,
        flip=flip,
        isocentre_world_mm=CENTRE_MM,
        **distances,
    )


def coarse_camera(view, to_isocentre_mm=700.0) -> Camera:
    distances = {"source_to_isocentre_mm": to_isocentre_mm, "source_to_detector_mm": 1000.0}
    return camera_of(view, (46, 62), 3.1, **distances)


def noise_volume(shape_mxyz=(1, 30, 34, 28)) -> np.ndarray:
    return generator("test_render_cpu", *shape_mxyz).random(shape_mxyz, dtype=np.float32)


def small_grid(name: str = "RAS", shape_xyz=(30, 34, 28)) -> np.ndarray:
    codes, _, spacing_mm, turn = GRIDS[name]
    return grid(codes, shape_xyz, spacing_mm, CENTRE_MM, turn)


@cache
def smooth_volume() -> np.ndarray:
    """Two materials of smoothed noise that does not vanish at the border of a coarse grid."""
    noise = generator("test_render_references").uniform(size=(2, *COARSE_XYZ))
    return gaussian_filter(noise, (0, 3, 3, 3)).astype(np.float32)


def relative(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return absolute differences as shares of the largest expected value."""
    return np.abs(found - expected) / expected.max()
