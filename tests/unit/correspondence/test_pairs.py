"""The truth of a pair is the map itself: beads move where it says, everywhere."""

import numpy as np
import pytest
from scipy.optimize import fsolve

from raymark.correspondence.config import KINDS, Transformations
from raymark.correspondence.pairs import Affine, Gaussians, Transformation, draw, make_pair

SHAPE = (120, 150)


def bead(centre_px, shape_yx=SHAPE, width_px=2.0):
    y, x = np.mgrid[: shape_yx[0], : shape_yx[1]]
    away = (x - centre_px[0]) ** 2 + (y - centre_px[1]) ** 2
    return np.round(255 * np.exp(-away / (2 * width_px**2))).astype(np.uint8)


def centroid(image):
    weight = np.where(image > 0.02, image, 0)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


def random_map(kind, seed=0, shape_yx=SHAPE):
    ranges = Transformations(displacement_mm=(4, 8), gaussian_mm=(30, 40))
    return draw(kind, ranges, shape_yx, np.random.default_rng(seed))


@pytest.mark.parametrize("kind", ["affine", "elastic"])
@pytest.mark.parametrize("place_px", [(50.0, 85.0), (45.3, 38.8), (104.0, 80.6)])
def test_bead_appears_where_the_field_says(kind, place_px):
    transformation = random_map(kind)
    pair = make_pair(bead(place_px), np.ones(SHAPE, bool), transformation)
    found = centroid(pair.image2)
    assert np.linalg.norm(found - place_px) > 1  # it did move
    expected = fsolve(lambda p: transformation.phi(p) - place_px, found, xtol=1e-12)
    # The bead's own width bends with an elastic map: its centroid is off its middle a little.
    np.testing.assert_allclose(found, expected, atol=0.02 if kind == "affine" else 0.15)


def test_field_is_the_map_at_every_pixel():
    for kind in KINDS:
        transformation = random_map(kind, seed=3)
        pair = make_pair(bead((50, 50)), np.ones(SHAPE, bool), transformation)
        points = np.random.default_rng(0).integers((0, 0), SHAPE[::-1], (200, 2))
        stored = pair.field2[points[:, 1], points[:, 0]]
        np.testing.assert_allclose(stored, transformation.phi(points.astype(float)), atol=1e-4)


def test_second_image_is_the_first_at_the_mapped_place():
    """A linear ramp is interpolated without error, so brightness itself tells the place."""
    ramp = np.tile(np.arange(150, dtype=np.uint8), (120, 1))
    transformation = random_map("elastic", seed=5)
    pair = make_pair(ramp, np.ones(SHAPE, bool), transformation)
    inside = pair.body2
    assert inside.mean() > 0.6
    np.testing.assert_allclose(255 * pair.image2[inside], pair.field2[inside][:, 0], atol=1e-3)


def test_window_of_a_slice_has_the_truth_of_the_window():
    place = np.array([80.0, 70.0])
    transformation = random_map("affine", shape_yx=(64, 64))
    pair = make_pair(bead(place), np.ones(SHAPE, bool), transformation, (50, 40), (64, 64))
    np.testing.assert_allclose(centroid(pair.image1), place - [50, 40], atol=0.02)
    np.testing.assert_allclose(
        transformation.phi(centroid(pair.image2)), place - [50, 40], atol=0.03
    )


def test_masks_hold_only_what_both_images_show():
    body = np.zeros(SHAPE, bool)
    body[30:90, 40:110] = True
    pair = make_pair(bead((50, 50)), body, random_map("affine", seed=1))
    assert (pair.body1 == body).all()
    rows, columns = np.nonzero(pair.body2)
    places = pair.field2[rows, columns]
    nearest = np.round(places).astype(int)
    assert body[nearest[:, 1], nearest[:, 0]].all()
    moved = Transformation(Affine(np.eye(2) * 1.5, np.zeros(2)))
    outside = make_pair(bead((50, 50)), np.ones(SHAPE, bool), moved)
    assert not outside.body2[80:].any()  # 1.5 · 80 is below the last row
    assert outside.body2[:79, :99].all()
    assert (outside.image2[81:] == 0).all()


def test_window_beyond_the_slice_is_air_and_no_body():
    pair = make_pair(
        np.full((40, 40), 200, np.uint8),
        np.ones((40, 40), bool),
        random_map("intensity"),
        (-10, -10),
        (64, 64),
    )
    assert not pair.body1[:10].any()
    assert not pair.body2[:, 51:].any()
    assert pair.body2[10:50, 10:50].all()
    assert (pair.image1[:9] == 0).all()


def test_intensity_pairs_stay_in_place_and_within_twenty_percent():
    changes = []
    image = np.full(SHAPE, 128, np.uint8)
    image[:, 75:] = 100
    for seed in range(40):
        transformation = random_map("intensity", seed)
        pair = make_pair(image, np.ones(SHAPE, bool), transformation)
        assert (pair.field2 == np.moveaxis(np.indices(SHAPE)[::-1], 0, -1)).all()
        changes.append(pair.image2.mean() - pair.image1.mean())
        assert 0.8 <= transformation.contrast <= 1.2
        spread = np.ptp(pair.image2) / np.ptp(pair.image1)
        np.testing.assert_allclose(spread, transformation.contrast, rtol=1e-4)
    assert 0.15 < np.abs(changes).max() <= 0.2 + 1e-6


def test_jacobian_against_finite_differences():
    phi = random_map("elastic", seed=2).phi
    points = np.array([[30.0, 40.0], [75.0, 11.0], [140.0, 100.0]])
    step = 1e-4
    along = [(phi(points + step * e) - phi(points - step * e)) / (2 * step) for e in np.eye(2)]
    expected = along[0][:, 0] * along[1][:, 1] - along[0][:, 1] * along[1][:, 0]
    found = phi.jacobian(SHAPE)[points[:, 1].astype(int), points[:, 0].astype(int)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_elastic_maps_never_fold_however_large_they_are_asked_to_be():
    ranges = Transformations(displacement_mm=(60, 60), gaussian_mm=(20, 25))
    for seed in range(5):
        phi = draw("elastic", ranges, SHAPE, np.random.default_rng(seed)).phi
        assert phi.jacobian(SHAPE).min() > 0
    folded = Gaussians(np.array([[50.0, 0.0]]), np.array([[75.0, 60.0]]), np.array([20.0]))
    assert folded.jacobian(SHAPE).min() < 0  # the check can fail


def test_displacements_are_distributed_as_the_paper_states():
    """Section 3.2: affine median 29, quartiles 14 to 51 mm; elastic 12, 9 to 15 mm; 512 px slices."""
    y, x = np.mgrid[:512:16, :512:16]
    points = np.stack([x, y], axis=-1).astype(float)
    quartiles = {}
    for kind, count in (("affine", 300), ("elastic", 12)):
        lengths = [
            np.linalg.norm(random.phi(points) - points, axis=-1)
            for seed in range(count)
            for random in [draw(kind, Transformations(), (512, 512), np.random.default_rng(seed))]
        ]
        quartiles[kind] = np.percentile(lengths, [25, 50, 75])
    np.testing.assert_allclose(quartiles["affine"], [14, 29, 51], rtol=0.15)
    np.testing.assert_allclose(quartiles["elastic"], [9, 12, 15], rtol=0.2)


def test_same_seed_same_pair():
    first, again, other = (random_map("elastic", seed) for seed in (1, 1, 2))
    grid = first.phi.grid(SHAPE)
    assert (grid == again.phi.grid(SHAPE)).all()
    assert not np.allclose(grid, other.phi.grid(SHAPE))
