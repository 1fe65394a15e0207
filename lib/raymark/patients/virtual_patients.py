"""Virtual patients: a real CT, its labels and landmarks under one smooth, fold-free deformation.

Random waves change the shape, a scaling the proportions, a bend gives the spine a known curve, in
this order. Landmarks are pushed forward exactly; each voxel is looked up where the deformation took
it from.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.interpolate import BSpline, make_interp_spline
from scipy.ndimage import map_coordinates

from raymark.config.dataset import Cohort
from raymark.core.files import atomic
from raymark.core.seeds import generator
from raymark.ct.grid import LabelMap, Volume
from raymark.ct.store import write_labels, write_volume
from raymark.landmarks.point_files import XYZ
from raymark.landmarks.table import write_landmarks
from raymark.patients.deformation import Bend, Deformation, Scaling, Waves

AIR_HU = -1000
WAVE_COUNT = 16
LONGEST_WAVE = 3.0  # in units of the shortest
SMALLEST_JACOBIAN = 0.2  # before scaling: tissue is never squeezed to less than a fifth
STEP_MM, STEPS_PER_WAVE = 5.0, 24  # lattice on which the deformation is inverted
VOXELS_AT_ONCE = 2**20


@dataclass(frozen=True)
class Check:
    """What was drawn for a virtual patient and what its deformation does; written beside it.

    `cobb_deg` is the angle that the bend adds between the end levels `apex_z_mm` ± `length_mm`/2
    (world, in the virtual patient), positive when it bows to the patient's right. The parent's own
    curve and the waves' come on top: a patient's whole angle is measured on its landmarks.
    """

    subject: str
    scale: tuple[float, float, float]
    amplitude_mm: float
    cobb_deg: float
    apex_z_mm: float
    length_mm: float
    rms_displacement_mm: float
    min_jacobian: float
    max_jacobian: float


@dataclass(frozen=True)
class VirtualPatient:
    """A deformed CT: int16 HU and label ids (x, y, z) on one grid, landmarks (n, 3) in world mm."""

    hu_xyz: np.ndarray
    labels_xyz: np.ndarray | None
    affine: np.ndarray
    landmarks_mm: np.ndarray
    check: Check


def make_virtual_patient(
    hu_xyz: np.ndarray,
    labels_xyz: np.ndarray | None,
    affine: np.ndarray,
    landmarks_mm: np.ndarray,
    cohort: Cohort,
    *,
    dataset: str,
    subject: str,
    seed: int,
) -> VirtualPatient:
    """Deform a real patient into the virtual `subject` (``pelvis-v001``), fixed by the three names.

    The grid keeps the parent's voxels and directions and grows or shrinks to what the whole of the
    parent's volume becomes, so that no landmark leaves it.
    """
    deformation, check = draw_deformation(
        hu_xyz.shape, affine, landmarks_mm, cohort, dataset=dataset, subject=subject, seed=seed
    )
    step_mm = _lattice_step_mm(cohort)
    grid = _deformed_grid(hu_xyz.shape, affine, deformation, 2 * step_mm)
    hu, labels = _pull_back(hu_xyz, labels_xyz, affine, deformation, step_mm, *grid)
    landmarks = deformation.forward(landmarks_mm)
    return VirtualPatient(hu, labels, grid[1], landmarks, check)


def draw_deformation(
    shape_xyz: tuple[int, int, int],
    affine: np.ndarray,
    landmarks_mm: np.ndarray,
    cohort: Cohort,
    *,
    dataset: str,
    subject: str,
    seed: int,
) -> tuple[Deformation, Check]:
    """Draw the deformation of a virtual patient and check it on a lattice over volume and margin.

    The waves are weakened step by step until the Jacobian determinant, scaling apart, is nowhere
    below SMALLEST_JACOBIAN. Scaling is about the landmarks' centroid, the bend about its x; the
    bend's end levels lie within the landmarks' heights.
    """
    random = generator("cohort", dataset, subject, seed)
    centre_mm = landmarks_mm.mean(axis=0)
    scaling = Scaling(random.uniform(*cohort.scale, size=3), centre_mm)
    bend = _draw_bend(random, cohort, landmarks_mm)
    waves = _draw_waves(random, cohort)

    volume = _lattice(shape_xyz, affine, 2 * _lattice_step_mm(cohort), margin=0.0)
    around = _lattice(shape_xyz, affine, 2 * _lattice_step_mm(cohort), margin=0.25)
    strength = 1.0
    while True:
        weakened = Waves(strength * waves.amplitudes_mm, waves.wavevectors, waves.phases)
        deformation = Deformation((weakened, scaling, bend))
        determinants = np.stack([np.linalg.det(deformation.jacobian(plane)) for plane in around])
        if determinants.min() / scaling.factors.prod() >= SMALLEST_JACOBIAN:
            break
        strength *= 0.9
    displacement_mm = deformation.forward(volume) - volume
    return deformation, Check(
        subject=subject,
        scale=tuple(scaling.factors.tolist()),
        amplitude_mm=strength * cohort.deformation.amplitude_mm,
        cobb_deg=bend.cobb_deg,
        apex_z_mm=bend.apex_z_mm,
        length_mm=bend.length_mm,
        rms_displacement_mm=float(np.sqrt((displacement_mm**2).sum(axis=-1).mean())),
        min_jacobian=float(determinants.min()),
        max_jacobian=float(determinants.max()),
    )


def _draw_waves(random: np.random.Generator, cohort: Cohort) -> Waves:
    """Draw plane waves in all directions; over space each axis' variance is that asked for."""
    shape = cohort.deformation
    directions = random.normal(size=(WAVE_COUNT, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    wavelengths_mm = shape.wavelength_mm * random.uniform(1, LONGEST_WAVE, size=(WAVE_COUNT, 1))
    amplitudes = random.normal(size=(WAVE_COUNT, 3))
    amplitudes *= shape.amplitude_mm * np.sqrt(2 / (amplitudes**2).sum(axis=0))  # <cos²> = 1/2
    phases = random.uniform(0, 2 * np.pi, size=WAVE_COUNT)
    return Waves(amplitudes, 2 * np.pi * directions / wavelengths_mm, phases)


def _draw_bend(random: np.random.Generator, cohort: Cohort, landmarks_mm: np.ndarray) -> Bend:
    """Draw a curve over 50–70 % of the landmarks' height; too sharp an angle is lowered."""
    low_mm, high_mm = landmarks_mm[:, 2].min(), landmarks_mm[:, 2].max()
    cobb_deg, part, place = (
        random.uniform(*cohort.cobb_deg),
        random.uniform(0.5, 0.7),
        random.random(),
    )
    length_mm = max(part * (high_mm - low_mm), 1.0)
    limit_deg = Bend.largest_cobb_deg(length_mm)
    return Bend(
        cobb_deg=float(np.clip(cobb_deg, -limit_deg, limit_deg)),
        spine_x_mm=float(landmarks_mm[:, 0].mean()),
        apex_z_mm=float(low_mm + length_mm / 2 + place * max(high_mm - low_mm - length_mm, 0)),
        length_mm=float(length_mm),
    )


def _lattice_step_mm(cohort: Cohort) -> float:
    return min(STEP_MM, cohort.deformation.wavelength_mm / STEPS_PER_WAVE)


def _axes(
    shape_xyz: tuple[int, ...], affine: np.ndarray, step_mm: float, margin: float
) -> list[np.ndarray]:
    """Return voxel indices at most `step_mm` apart from edge to edge of a grid and `margin` more.

    `margin` is a part of the grid's size, on either side.
    """
    axes = []
    for size, spacing_mm in zip(shape_xyz, np.linalg.norm(affine[:3, :3], axis=0), strict=True):
        count = max(int(np.ceil(size * (1 + 2 * margin) * spacing_mm / step_mm)) + 1, 4)
        axes.append(np.linspace(-0.5 - margin * size, size - 0.5 + margin * size, count))
    return axes


def _lattice(
    shape_xyz: tuple[int, ...], affine: np.ndarray, step_mm: float, margin: float
) -> np.ndarray:
    """Return the points of `_axes` in the world, (i, j, k, 3) mm."""
    axes = _axes(shape_xyz, affine, step_mm, margin)
    return _transform(affine, np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1))


def _transform(affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ affine[:3, :3].T + affine[:3, 3]


def _deformed_grid(
    shape_xyz: tuple[int, ...], affine: np.ndarray, deformation: Deformation, step_mm: float
) -> tuple[tuple[int, ...], np.ndarray]:
    """Return shape and affine of the parent's grid extended to hold the deformed volume."""
    moved = deformation.forward(_lattice(shape_xyz, affine, step_mm, margin=0.0))
    indices = _transform(np.linalg.inv(affine), moved).reshape(-1, 3)
    first = np.floor(indices.min(axis=0)).astype(int)
    last = np.ceil(indices.max(axis=0)).astype(int)
    grown = affine.copy()
    grown[:3, 3] = _transform(affine, first)
    return tuple((last - first + 1).tolist()), grown


def _pull_back(
    hu_xyz: np.ndarray,
    labels_xyz: np.ndarray | None,
    affine: np.ndarray,
    deformation: Deformation,
    step_mm: float,
    shape_xyz: tuple[int, ...],
    new_affine: np.ndarray,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Fill the new grid: HU interpolated linearly with air around, labels from the nearest voxel.

    The inverse is computed on a lattice and interpolated by cubic splines, slab by slab.
    """
    axes = _axes(shape_xyz, new_affine, step_mm, margin=0.0)
    lattice = _lattice(shape_xyz, new_affine, step_mm, margin=0.0)
    sources = np.stack([deformation.inverse(plane) for plane in lattice])  # a plane fits the cache
    sources = np.moveaxis(
        _transform(np.linalg.inv(affine), sources), -1, 1
    )  # (i, voxel axis, j, k)
    for axis in (3, 2):
        sources = make_interp_spline(axes[axis - 1], sources, axis=axis)(
            np.arange(shape_xyz[axis - 1])
        )
    source_of_x: BSpline = make_interp_spline(axes[0], sources)

    hu = np.empty(shape_xyz, dtype=np.int16)
    labels = None if labels_xyz is None else np.empty(shape_xyz, dtype=labels_xyz.dtype)
    slices = max(VOXELS_AT_ONCE // (shape_xyz[1] * shape_xyz[2]), 1)
    for start in range(0, shape_xyz[0], slices):
        slab = slice(start, min(start + slices, shape_xyz[0]))
        indices = np.moveaxis(source_of_x(np.arange(slab.start, slab.stop)), 1, 0)
        sampled = map_coordinates(
            hu_xyz, indices, np.float32, order=1, mode="grid-constant", cval=AIR_HU
        )
        hu[slab] = np.rint(sampled)
        if labels is not None:
            labels[slab] = map_coordinates(labels_xyz, indices, order=0, mode="grid-constant")
    return hu, labels


def write_virtual_patient(
    patient: VirtualPatient,
    parent_landmarks: pd.DataFrame,
    *,
    ct: str | Path,
    labels: str | Path,
    landmarks: str | Path,
    check: str | Path,
) -> None:
    """Write a virtual patient's files as a real one's, and its check as JSON.

    `parent_landmarks` is the landmark table that the patient was made with; names and origin stay.
    Without a label map none is written.
    """
    write_volume(ct, Volume(patient.hu_xyz, patient.affine))
    if patient.labels_xyz is not None:
        write_labels(labels, LabelMap(patient.labels_xyz, patient.affine))
    table = parent_landmarks.assign(subject=patient.check.subject)
    table[XYZ] = patient.landmarks_mm
    write_landmarks(table, landmarks)
    with atomic(check) as partial:
        partial.write_text(json.dumps(asdict(patient.check), indent=1) + "\n")
