"""The CPU projectors against chords known exactly, each other, and their own promises."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from raymark.core.seeds import generator
from raymark.core.threads import in_order
from raymark.geometry.camera import Camera, Detector, carm_camera
from raymark.projectors.joseph import Joseph
from raymark.projectors.shearwarp import ShearWarp
from tests.oracles import Ellipsoid, grid

BOTH = pytest.mark.parametrize("projector", [ShearWarp, Joseph])
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


def ellipsoids() -> list[Ellipsoid]:
    tilt = Rotation.from_euler("zyx", [30, 10, -20], degrees=True).as_matrix()
    return [
        Ellipsoid(CENTRE_MM, tilt * np.array([24.0, 18.0, 27.0]), 0.02),
        Ellipsoid(CENTRE_MM + np.array([6, 4, -8]), np.diag([7.0, 10.0, 6.0]), 0.03),
    ]


def noise_volume(shape_mxyz=(1, 30, 34, 28)) -> np.ndarray:
    return generator("test_render_cpu", *shape_mxyz).random(shape_mxyz, dtype=np.float32)


def small_grid(name: str = "RAS", shape_xyz=(30, 34, 28)) -> np.ndarray:
    codes, _, spacing_mm, turn = GRIDS[name]
    return grid(codes, shape_xyz, spacing_mm, CENTRE_MM, turn)


def relative(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return np.abs(found - expected) / expected.max()


@BOTH
@pytest.mark.parametrize("name", ["RAS", "oblique"])
def test_a_ray_through_a_cube_of_ones_measures_its_length(projector, name):
    voxel_to_world = small_grid(name)
    density = np.ones((1, 30, 34, 28), np.float32)
    turn = np.eye(3) if GRIDS[name][3] is None else GRIDS[name][3]
    spacing_mm = GRIDS[name][2][0]
    for axis, voxels in enumerate((30, 34, 28)):
        towards_detector = turn[:, axis]
        rotation = np.roll(turn.T, 2 - axis, axis=0)
        np.testing.assert_allclose(rotation[2], towards_detector)
        world_to_camera = np.eye(4)
        world_to_camera[:3, :3] = rotation
        world_to_camera[:3, 3] = rotation @ -CENTRE_MM + [0, 0, 500]
        K = np.array([[-800.0, 0, 0], [0, 800.0, 0], [0, 0, 1]])
        image = projector(density, voxel_to_world).project(Camera(K, world_to_camera, 1, 1))
        assert image.shape == (1, 1, 1)
        assert image[0, 0, 0] == pytest.approx(voxels * spacing_mm, rel=1e-5)


@BOTH
@pytest.mark.parametrize("name", GRIDS)
def test_ellipsoids_over_the_view_sphere(projector, name):
    """Mean error below 0.5 % of the maximum, mass within 0.4 % (objects 12 to 54 mm wide)."""
    codes, shape_xyz, spacing_mm, turn = GRIDS[name]
    voxel_to_world = grid(codes, shape_xyz, spacing_mm, CENTRE_MM + 0.3, turn)
    density = np.stack([each.voxelised(shape_xyz, voxel_to_world) for each in ellipsoids()])
    rendered = projector(density, voxel_to_world)
    for view in VIEWS:
        camera = camera_of(view)
        expected = np.stack([each.line_integrals(camera) for each in ellipsoids()])
        for found, truth in zip(rendered.project(camera), expected, strict=True):
            assert relative(found, truth).mean() < 0.005, view
            assert found.sum() == pytest.approx(truth.sum(), rel=0.004), view


@BOTH
def test_rays_in_the_planes_of_the_grid(projector):
    """The middle row and column of an odd detector: slopes of zero, or of a rounding error."""
    codes, shape_xyz, spacing_mm, _ = GRIDS["RAS"]
    voxel_to_world = grid(codes, shape_xyz, spacing_mm, CENTRE_MM)
    ball = Ellipsoid(CENTRE_MM, np.diag([20.0, 20.0, 20.0]))
    rendered = projector(ball.voxelised(shape_xyz, voxel_to_world)[None], voxel_to_world)
    for primary in range(-180, 180, 15):
        camera = camera_of((primary, 0, 0, False, (0, 0)), (61, 71))
        truth = ball.line_integrals(camera)
        difference = relative(rendered.project(camera)[0], truth)
        assert difference[30].max() < 0.06, primary
        assert difference[:, 35].max() < 0.06, primary


@pytest.mark.parametrize("name", GRIDS)
def test_shearwarp_agrees_with_joseph(name):
    """Mean difference at most 0.3 %, largest at most 8 % of the maximum, at sharp edges."""
    codes, shape_xyz, spacing_mm, turn = GRIDS[name]
    voxel_to_world = grid(codes, shape_xyz, spacing_mm, CENTRE_MM, turn)
    density = ellipsoids()[0].voxelised(shape_xyz, voxel_to_world, 2)[None]
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


@BOTH
def test_materials_do_not_mix_and_add_up(projector):
    density = noise_volume((2, 30, 34, 28))
    density[1] *= 0.1
    camera = camera_of(VIEWS[2])
    both = projector(density, small_grid()).project(camera)
    for material in (0, 1):
        alone = projector(density[material : material + 1], small_grid()).project(camera)
        np.testing.assert_array_equal(both[material], alone[0])
    total = projector(density.sum(axis=0, keepdims=True), small_grid()).project(camera)[0]
    np.testing.assert_allclose(both.sum(axis=0), total, atol=1e-4 * total.max())


@BOTH
def test_negative_density_is_the_negative_image(projector):
    density, camera = noise_volume(), camera_of(VIEWS[3])
    positive = projector(density, small_grid()).project(camera)
    np.testing.assert_array_equal(projector(-density, small_grid()).project(camera), -positive)


@BOTH
def test_threads_side_by_side_change_no_bit(projector):
    density, grid = noise_volume(), small_grid("oblique")
    cameras = [camera_of(view) for view in VIEWS]
    alone = [projector(density, grid).project(camera) for camera in cameras]
    shared = projector(density, grid)  # its voxels are packed while threads ask for them
    for image, expected in zip(in_order(shared.project, cameras, 4), alone, strict=True):
        np.testing.assert_array_equal(image, expected)


@BOTH
@pytest.mark.parametrize("view", VIEWS)
def test_a_part_of_the_detector_sees_its_part_of_the_image(projector, view):
    """Each part of the detector computes what it sees; the whole image must not know the parts."""
    rendered, camera = projector(noise_volume(), small_grid("oblique")), camera_of(view)
    whole = rendered.project(camera)
    shift = np.array([[1.0, 0, -41], [0, 1, -37], [0, 0, 1]])
    part = rendered.project(Camera(shift @ camera.K, camera.world_to_camera, 30, 25))
    # Another central ray may choose another slice axis, which is another sum.
    tolerance = 1e-5 if projector is Joseph else 0.03
    assert np.abs(part - whole[:, 37:67, 41:66]).max() <= tolerance * whole.max()


@BOTH
def test_an_empty_volume_casts_no_shadow(projector):
    density = np.zeros((2, 12, 10, 9), np.float32)
    image = projector(density, small_grid("RAS", (12, 10, 9))).project(camera_of(VIEWS[2]))
    assert image.shape == (2, 110, 130)
    assert not image.any()


@BOTH
@pytest.mark.parametrize("view", VIEWS[2:6])
def test_rays_that_miss_are_exactly_zero(projector, view):
    density = np.zeros((1, 30, 34, 28), np.float32)
    density[:, 13:18, 14:20, 10:16] = 1
    camera = camera_of(view, (160, 180))
    image = projector(density, small_grid("oblique")).project(camera)[0]
    corners = np.stack(np.meshgrid([10.0, 20], [11.0, 22], [7.0, 18], indexing="ij"), -1)
    affine = small_grid("oblique")
    seen = camera.project(corners.reshape(-1, 3) @ affine[:3, :3].T + affine[:3, 3])
    low, high = np.floor(seen.min(axis=0)).astype(int), np.ceil(seen.max(axis=0)).astype(int)
    assert image.max() > 4
    image[max(low[1], 0) : high[1] + 1, max(low[0], 0) : high[0] + 1] = 0
    assert not image.any()


@BOTH
@pytest.mark.parametrize("distance_mm", [-400.0, -40.0])
def test_a_volume_behind_the_source_is_not_seen(projector, distance_mm):
    camera = camera_of(VIEWS[0], source_to_isocentre_mm=distance_mm)
    assert not projector(noise_volume(), small_grid()).project(camera).any()


@BOTH
def test_a_detector_beside_the_volume_sees_nothing(projector):
    camera = camera_of((0, 0, 0, False, (4000.0, 0.0)))
    assert not projector(noise_volume(), small_grid()).project(camera).any()


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
