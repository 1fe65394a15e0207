"""Shear-warp against Joseph's method ray by ray, and the views that it leaves to that."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from raymark.projectors.joseph import Joseph
from raymark.projectors.shearwarp import ShearWarp
from tests.oracles import Ellipsoid, grid
from tests.unit.projectors.examples import (
    CENTRE_MM,
    GRIDS,
    VIEWS,
    camera_of,
    noise_volume,
    relative,
    small_grid,
)

TILT = Rotation.from_euler("zyx", [30, 10, -20], degrees=True).as_matrix()
ELLIPSOID = Ellipsoid(CENTRE_MM, TILT * np.array([24.0, 18.0, 27.0]), 0.02)


@pytest.mark.parametrize("name", GRIDS)
def test_it_agrees_with_joseph(name):
    """Mean difference at most 0.3 %, largest at most 8 % of the maximum, at sharp edges."""
    codes, shape_xyz, spacing_mm, turn = GRIDS[name]
    voxel_to_world = grid(codes, shape_xyz, spacing_mm, CENTRE_MM, turn)
    density = ELLIPSOID.voxelised(shape_xyz, voxel_to_world, 2)[None]
    fast, exact = ShearWarp(density, voxel_to_world), Joseph(density, voxel_to_world)
    for view in VIEWS:
        expected = exact.project(camera_of(view))
        difference = relative(fast.project(camera_of(view)), expected)
        assert difference.mean() < 0.003, view
        assert difference.max() < 0.08, view


@pytest.fixture(scope="module")
def smooth_pair():
    """One smooth object for both projectors, on an oblique grid."""
    voxel_to_world = small_grid("oblique", (48, 52, 44))
    x, y, z = (np.arange(n) - (n - 1) / 2 for n in (48, 52, 44))
    squared = x[:, None, None] ** 2 / 90 + y[:, None] ** 2 / 60 + z**2 / 40
    density = np.exp(-squared / 2).astype(np.float32)[None]
    return ShearWarp(density, voxel_to_world), Joseph(density, voxel_to_world)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    primary=st.floats(-180, 180),
    secondary=st.floats(-90, 90),
    roll=st.floats(-180, 180),
    flip=st.booleans(),
    offset=st.tuples(st.floats(-80, 80), st.floats(-80, 80)),
    source_to_isocentre_mm=st.floats(5, 2000),
)
def test_any_camera(smooth_pair, primary, secondary, roll, flip, offset, source_to_isocentre_mm):
    """Smooth objects: within 1 % anywhere, from any distance, the inside of the volume included."""
    fast, exact = smooth_pair
    camera = camera_of(
        (primary, secondary, roll, flip, offset),
        (40, 50),
        2.0,
        source_to_isocentre_mm=source_to_isocentre_mm,
    )
    expected = exact.project(camera)
    assert np.abs(fast.project(camera) - expected).max() <= 0.01 * max(expected.max(), 1.0)


def test_views_that_slices_cannot_serve_are_josephs():
    """A source inside the volume, and a cone wider than the stated slope."""
    density, voxel_to_world = noise_volume(), small_grid()
    fast, exact = ShearWarp(density, voxel_to_world), Joseph(density, voxel_to_world)
    inside = camera_of(VIEWS[2], source_to_isocentre_mm=8.0)
    wide = camera_of(VIEWS[0], pixel_mm=40.0, source_to_isocentre_mm=30.0)
    for camera in (inside, wide):
        image = fast.project(camera)
        assert image.any()
        np.testing.assert_array_equal(image, exact.project(camera))
