"""diffdrr's Siddon: beads where rays run along voxels' faces, and the cameras that it refuses."""

import numpy as np
import pytest

from raymark.core.errors import InputError
from raymark.geometry.camera import Camera
from raymark.projectors.diffdrr import DiffDRR
from tests.unit.projectors.examples import COARSE_GRIDS, COARSE_VIEWS, coarse_camera, smooth_volume
from tests.unit.projectors.test_beads import (
    ALIGNED_VIEWS,
    TOLERANCE_PX,
    camera_at_beads,
    volume_of_beads,
    worst_distance_px,
)


@pytest.mark.parametrize("view", ALIGNED_VIEWS[1:4])
def test_siddon_along_the_voxels(view):
    """Siddon sees sharp voxels; where rows of rays run along their faces, a ray decides for a whole
    pixel. A detector's pixel collects the rays over its area, so here 10 × 10 rays stand for one."""
    rays = 10
    densities, affine, positions = volume_of_beads("LPS")
    camera = camera_at_beads(view, (17.3, -9.2), pixel_mm=0.8, height_px=30, width_px=38)
    to_fine = np.array([[rays, 0, (rays - 1) / 2], [0, rays, (rays - 1) / 2], [0, 0, 1.0]])
    fine = Camera(
        to_fine @ camera.K, camera.world_to_camera, rays * camera.height_px, rays * camera.width_px
    )
    projector = DiffDRR(densities, affine)
    assert worst_distance_px(projector, fine, positions) / rays < TOLERANCE_PX


def test_a_volume_behind_the_source_is_refused():
    projector = DiffDRR(smooth_volume(), COARSE_GRIDS["RAS"])
    with pytest.raises(InputError, match="behind the X-ray source"):
        projector.project(coarse_camera(COARSE_VIEWS[0], to_isocentre_mm=0.0))
