"""What a user asks of `raymark register`, the X-rays he gives, and what he gets for each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from raymark.core.errors import InputError
from raymark.imports.c_arm import CArm, read_c_arm
from raymark.imports.stored_image import Xray
from raymark.imports.xray_file import read_xray
from raymark.pose.prepare import intrinsics, valid_pixels
from raymark.pose.search import Found
from raymark.pose.trust import Verdict


@dataclass(frozen=True)
class Asked:
    """What a user says of his X-rays; None where the files are to tell it. Lengths in mm, px of the files."""

    from_dicom: bool = False
    pose: str | None = None
    landmarks3d: str | None = None
    landmarks2d: Sequence[str] = ()
    source_to_detector_mm: float | None = None
    source_to_patient_mm: float | None = None
    pixel_mm: float | None = None
    principal_px: tuple[float, float] | None = None
    angles_deg: tuple[float, float] | None = None
    mirrored: bool = False
    invert: bool = False
    frame: int | None = None
    crop_px: int = 0
    mask: str | None = None
    free: bool = False
    labels: str | None = None
    chosen: Sequence[int] = ()
    each: bool = False


@dataclass(frozen=True)
class View:
    """An X-ray that is to be registered, its own pixels' `K`, and what is not sure of it."""

    path: str
    xray: Xray
    arm: CArm
    K: np.ndarray
    source_to_detector_mm: float
    valid_yx: np.ndarray

    @property
    def doubts(self) -> tuple[str, ...]:
        return (*self.xray.doubts, *self.arm.doubts)


@dataclass(frozen=True)
class Part:
    """Chosen labels with a pose of their own, `moved_mm` across the beam from the whole body's."""

    name: str
    world_to_camera: np.ndarray
    verdict: Verdict
    moved_mm: float


@dataclass(frozen=True)
class Registered:
    """An X-ray with its pose, how it was found, and whether to trust it."""

    view: View
    start: np.ndarray
    world_to_camera: np.ndarray
    started_from: str
    reading: str
    found: Found
    verdict: Verdict
    seconds: float
    doubts: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()


def view_of(path: str, asked: Asked) -> View:
    xray, arm = read_xray(path, asked.frame), read_c_arm(path, asked.frame)
    if asked.invert:
        xray = replace(xray, image_yx=xray.image_yx.max() - xray.image_yx)
    if asked.pixel_mm is not None:
        if not asked.pixel_mm > 0:
            raise InputError("--pixel-mm", f"{asked.pixel_mm:g} is no size", "Give it in mm")
        xray = replace(xray, pixel_mm=asked.pixel_mm)
    K, distance_mm = intrinsics(
        path, xray, arm, asked.source_to_detector_mm, asked.principal_px, asked.mirrored
    )
    valid_yx = valid_pixels(path, xray, asked.crop_px, asked.mask)
    return View(path, xray, arm, K, distance_mm, valid_yx)
