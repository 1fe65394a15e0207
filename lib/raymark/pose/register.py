"""X-rays of one's own brought to one's own CT: each gets a pose, a verdict, and what follows from it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from raymark.config.dataset import Physics
from raymark.core.doubts import warn
from raymark.core.errors import InputError
from raymark.ct import Volume, read_labels
from raymark.imports.stored_image import Xray
from raymark.pose.asked import Asked, Part, Registered, View, view_of
from raymark.pose.parts import PartRegistration, parts_of
from raymark.pose.pose_file import LPS, PosedView, read_pose
from raymark.pose.prepare import MEANING, READINGS, shot_of
from raymark.pose.refine import Registration, across_mm
from raymark.pose.search import (
    DEPTHS,
    Found,
    Poses,
    from_nothing,
    points_in,
    registered,
    sampled_points,
)
from raymark.pose.starts import (
    Points,
    from_landmarks,
    from_tags,
    image_points,
    other_frame,
    world_points,
)
from raymark.pose.trust import PART_CM2, Verdict, verdict

MOVED_MM = 3.0  # across the beam: further off than a part's own pose is uncertain
FindPoints = Callable[[Xray], dict[str, np.ndarray]]  # names and px of `Xray.image_yx`


def register(
    volume: Volume, paths: Sequence[str], asked: Asked, find_points: FindPoints | None = None
) -> tuple[list[Registered], dict[str, np.ndarray]]:
    """Return each X-ray's pose on the CT, and the 3D landmarks (RAS mm) by name.

    Views whose poses come from one file stay as they are to each other, unless `free`; all others are
    registered one by one. `find_points` finds a trained model's landmarks in an X-ray.
    """
    views = [view_of(path, asked) for path in paths]
    masks = _masks(volume, asked)
    world_mm: dict[str, np.ndarray] = {}
    if asked.landmarks3d:
        world_mm, doubts = world_points(asked.landmarks3d, volume)
        warn(asked.landmarks3d, doubts)
    posed = _posed(asked.pose, views) if asked.pose else None
    starter = _Starter(volume, asked, world_mm, find_points)
    starter.check(views, posed)
    if posed and len(views) > 1 and not asked.free:
        results = _registered(starter, views, [posed], "the file of poses, the views fixed")
        return with_parts(results, volume, masks), world_mm
    results = []
    for number, view in enumerate(views):
        if posed:
            results += _registered(starter, [view], [[posed[number]]], "the file of poses")
        else:
            starts, told = starter.starts(number, view)
            results += _registered(starter, [view], starts, told)
            if world_mm and starts and not results[-1].verdict.trusted:
                starter.check_frame(view, starts)
    each = [with_parts([result], volume, masks) for result in results]
    return [result for (result,) in each], world_mm


def _masks(volume: Volume, asked: Asked) -> dict[str, np.ndarray]:
    """Return the masks of the parts that are to have poses of their own, by name."""
    if asked.labels is None:
        if asked.each or asked.chosen:
            remedy = "Give the CT's label map with --labels"
            raise InputError("register", "has --each or --label but no label map", remedy)
        return {}
    labels = read_labels(asked.labels, volume)
    return parts_of(asked.labels, labels, asked.chosen, asked.each)


def with_parts(
    results: list[Registered], volume: Volume, masks: Mapping[str, np.ndarray]
) -> list[Registered]:
    """Register each part before the rest of the body; where one has moved, the whole's pose is doubted."""
    shots = [shot_of(r.view.xray, r.view.K, r.view.valid_yx, r.reading) for r in results]
    whole = [result.world_to_camera for result in results]
    parts, told = [], []
    for name, mask in masks.items():
        points = points_in(mask, volume.affine)
        found = registered(PartRegistration(volume, Physics(), mask, whole), shots, [whole], points)
        judged = verdict(found, PART_CM2)
        off_mm = across_mm(found.poses[0], whole[0], points)
        parts.append((name, found, judged, off_mm))
        if judged.trusted and off_mm > MOVED_MM:
            told.append(f"label {name} by {off_mm:.0f} mm")
    moved = Verdict(False, f"bones moved against each other since the CT: {', '.join(told)}")
    return [
        replace(
            result,
            verdict=moved if told else result.verdict,
            parts=tuple(Part(n, f.poses[i], v, off) for n, f, v, off in parts),
        )
        for i, result in enumerate(results)
    ]


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


def _posed(path: str, views: Sequence[View]) -> Poses:
    """Return the poses of a file, one for each view."""
    given: list[PosedView] = read_pose(path)
    if len(given) != len(views):
        problem = f"holds {len(given)} views, but {len(views)} X-rays are given"
        raise InputError(path, problem, "Give one --xray for each of its views, in its order")
    return [view.world_to_camera for view in given]
