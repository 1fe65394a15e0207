import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from raymark.config.dataset import Cohort
from raymark.ct import read_label_map, read_volume
from raymark.landmarks.table import XYZ, landmark_table
from raymark.patients.deformation import Bend, Deformation, Scaling, Waves
from raymark.patients.virtual_patients import (
    draw_deformation,
    make_virtual_patient,
    write_virtual_patient,
)

NAMES = {"dataset": "demo", "subject": "p-v001", "seed": 0}
SHAPE = (36, 42, 48)
SPACING_MM = np.array([5.0, 4.0, 4.5])
CENTRE_MM = np.array([15.0, -20.0, 30.0])
LANDMARKS_MM = CENTRE_MM + np.array(
    [[-50.0, 10.0, -80.0], [40.0, -30.0, 85.0], [0.0, 0.0, 0.0], [60.0, 30.0, 20.0]]
)


def affine_of():
    affine = np.diag([*SPACING_MM, 1.0])
    affine[:3, 3] = CENTRE_MM - affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
    return affine


def cohort(amplitude_mm=6.0, wavelength_mm=120.0, scale=(0.92, 1.08), cobb_deg=(0.0, 0.0)):
    shape = {"amplitude_mm": amplitude_mm, "wavelength_mm": wavelength_mm}
    return Cohort.model_validate(
        {"count": 1, "deformation": shape, "scale": scale, "cobb_deg": cobb_deg}
    )


def draw(settings, landmarks_mm=LANDMARKS_MM, **names):
    return draw_deformation(SHAPE, affine_of(), landmarks_mm, settings, **(NAMES | names))


def make(hu_xyz, settings, labels_xyz=None, **names):
    return make_virtual_patient(
        hu_xyz, labels_xyz, affine_of(), LANDMARKS_MM, settings, **(NAMES | names)
    )


def volume_points(count=4000, seed=0):
    half = SPACING_MM * SHAPE / 2
    return CENTRE_MM + np.random.default_rng(seed).uniform(-half, half, (count, 3))


def finite_differences(deformation, points_mm, step_mm=1e-3):
    columns = [
        deformation.forward(points_mm + e) - deformation.forward(points_mm - e)
        for e in step_mm * np.eye(3)
    ]
    return np.stack(columns, axis=-1) / (2 * step_mm)


STRONG = cohort(amplitude_mm=15.0, cobb_deg=(-60.0, 60.0))
CURVED = cohort(cobb_deg=(-30.0, 30.0))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), amplitude_mm=st.floats(0, 30), cobb_deg=st.floats(-80, 80))
def test_every_deformation_is_invertible_without_folds(seed, amplitude_mm, cobb_deg):
    settings = cohort(amplitude_mm, cobb_deg=(cobb_deg, cobb_deg))
    deformation, check = draw(settings, seed=seed)
    points = volume_points()
    np.testing.assert_allclose(
        deformation.inverse(deformation.forward(points)), points, rtol=0, atol=1e-6
    )
    determinants = np.linalg.det(finite_differences(deformation, points))
    assert determinants.min() > 0.15 * np.prod(check.scale)
    assert check.min_jacobian >= 0.2 * np.prod(check.scale)
    assert check.min_jacobian - 0.05 < determinants.min()
    assert determinants.max() < check.max_jacobian * 1.05 + 0.05


@pytest.mark.parametrize("part", range(4))
def test_the_jacobian_is_the_derivative(part):
    whole, _ = draw(STRONG)
    deformation = whole if part == 3 else Deformation((whole.parts[part],))
    points = volume_points()
    expected = finite_differences(deformation, points)
    np.testing.assert_allclose(deformation.jacobian(points), expected, rtol=0, atol=1e-6)


def test_waves_have_the_stated_deviation_and_shortest_wavelength():
    far_apart = np.random.default_rng(1).uniform(-1e5, 1e5, (20000, 3))
    for seed in range(3):
        waves = draw(cohort(5.0, 100.0), seed=seed)[0].parts[0]
        displacement = waves.forward(far_apart) - far_apart
        np.testing.assert_allclose(displacement.std(axis=0), 5.0, rtol=0.04)
        wavelengths = 2 * np.pi / np.linalg.norm(waves.wavevectors, axis=1)
        assert wavelengths.min() >= 100.0 - 1e-9


def test_waves_too_strong_for_their_length_are_weakened_and_recorded():
    deformation, check = draw(cohort(60.0, 100.0))
    assert 0 < check.amplitude_mm < 60
    assert check.min_jacobian >= 0.2 * np.prod(check.scale)
    gentle = draw(cohort(1.0, 100.0))
    assert gentle[1].amplitude_mm == 1.0
    strength = check.amplitude_mm * gentle[0].parts[0].amplitudes_mm
    np.testing.assert_allclose(deformation.parts[0].amplitudes_mm, strength, rtol=1e-12)


def test_an_inverse_that_does_not_exist_is_an_error():
    fold = Waves(np.array([[50.0, 0, 0]]), np.array([[0.1, 0, 0]]), np.zeros(1))
    flat = Scaling(np.array([1.0, 1.0, 0.0]), np.zeros(3))
    with pytest.raises((ArithmeticError, np.linalg.LinAlgError)):
        Deformation((fold, flat)).inverse(np.ones((1, 3)))


def test_scaling_alone_is_exact_about_the_centroid():
    deformation, check = draw(cohort(amplitude_mm=0.0, scale=(0.8, 1.2)))
    centre = LANDMARKS_MM.mean(axis=0)
    expected = centre + np.array(check.scale) * (LANDMARKS_MM - centre)
    np.testing.assert_allclose(deformation.forward(LANDMARKS_MM), expected, rtol=0, atol=1e-10)
    assert len(set(check.scale)) == 3
    assert check.min_jacobian == pytest.approx(np.prod(check.scale), abs=1e-12)
    assert check.max_jacobian == pytest.approx(np.prod(check.scale), abs=1e-12)


def test_nothing_asked_for_changes_nothing():
    hu = np.random.default_rng(0).integers(-1000, 2000, SHAPE).astype(np.int16)
    patient = make(hu, cohort(0.0, scale=(1.0, 1.0)), labels_xyz=(hu > 0).astype(np.uint8))
    first = np.rint(np.linalg.solve(affine_of()[:3, :3], (affine_of() - patient.affine)[:3, 3]))
    inner = tuple(slice(int(i), int(i) + n) for i, n in zip(first, SHAPE, strict=True))
    assert np.array_equal(patient.hu_xyz[inner], hu)
    assert np.array_equal(patient.labels_xyz[inner], hu > 0)
    np.testing.assert_allclose(patient.landmarks_mm, LANDMARKS_MM, rtol=0, atol=1e-12)
    assert patient.hu_xyz.size <= np.prod(np.array(SHAPE) + 2)


def end_plate_angle_deg(bend, height_mm):
    """Tilt in the coronal plane of an end plate 44 mm wide, from its transformed left and right."""
    sides = np.array(
        [[bend.spine_x_mm - 22, 5.0, height_mm], [bend.spine_x_mm + 22, 5.0, height_mm]]
    )
    left, right = Deformation((bend,)).forward(sides)
    assert np.linalg.norm(right - left) == pytest.approx(44, abs=1e-9)
    return np.rad2deg(np.arctan2(right[2] - left[2], right[0] - left[0]))


@settings(max_examples=40, deadline=None)
@given(st.floats(-55, 55), st.floats(-20, 20), st.floats(-300, 300), st.floats(150, 300))
def test_end_plates_enclose_the_cobb_angle(cobb_deg, spine_x_mm, apex_z_mm, length_mm):
    bend = Bend(cobb_deg, spine_x_mm, apex_z_mm, length_mm)
    heights = apex_z_mm + length_mm * np.linspace(-1.2, 1.2, 241)
    tilts = np.array([end_plate_angle_deg(bend, height) for height in heights])
    upper, lower = (end_plate_angle_deg(bend, apex_z_mm + side * length_mm / 2) for side in (1, -1))
    assert upper - lower == pytest.approx(cobb_deg, abs=1e-9)
    assert np.ptp(tilts) == pytest.approx(abs(cobb_deg), abs=1e-9)  # no two plates enclose more
    apex = np.array([spine_x_mm, 0.0, apex_z_mm])
    bow_mm = (Deformation((bend,)).forward(apex) - apex)[0]
    assert np.sign(bow_mm) == np.sign(cobb_deg) or abs(cobb_deg) < 1e-9
    ends = np.array([[spine_x_mm, 0.0, apex_z_mm + side * 1.01 * length_mm] for side in (1, -1)])
    np.testing.assert_allclose(Deformation((bend,)).forward(ends), ends, rtol=0, atol=1e-9)


def test_the_drawn_cobb_angle_is_in_range_and_on_the_spine():
    drawn = [draw(cohort(0.0, cobb_deg=(10.0, 30.0)), seed=seed)[1] for seed in range(20)]
    low_mm, high_mm = LANDMARKS_MM[:, 2].min(), LANDMARKS_MM[:, 2].max()
    assert all(10 <= check.cobb_deg <= 30 for check in drawn)
    assert len({check.cobb_deg for check in drawn}) == 20
    for check in drawn:
        assert check.apex_z_mm - check.length_mm / 2 >= low_mm - 1e-9
        assert check.apex_z_mm + check.length_mm / 2 <= high_mm + 1e-9


def test_an_angle_too_sharp_for_the_spine_is_lowered_and_recorded():
    short = LANDMARKS_MM * [1, 1, 0.3]
    deformation, check = draw(cohort(0.0, cobb_deg=(70.0, 70.0)), landmarks_mm=short)
    assert 0 < check.cobb_deg < 70
    assert deformation.parts[2].cobb_deg == check.cobb_deg
    assert check.min_jacobian >= 0.2 * np.prod(check.scale)


OBLIQUE = Rotation.from_euler("xyz", [8, -12, 15], degrees=True).as_matrix()


@pytest.mark.parametrize("rotation", [np.eye(3), OBLIQUE], ids=["axial", "oblique"])
def test_landmarks_move_with_the_image(rotation):
    """Small beads at points of the volume, deformed: their centroids are the moved points."""
    shape, spacing_mm = np.array([80, 70, 90]), np.array([1.5, 1.8, 1.6])
    affine = np.eye(4)
    affine[:3, :3] = rotation * spacing_mm
    voxels = np.stack(np.indices(shape), axis=-1)
    beads = np.array(
        [[20.3, 15.8, 70.1], [60.0, 50.0, 25.5], [40.2, 33.4, 44.7], [62.5, 20.0, 60.0]]
    )
    hu = np.full(shape, -1000.0)
    for bead in beads:
        distance_mm = np.linalg.norm((voxels - bead) * spacing_mm, axis=-1)
        hu += 3000 * np.exp(-((distance_mm / 1.6) ** 2) / 2)
    landmarks_mm = beads @ affine[:3, :3].T
    patient = make_virtual_patient(
        np.rint(hu).astype(np.int16),
        None,
        affine,
        landmarks_mm,
        cohort(cobb_deg=(5, 5)),
        **NAMES,
    )
    assert np.linalg.norm(patient.landmarks_mm - landmarks_mm, axis=1).max() > 8
    inverse = np.linalg.inv(patient.affine)
    grid = np.stack(np.indices(patient.hu_xyz.shape), axis=-1)
    for landmark in patient.landmarks_mm:
        expected = inverse[:3, :3] @ landmark + inverse[:3, 3]
        near = np.linalg.norm((grid - expected) * spacing_mm, axis=-1) < 8
        weights = (patient.hu_xyz + 1000.0) * near
        centroid = (grid * weights[..., None]).sum((0, 1, 2)) / weights.sum()
        np.testing.assert_allclose(centroid, expected, rtol=0, atol=0.1)


@pytest.mark.parametrize("axis", range(3))
def test_every_voxel_comes_from_its_exact_preimage(axis):
    """Voxels that hold their own index tell where each new one was taken from."""
    ramp = np.indices(SHAPE)[axis].astype(np.int16)
    patient = make(400 * ramp, CURVED, labels_xyz=ramp)
    deformation, _ = draw(CURVED)
    indices = np.random.default_rng(2).integers(0, patient.hu_xyz.shape, (5000, 3))
    points = indices @ patient.affine[:3, :3].T + patient.affine[:3, 3]
    inverse = np.linalg.inv(affine_of())
    source = deformation.inverse(points) @ inverse[:3, :3].T + inverse[:3, 3]
    inside = ((source > 0.05) & (source < np.array(SHAPE) - 1.05)).all(axis=1)
    assert inside.sum() > 1000
    found, found_label = (
        voxels[tuple(indices[inside].T)] for voxels in (patient.hu_xyz / 400, patient.labels_xyz)
    )
    np.testing.assert_allclose(found, source[inside, axis], rtol=0, atol=0.01)
    np.testing.assert_allclose(found_label, source[inside, axis], rtol=0, atol=0.51)
    outside = ((source < -1.05) | (source > np.array(SHAPE) + 0.05)).any(axis=1)
    assert outside.sum() > 100
    assert (patient.hu_xyz[tuple(indices[outside].T)] == -1000).all()


def test_the_grid_holds_the_whole_deformed_volume():
    patient = make(np.zeros(SHAPE, np.int16), CURVED)
    moved = draw(CURVED)[0].forward(volume_points(20000))
    inverse = np.linalg.inv(patient.affine)
    indices = moved @ inverse[:3, :3].T + inverse[:3, 3]
    assert (indices > -0.6).all()
    assert (indices < np.array(patient.hu_xyz.shape) - 0.4).all()
    np.testing.assert_array_equal(patient.affine[:3, :3], affine_of()[:3, :3])


def test_only_the_names_decide():
    hu = np.random.default_rng(0).integers(-1000, 2000, SHAPE).astype(np.int16)
    first, second = make(hu, CURVED), make(hu, CURVED)
    assert np.array_equal(first.hu_xyz, second.hu_xyz)
    assert first.check == second.check
    for change in ({"subject": "p-v002"}, {"dataset": "other"}, {"seed": 1}):
        assert draw(CURVED, **change)[1].scale != first.check.scale


def test_files_are_those_of_a_real_patient(tmp_path):
    hu = np.random.default_rng(0).integers(-1000, 2000, SHAPE).astype(np.int16)
    patient = make(hu, CURVED, labels_xyz=(hu > 0).astype(np.uint8))
    table = landmark_table("p", "abcd", LANDMARKS_MM, "slicer")
    names = {"ct": "ct.nii.gz", "labels": "labels.nii.gz"}
    names |= {"landmarks": "landmarks.csv", "check": "check.json"}
    for folder in ("one", "two"):
        paths = {kind: tmp_path / folder / name for kind, name in names.items()}
        write_virtual_patient(patient, table, **paths)
    for path in paths.values():
        assert path.read_bytes() == (tmp_path / "one" / path.name).read_bytes()
    volume = read_volume(paths["ct"])
    assert np.array_equal(volume.hu_xyz, patient.hu_xyz)
    np.testing.assert_allclose(volume.affine, patient.affine, atol=1e-4)
    assert np.array_equal(read_label_map(paths["labels"]).labels_xyz, patient.labels_xyz)
    landmarks = pd.read_csv(paths["landmarks"])
    assert landmarks.columns.tolist() == table.columns.tolist()
    assert set(landmarks.subject) == {"p-v001"}
    np.testing.assert_allclose(landmarks[XYZ], patient.landmarks_mm, atol=6e-4)
    assert json.loads(paths["check"].read_text())["cobb_deg"] == patient.check.cobb_deg
