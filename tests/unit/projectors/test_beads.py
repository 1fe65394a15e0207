"""A rendered bead lies where its centre is projected, for every projector, view and volume.

The beads' mass has its centre exactly where we say (see `tests.oracles.bead`), so the intensity
centroid of a bead's image must be the projected point, but for the perspective of its own extent
(below 0.015 px here). Each bead is a material of its own, so that several are rendered at once and
none disturbs another's centroid.
"""

from functools import cache

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from raymark.core.seeds import generator
from raymark.geometry.camera import Camera, Detector, carm_camera, carm_rotation
from raymark.projectors import names, projector_class
from tests.oracles import bead, centre_of_mass, centroid_px, grid

TOLERANCE_PX = 0.05
CENTRE_MM = np.array([35.0, -120.0, 640.0])
SOURCE_TO_ISOCENTRE_MM, SOURCE_TO_DETECTOR_MM = 1000.0, 1300.0
OBLIQUE = Rotation.from_euler("xyz", [20, -30, 50], degrees=True).as_matrix()
TILTED = Rotation.from_euler("xyz", [-4, 7, 3], degrees=True).as_matrix()

GRIDS = {  # axes, voxels, spacing in mm, turn
    "RAS": ("RAS", (40, 44, 20), (0.8, 0.8, 2.5), None),
    "LPS": ("LPS", (40, 44, 20), (0.8, 0.8, 2.5), None),
    "SAR": ("SAR", (20, 40, 44), (2.5, 0.8, 0.8), None),
    "PIL": ("PIL", (44, 20, 40), (0.7, 2.5, 0.9), None),
    "LAS-tilted": ("LAS", (40, 44, 20), (0.8, 0.8, 2.5), TILTED),
    "ASR-oblique": ("ASR", (41, 19, 44), (0.9, 2.5, 0.8), OBLIQUE),
}
ALIGNED_VIEWS = [  # primary, secondary, roll in degrees, flip
    (0, 0, 0, False),
    (90, 0, 0, False),
    (-90, 0, 90, True),
    (0, 90, 0, True),
    (0, -90, 180, False),
    (180, 0, 0, True),
]


def random_views(count: int) -> list[tuple[float, float, float, bool]]:
    """Return views uniform on the whole sphere, with any roll, half of them flipped."""
    random = generator("test_beads", "views")
    primary = random.uniform(-180, 180, count)
    secondary = np.rad2deg(np.arcsin(random.uniform(-1, 1, count)))
    roll = random.uniform(-180, 180, count)
    return [
        (*angles, bool(i % 2))
        for i, angles in enumerate(zip(primary, secondary, roll, strict=True))
    ]


def camera_at_beads(view, offset_px: tuple[float, float], pixel_mm=0.4, height_px=68, width_px=84):
    """Return a camera with this principal point whose detector's middle still sees CENTRE_MM."""
    primary, secondary, roll, flip = view
    px_to_mm = pixel_mm * SOURCE_TO_ISOCENTRE_MM / SOURCE_TO_DETECTOR_MM
    aside_mm = np.array([offset_px[0], -offset_px[1], 0.0]) * px_to_mm
    return carm_camera(
        Detector(height_px, width_px, pixel_mm, offset_px),
        primary_deg=primary,
        secondary_deg=secondary,
        roll_deg=roll,
        flip=flip,
        isocentre_world_mm=CENTRE_MM - carm_rotation(primary, secondary, roll).T @ aside_mm,
        source_to_isocentre_mm=SOURCE_TO_ISOCENTRE_MM,
        source_to_detector_mm=SOURCE_TO_DETECTOR_MM,
    )


@cache
def volume_of_beads(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return densities (bead, x, y, z), the affine and the beads' positions (bead, 3) in mm."""
    codes, shape_xyz, spacing_mm, turn = GRIDS[name]
    affine = grid(codes, shape_xyz, spacing_mm, CENTRE_MM + 1.3, turn)
    positions = CENTRE_MM + generator("test_beads", name).uniform(-4, 4, (3, 3))
    diameters = (1.0, 1.5, 2.0)
    beads = [bead(shape_xyz, affine, *each) for each in zip(positions, diameters, strict=True)]
    return np.stack(beads), affine, positions


def worst_distance_px(projector, camera: Camera, positions: np.ndarray) -> float:
    images_myx = projector.project(camera)
    found = np.array([centroid_px(image) for image in images_myx])
    return np.abs(found - camera.project(positions)).max()


@pytest.mark.parametrize("name", GRIDS)
def test_the_beads_are_where_we_say(name):
    densities, affine, positions = volume_of_beads(name)
    for density, position in zip(densities, positions, strict=True):
        np.testing.assert_allclose(centre_of_mass(density, affine), position, atol=1e-5)


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("projector", names())
def test_beads_over_the_view_sphere(projector, name):
    densities, affine, positions = volume_of_beads(name)
    rendered = projector_class(projector)(densities, affine)
    # Along voxels that are constant, centroids need several rays per pixel (see test_diffdrr).
    views = random_views(10) + ALIGNED_VIEWS if rendered.interpolates else random_views(4)
    offsets_px = generator("test_beads", "offsets").uniform(-60, 60, (len(views), 2))
    for view, offset_px in zip(views, offsets_px, strict=True):
        camera = camera_at_beads(view, tuple(offset_px))
        assert worst_distance_px(rendered, camera, positions) < TOLERANCE_PX, view
