"""Metal rods against geometry: chords, where they are seen, and what they let through."""

import numpy as np
import pytest

from raymark.config.dataset import Physics, Tools
from raymark.core.seeds import generator
from raymark.geometry.camera import Camera, Detector, carm_camera
from raymark.rendering.metal_tools import Rod, chords_mm, rods_of_view, shadow
from raymark.rendering.physics import (
    TITANIUM_G_PER_CM3,
    EnergyIntegratingDetector,
    Shadow,
    mass_attenuation,
    spectrum_of,
)

FOCAL_PX = 1000.0
AHEAD = Camera(np.diag([FOCAL_PX, FOCAL_PX, 1.0]), np.eye(4), 1, 1)  # world and camera agree


def view(primary_deg=20.0, secondary_deg=-15.0, flip=False) -> Camera:
    return carm_camera(
        Detector(120, 160, 1.5),
        primary_deg=primary_deg,
        secondary_deg=secondary_deg,
        isocentre_world_mm=np.zeros(3),
        source_to_isocentre_mm=750,
        source_to_detector_mm=1200,
        flip=flip,
    )


# chords


def test_a_cylinder_crossed_at_right_angles():
    """At a distance d from the axis the chord is 2 √(r² − d²)."""
    rod = Rod(np.array([-50.0, 0, 700]), np.array([50.0, 0, 700]), 6.0)
    y_px = np.linspace(-12, 12, 49)
    distance_mm = 700 * np.sin(np.arctan(y_px / FOCAL_PX))
    expected = 2 * np.sqrt(np.maximum(rod.radius_mm**2 - distance_mm**2, 0))
    found = chords_mm(AHEAD, rod, np.zeros_like(y_px), y_px)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert (found == 0).any()
    assert (found > 11.9).any()


def test_a_cylinder_seen_from_its_end():
    rod = Rod(np.array([0.0, 0, 500]), np.array([0.0, 0, 620]), 4.0)
    at_the_front, at_the_back = 4 / 500 * FOCAL_PX, 4 / 620 * FOCAL_PX
    x_px = np.array([0.0, at_the_back - 0.01, at_the_front + 0.01, -30.0])
    slant = np.hypot(1, x_px / FOCAL_PX)
    found = chords_mm(AHEAD, rod, x_px, np.zeros(4))
    np.testing.assert_allclose(found, [120, 120 * slant[1], 0, 0], atol=1e-6)


def test_nothing_behind_the_source_casts_a_shadow():
    rod = Rod(np.array([-50.0, 0, -700]), np.array([50.0, 0, -700]), 6.0)
    assert chords_mm(AHEAD, rod, np.zeros(1), np.zeros(1)).tolist() == [0.0]


def test_chords_are_the_lengths_that_points_along_the_rays_count():
    """Rods in any direction, rays in any direction: a thousand steps along each ray."""
    random, camera = np.random.default_rng(5), view()
    pixels = random.uniform([0, 0], [159, 119], (400, 2))
    rays = np.concatenate([pixels, np.ones((400, 1))], axis=1) @ camera.pixel_to_ray.T
    depth_mm = np.linspace(550, 950, 4001)
    for _ in range(6):
        tip = random.uniform(-20, 20, 3)
        rod = Rod(tip, tip + random.normal(0, 50, 3), random.uniform(8, 20))
        points = camera.source_world_mm + rays[:, None] * depth_mm[:, None]
        axis = (rod.end_mm - rod.tip_mm) / np.linalg.norm(rod.end_mm - rod.tip_mm)
        along = (points - rod.tip_mm) @ axis
        across = np.linalg.norm(points - rod.tip_mm - along[..., None] * axis, axis=-1)
        inside = (along > 0) & (along < np.linalg.norm(rod.end_mm - rod.tip_mm))
        inside &= across < rod.radius_mm
        counted_mm = inside.sum(axis=1) * 0.1 * np.linalg.norm(rays, axis=1)
        assert counted_mm.max() > 5
        np.testing.assert_allclose(chords_mm(camera, rod, *pixels.T), counted_mm, atol=0.25)


# where they are seen


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("diameter_mm", [1.0, 8.0])
def test_the_axis_is_seen_where_the_camera_projects_it(diameter_mm, flip):
    """The centroid of each row's shadow lies on the line between the projected ends."""
    camera = view(flip=flip)
    rod = Rod(np.array([-25.0, 5, -20]), np.array([10.0, 12, 30]), diameter_mm / 2)
    metal = shadow(camera, [rod], np.array([1e-3]))
    chord_yx = np.zeros(camera.shape_yx)
    chord_yx.flat[metal.pixels] = -np.log(metal.passed_en[0]) / 1e-3
    (x0, y0), (x1, y1) = camera.project(np.stack([rod.tip_mm, rod.end_mm]))
    rows = np.arange(int(min(y0, y1)) + 8, int(max(y0, y1)) - 8)
    assert len(rows) > 15
    centroid = (chord_yx[rows] @ np.arange(160)) / chord_yx[rows].sum(axis=1)
    on_the_line = x0 + (rows - y0) / (y1 - y0) * (x1 - x0)
    np.testing.assert_allclose(centroid, on_the_line, atol=0.1 if diameter_mm > 2 else 0.2)
    outside = np.delete(np.arange(120), np.arange(int(min(y0, y1)) - 9, int(max(y0, y1)) + 10))
    assert (chord_yx[outside] == 0).all()


def test_a_wire_narrower_than_a_pixel_attenuates_by_the_area_it_covers():
    """The line integral over a cross-section of a thin rod's shadow is its cross-section's area."""
    camera, mu = view(0, 0), 1e-4
    rod = Rod(np.array([3.3, 0, -60.0]), np.array([3.3, 0, 60.0]), 0.3)
    metal = shadow(camera, [rod], np.array([mu]))
    chord_yx = np.zeros(camera.shape_yx)
    chord_yx.flat[metal.pixels] = (1 - metal.passed_en[0]) / mu
    pixel_at_the_isocentre_mm = 1.5 * 750 / 1200
    area_mm2 = chord_yx[40:80].sum(axis=1) * pixel_at_the_isocentre_mm
    assert area_mm2.mean() == pytest.approx(np.pi * 0.3**2, rel=0.15)


# what they let through


def test_a_mono_image_behind_metal_is_beer_and_lamberts():
    camera = view(0, 0)
    detector = EnergyIntegratingDetector(
        spectrum_of(Physics(spectrum="mono", energy_kev=80)), photons_per_px=None
    )
    mu = detector.metal_attenuation("titanium")
    assert mu[0] == pytest.approx(
        0.1 * TITANIUM_G_PER_CM3 * mass_attenuation("metal", np.array([80.0]))[0], rel=1e-6
    )
    rod = Rod(np.array([0.0, 0, -60]), np.array([0.0, 0, 60]), 10.0)
    body = np.full((3, *camera.shape_yx), 0.0, dtype=np.float32)
    body[0] = 150.0
    metal = shadow(camera, [rod], mu)
    with_rod = detector.log_image(body, generator("x"), metal).astype(float)
    without = detector.log_image(body, generator("x")).astype(float)
    assert with_rod[60, 80] - without[60, 80] == pytest.approx(20 * mu[0], rel=0.01)
    untouched = np.delete(np.arange(without.size), metal.pixels)
    assert (with_rod.flat[untouched] == without.flat[untouched]).all()


def test_nothing_in_the_way_changes_nothing():
    detector = EnergyIntegratingDetector(spectrum_of(Physics()), photons_per_px=2e4)
    body = np.random.default_rng(0).uniform(0, 250, (3, 9, 11)).astype(np.float32)
    body[2] = 0
    clear = Shadow(np.arange(99), np.ones((8, 99), np.float32))
    for plain, shaded in zip(
        detector.transmission(body), detector.transmission(body, clear), strict=True
    ):
        np.testing.assert_allclose(shaded, plain, rtol=3e-5)
    without = detector.log_image(body, generator("noise"))
    assert (detector.log_image(body, generator("noise"), None) == without).all()


def test_steel_hardens_the_beam():
    """Twice the metal attenuates less than twice as much, and steel more than titanium."""
    detector = EnergyIntegratingDetector(spectrum_of(Physics()), photons_per_px=None)
    nothing = np.zeros((3, 1, 1), np.float32)

    def attenuated(name: str, mm: float) -> float:
        passed = np.exp(-detector.metal_attenuation(name) * mm)[:, None].astype(np.float32)
        metal = Shadow(np.zeros(1, int), passed)
        return detector.log_image(nothing, generator("x"), metal).item()

    assert 1.2 * attenuated("steel", 2) < attenuated("steel", 4) < 2 * attenuated("steel", 2)
    assert attenuated("steel", 2) > 1.5 * attenuated("titanium", 2)


def test_steel_is_nearly_iron_where_only_density_counts():
    """NISTIR 5632, iron at 1 and 2 MeV, in cm²/g."""
    found = mass_attenuation("steel", np.array([1000.0, 2000.0]))
    np.testing.assert_allclose(found, [0.05995, 0.04265], rtol=0.015)


# how they are drawn


def test_rods_are_as_configured_and_start_near_landmarks():
    settings = Tools(count=(1, 3), diameter_mm=(2, 5), length_mm=(100, 120))
    landmarks = np.array([[0.0, 0, 0], [400, 0, 0], [np.nan] * 3])
    views = [rods_of_view(settings, landmarks, seed) for seed in range(200)]
    assert {len(rods) for rods in views} == {1, 2, 3}
    rods = [rod for rods in views for rod in rods]
    lengths = [np.linalg.norm(rod.end_mm - rod.tip_mm) for rod in rods]
    assert 100 <= min(lengths) < 102
    assert 118 < max(lengths) <= 120
    assert all(1 <= rod.radius_mm <= 2.5 for rod in rods)
    assert all(rod.end_mm[1] >= rod.tip_mm[1] for rod in rods)  # towards the front
    near = [np.linalg.norm(landmarks[:2] - rod.tip_mm, axis=1).min() for rod in rods]
    assert np.median(near) == pytest.approx(15 * 1.538, rel=0.15)  # chi with three degrees
    assert max(near) < 75


def test_a_views_rods_depend_on_its_seed_alone():
    landmarks = np.zeros((1, 3))
    again = [rods_of_view(Tools(), landmarks, seed)[0].tip_mm for seed in (1, 1, 2)]
    assert (again[0] == again[1]).all()
    assert (again[0] != again[2]).any()
