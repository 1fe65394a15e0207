"""Every projector against chords known exactly, an interpolating one, and its own promises."""

from contextlib import suppress
from functools import cache

import numpy as np
import pytest

from raymark.core.errors import InputError
from raymark.core.threads import in_order
from raymark.geometry.camera import Camera
from raymark.projectors import names, projector_class
from raymark.projectors.trilinear import Trilinear
from tests.oracles import Ellipsoid, grid
from tests.unit.projectors.examples import (
    CENTRE_MM,
    COARSE_GRIDS,
    COARSE_VIEWS,
    COARSE_XYZ,
    GRIDS,
    SOFT,
    SOLID,
    VIEWS,
    camera_of,
    coarse_camera,
    noise_volume,
    relative,
    small_grid,
    smooth_volume,
)

EVERY = pytest.mark.parametrize("projector", names())
# Mean and largest difference from an analytic ellipsoid, solid and soft, as shares of the maximum.
# What remains is its voxelisation; where rays graze the surface of a solid one, most of the signal.
INTERPOLATED = (0.005, 0.15), (0.0015, 0.025)
CONSTANT_IN_VOXELS = (0.005, 0.20), (0.0035, 0.05)


@EVERY
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
        camera = Camera(K, world_to_camera, 1, 1)
        image = projector_class(projector)(density, voxel_to_world).project(camera)
        assert image.shape == (1, 1, 1)
        # nanodrr fits whole samples into the volume's diagonal, not into a voxel.
        tolerance = 2e-3 if projector == "nanodrr" else 1e-5
        assert image[0, 0, 0] == pytest.approx(voxels * spacing_mm, rel=tolerance)


@cache
def ellipsoids(name: str) -> np.ndarray:
    """The solid and the soft ellipsoid as two materials of one volume."""
    return np.stack([body.voxelised(COARSE_XYZ, COARSE_GRIDS[name]) for body in (SOLID, SOFT)])


@EVERY
@pytest.mark.parametrize("name", COARSE_GRIDS)
def test_line_integrals_of_ellipsoids(projector, name):
    rendered = projector_class(projector)(ellipsoids(name), COARSE_GRIDS[name])
    tolerances = INTERPOLATED if rendered.interpolates else CONSTANT_IN_VOXELS
    for view in COARSE_VIEWS:
        camera = coarse_camera(view)
        images_myx = rendered.project(camera)
        assert images_myx.dtype == np.float32
        for image, body, limits in zip(images_myx, (SOLID, SOFT), tolerances, strict=True):
            truth = body.line_integrals(camera)
            difference = relative(image, truth)
            assert difference.mean() < limits[0], view
            assert difference.max() < limits[1], view
            assert image.sum() == pytest.approx(truth.sum(), rel=0.002), view


@pytest.mark.parametrize("projector", [name for name in names() if name != "trilinear"])
def test_projectors_agree(projector):
    affine = COARSE_GRIDS["PSR-oblique"]
    rendered = projector_class(projector)(smooth_volume(), affine)
    reference = Trilinear(smooth_volume(), affine)
    for view in COARSE_VIEWS:
        images, references = (each.project(coarse_camera(view)) for each in (rendered, reference))
        assert images.shape == references.shape == (2, 46, 62)
        for image, truth in zip(images, references, strict=True):
            assert relative(image, truth).mean() < 0.0025, view


@EVERY
def test_rays_in_the_planes_of_the_grid(projector):
    """The middle row and column of an odd detector: slopes of zero, or of a rounding error."""
    codes, shape_xyz, spacing_mm, _ = GRIDS["RAS"]
    voxel_to_world = grid(codes, shape_xyz, spacing_mm, CENTRE_MM)
    ball = Ellipsoid(CENTRE_MM, np.diag([20.0, 20.0, 20.0]))
    density = ball.voxelised(shape_xyz, voxel_to_world)[None]
    rendered = projector_class(projector)(density, voxel_to_world)
    for primary in range(-180, 180, 15):
        camera = camera_of((primary, 0, 0, False, (0, 0)), (61, 71))
        truth = ball.line_integrals(camera)
        difference = relative(rendered.project(camera)[0], truth)
        assert difference[30].max() < 0.06, primary
        assert difference[:, 35].max() < 0.06, primary


@EVERY
def test_materials_do_not_mix_and_add_up(projector):
    density = noise_volume((2, 30, 34, 28))
    density[1] *= 0.1
    camera = camera_of(VIEWS[2])

    def image_of(density):
        return projector_class(projector)(density, small_grid()).project(camera)

    both = image_of(density)
    for material in (0, 1):
        np.testing.assert_array_equal(both[material], image_of(density[material][None])[0])
    total = image_of(density.sum(axis=0, keepdims=True))[0]
    np.testing.assert_allclose(both.sum(axis=0), total, atol=1e-4 * total.max())


@EVERY
def test_negative_density_is_the_negative_image(projector):
    positive, negative = (
        projector_class(projector)(density, small_grid()).project(camera_of(VIEWS[3]))
        for density in (noise_volume(), -noise_volume())
    )
    np.testing.assert_array_equal(negative, -positive)


@pytest.mark.parametrize("projector", [n for n in names() if projector_class(n).side_by_side])
def test_threads_side_by_side_change_no_bit(projector):
    density, grid = noise_volume(), small_grid("oblique")
    cameras = [camera_of(view) for view in VIEWS]
    alone = [projector_class(projector)(density, grid).project(camera) for camera in cameras]
    shared = projector_class(projector)(
        density, grid
    )  # what it prepares late, threads ask for together
    for image, expected in zip(in_order(shared.project, cameras, 4), alone, strict=True):
        np.testing.assert_array_equal(image, expected)


@EVERY
@pytest.mark.parametrize("view", VIEWS)
def test_a_part_of_the_detector_sees_its_part_of_the_image(projector, view):
    """Each part of the detector computes what it sees; the whole image must not know the parts."""
    rendered = projector_class(projector)(noise_volume(), small_grid("oblique"))
    camera = camera_of(view)
    whole = rendered.project(camera)
    shift = np.array([[1.0, 0, -41], [0, 1, -37], [0, 0, 1]])
    part = rendered.project(Camera(shift @ camera.K, camera.world_to_camera, 30, 25))
    # To shear-warp another central ray may choose another slice axis, which is another sum.
    tolerance = 0.03 if projector == "shearwarp" else 5e-5
    assert relative(part, whole[:, 37:67, 41:66]).max() <= tolerance


@EVERY
def test_an_empty_volume_casts_no_shadow(projector):
    density = np.zeros((2, 12, 10, 9), np.float32)
    rendered = projector_class(projector)(density, small_grid("RAS", (12, 10, 9)))
    image = rendered.project(camera_of(VIEWS[2]))
    assert image.shape == (2, 110, 130)
    assert not image.any()


@EVERY
@pytest.mark.parametrize("view", VIEWS[2:6])
def test_rays_that_miss_are_exactly_zero(projector, view):
    density = np.zeros((1, 30, 34, 28), np.float32)
    density[:, 13:18, 14:20, 10:16] = 1
    camera = camera_of(view, (160, 180))
    affine = small_grid("oblique")
    image = projector_class(projector)(density, affine).project(camera)[0]
    corners = np.stack(np.meshgrid([10.0, 20], [11.0, 22], [7.0, 18], indexing="ij"), -1)
    seen = camera.project(corners.reshape(-1, 3) @ affine[:3, :3].T + affine[:3, 3])
    low, high = np.floor(seen.min(axis=0)).astype(int), np.ceil(seen.max(axis=0)).astype(int)
    assert image.max() > 4
    image[max(low[1], 0) : high[1] + 1, max(low[0], 0) : high[0] + 1] = 0
    assert not image.any()


@EVERY
@pytest.mark.parametrize("distance_mm", [-400.0, -40.0])
def test_a_volume_behind_the_source_is_not_seen(projector, distance_mm):
    camera = camera_of(VIEWS[0], source_to_isocentre_mm=distance_mm)
    with suppress(InputError):
        rendered = projector_class(projector)(noise_volume(), small_grid())
        assert not rendered.project(camera).any()


@EVERY
def test_a_source_inside_the_volume_sees_what_lies_before_it(projector):
    volume = np.ones((1, *COARSE_XYZ), dtype=np.float32)
    with suppress(InputError):
        rendered = projector_class(projector)(volume, COARSE_GRIDS["RAS"])
        image = rendered.project(coarse_camera(COARSE_VIEWS[0], to_isocentre_mm=0.0))[0]
        # from the middle of the grid half its 60 voxels lie before the source
        assert image[23 - 3, 30 + 5] == pytest.approx(30 * 1.7, rel=0.01)


@EVERY
def test_a_detector_beside_the_volume_sees_nothing(projector):
    camera = camera_of((0, 0, 0, False, (4000.0, 0.0)))
    rendered = projector_class(projector)(noise_volume(), small_grid())
    assert not rendered.project(camera).any()
