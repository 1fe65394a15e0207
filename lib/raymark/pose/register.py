"""X-rays of one's own brought to one's own CT: each gets a pose, a verdict, and what follows from it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from raymark.config.dataset import Physics
from raymark.core.doubts import warn
from raymark.core.errors import InputError
from raymark.ct import Volume
from raymark.imports.c_arm import CArm, read_c_arm
from raymark.imports.stored_image import Xray
from raymark.imports.xray_file import read_xray
from raymark.pose.pose_file import LPS, PosedView, read_pose
from raymark.pose.prepare import MEANING, READINGS, intrinsics, shot_of, valid_pixels
from raymark.pose.refine import Registration
from raymark.pose.search import DEPTHS, Found, Poses, from_nothing, registered, sampled_points
from raymark.pose.starts import (
    Points,
    from_landmarks,
    from_tags,
    image_points,
    other_frame,
    world_points,
)
from raymark.pose.trust import Verdict, verdict

FindPoints = Callable[[Xray], dict[str, np.ndarray]]  # names and px of `Xray.image_yx`


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
    doubts: tuple[str, ...] = field(default=())


def register(
    volume: Volume, paths: Sequence[str], asked: Asked, find_points: FindPoints | None = None
) -> tuple[list[Registered], dict[str, np.ndarray]]:
    """Return each X-ray's pose on the CT, and the 3D landmarks (RAS mm) by name.

    Views whose poses come from one file stay as they are to each other, unless `free`; all others are
    registered one by one. `find_points` finds a trained model's landmarks in an X-ray.
    """
    views = [_view(path, asked) for path in paths]
    world_mm: dict[str, np.ndarray] = {}
    if asked.landmarks3d:
        world_mm, doubts = world_points(asked.landmarks3d, volume)
        warn(asked.landmarks3d, doubts)
    posed = _posed(asked.pose, views) if asked.pose else None
    starter = _Starter(volume, asked, world_mm, find_points)
    starter.check(views, posed)
    if posed and len(views) > 1 and not asked.free:
        return _registered(starter, views, [posed], "the file of poses, the views fixed"), world_mm
    results = []
    for number, view in enumerate(views):
        if posed:
            results += _registered(starter, [view], [[posed[number]]], "the file of poses")
        else:
            starts, told = starter.starts(number, view)
            results += _registered(starter, [view], starts, told)
            if world_mm and starts and not results[-1].verdict.trusted:
                starter.check_frame(view, starts)
    return results, world_mm


class _Starter:
    """What serves all X-rays of a CT: the registration, and where each starts."""

    def __init__(
        self, volume: Volume, asked: Asked, world_mm: Points, find_points: FindPoints | None
    ):
        self.asked, self.world_mm, self.find_points = asked, world_mm, find_points
        self.points_mm = sampled_points(volume)
        self.registration = Registration(volume, Physics())

    def check(self, views: Sequence[View], posed: Poses | None) -> None:
        """Refuse, before anything is done, what contradicts itself."""
        in_image = self.asked.landmarks2d or self.find_points
        if in_image and not self.world_mm:
            raise InputError("register", "has landmarks in the image but none in 3D",
                             "Give the CT's landmarks with --landmarks3d")  # fmt: skip
        if self.asked.landmarks2d and len(self.asked.landmarks2d) != len(views):
            raise InputError("register", "has another number of --landmarks2d than of --xray",
                             "Give one file for each X-ray, in the same order")  # fmt: skip
        if posed is not None and self.asked.from_dicom:
            raise InputError("register", "has both --pose and --from-dicom", "Give one of them")

    def check_frame(self, view: View, starts: list[Poses]) -> None:
        """Refuse 3D landmarks of the other frame.

        The landmarks cannot tell, being only turned by 180° about the body's axis; the CT can.
        """
        turned = [[pose @ LPS for pose in poses] for poses in starts]
        if _tried(self, [view], turned, "log", False).verdict.trusted:
            raise other_frame(str(self.asked.landmarks3d))

    def starts(self, number: int, view: View) -> tuple[list[Poses], str]:
        """Return the poses to start from, and the sentence that tells where they come from."""
        image_px: dict[str, np.ndarray] = {}
        if self.asked.landmarks2d:
            to_own = view.xray.placement.to_file.inverse()
            given = image_points(self.asked.landmarks2d[number])
            image_px = {name: to_own(xy) for name, xy in given.items()}
        elif self.find_points is not None:
            image_px = self.find_points(view.xray)
        if image_px or self.asked.landmarks2d or self.find_points is not None:
            source = self.asked.landmarks2d[number] if self.asked.landmarks2d else view.path
            pose, told = from_landmarks(source, view.K, self.world_mm, image_px)
            return [[pose]], told
        if self.asked.from_dicom or self.asked.angles_deg:
            arm = view.arm
            if self.asked.angles_deg:
                primary, secondary = self.asked.angles_deg
                arm = replace(arm, primary_deg=primary, secondary_deg=secondary)
            centre, distance = self.points_mm.mean(axis=0), self.asked.source_to_patient_mm
            return [
                [from_tags(view.path, arm, centre, distance)]
            ], "the C-arm's distances and angles"
        return [], "nothing: a search over the view sphere"

    def searched(self, view: View, reading: str) -> list[Poses]:
        shot = shot_of(view.xray, view.K, view.valid_yx, reading)
        known_mm = self.asked.source_to_patient_mm or view.arm.source_to_patient_mm
        shares = [known_mm] if known_mm else [d * view.source_to_detector_mm for d in DEPTHS]
        return from_nothing(self.registration, shot, self.points_mm, shares)


def _registered(
    starter: _Starter, views: Sequence[View], starts: list[Poses], told: str
) -> list[Registered]:
    """Register views together: as their greys are read, and, where that is not trusted, otherwise."""
    begun = time.perf_counter()
    tries = [(reading, False) for reading in READINGS] + [("log", True)] * (not starts)
    best: _Try | None = None
    for reading, mirrored in tries:
        tried = _tried(starter, views, starts, reading, mirrored)
        if best is None or tried.rank > best.rank:
            best = tried
        if tried.verdict.trusted:
            break
    assert best is not None
    doubts = [f"its greys fit as {MEANING[best.reading]}"] * (best.reading != "log")
    doubts += ["it fits mirrored (--mirrored)"] * best.mirrored
    seconds = (time.perf_counter() - begun) / len(views)
    return [
        Registered(view, start, pose, told, best.reading, best.found, best.verdict, seconds, tuple(doubts))
        for view, start, pose in zip(best.views, best.start, best.found.poses, strict=True)
    ]  # fmt: skip


@dataclass(frozen=True)
class _Try:
    """Views registered with one reading of their greys, mirrored or not."""

    views: Sequence[View]
    reading: str
    mirrored: bool
    start: Poses
    found: Found
    verdict: Verdict

    @property
    def rank(self) -> tuple[bool, float]:
        return self.verdict.trusted, self.found.similarity


def _tried(
    starter: _Starter, views: Sequence[View], starts: list[Poses], reading: str, mirrored: bool
) -> _Try:
    if mirrored:
        views = [
            replace(view, K=view.K * np.array([[-1, 1, 1], [1] * 3, [1] * 3])) for view in views
        ]
    starts = starts or starter.searched(views[0], reading)
    shots = [shot_of(view.xray, view.K, view.valid_yx, reading) for view in views]
    found = registered(starter.registration, shots, starts, starter.points_mm)
    return _Try(views, reading, mirrored, starts[0], found, verdict(found))


def _view(path: str, asked: Asked) -> View:
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


def _posed(path: str, views: Sequence[View]) -> Poses:
    """Return the poses of a file, one for each view."""
    given: list[PosedView] = read_pose(path)
    if len(given) != len(views):
        problem = f"holds {len(given)} views, but {len(views)} X-rays are given"
        raise InputError(path, problem, "Give one --xray for each of its views, in its order")
    return [view.world_to_camera for view in given]
