"""Calibrated data sets: X-rays whose geometry is known, of subjects whose CT is there.

One contract for every layout (`READERS`), whatever its files call their frames: world RAS in mm, `K` and
`world_to_camera` as in `raymark.geometry.camera`, pixel centres at integers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from raymark.core.errors import InputError
from raymark.ct import LabelMap, Volume

TURNED = np.diag([-1.0, 1.0, -1.0])  # a camera that looks along −z, made to look along z


@dataclass(frozen=True)
class Angiogram:
    """A volume whose values are not HU: float32 (x, y, z), and the affine (4, 4) to world mm.

    No material follows from its values: it is no CT, and no X-ray is rendered of it.
    """

    values_xyz: np.ndarray
    affine: np.ndarray


@dataclass(frozen=True)
class CalibratedSubject:
    """A subject's CT with its label map and named landmarks (3,) in world mm, as far as there are any.

    `points_mm` (n, 3) are points without names, such as the centre lines of vessels.
    """

    volume: Volume | Angiogram
    labels: LabelMap | None = None
    landmarks_mm: Mapping[str, np.ndarray] = field(default_factory=dict)
    points_mm: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))


@dataclass(frozen=True)
class CalibratedXray:
    """An X-ray (row, column), logarithmic, bone bright, with `K` (3, 3) px and `world_to_camera` (4, 4) mm.

    `pixel_mm` is the pitch at the detector.
    """

    name: str
    image_yx: np.ndarray
    K: np.ndarray
    world_to_camera: np.ndarray
    pixel_mm: float


class Reader(Protocol):
    """What the module of a layout offers; each raises InputError for a file that is not of its layout."""

    def subjects(self, path: str | Path) -> list[str]: ...

    def read_subject(self, path: str | Path, subject: str) -> CalibratedSubject: ...

    def read_xrays(self, path: str | Path, subject: str) -> Iterator[CalibratedXray]: ...


def looking_forward(
    K: np.ndarray, world_to_camera: np.ndarray, points_mm: np.ndarray, source: str | Path
) -> tuple[np.ndarray, np.ndarray]:
    """Return the same projection with points (n, 3) of the subject in front of the source.

    Layouts differ in whether their camera looks along z or −z; all pixels stay where they are, and the
    pose a proper motion. InputError where points lie on both sides of the source.
    """
    if np.linalg.det(world_to_camera[:3, :3]) < 0:
        raise InputError(source, "has a pose that mirrors the patient", "Give a rotation")
    depth_mm = points_mm @ world_to_camera[2, :3] + world_to_camera[2, 3]
    if (depth_mm > 0).all():
        return K, world_to_camera
    if (depth_mm > 0).any():
        problem = "has a pose with the source inside the subject"
        raise InputError(source, problem, "Check the units of the pose: millimetres")
    turned = world_to_camera.copy()
    turned[:3] = TURNED @ turned[:3]
    return -K @ TURNED, turned
