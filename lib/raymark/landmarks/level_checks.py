"""Whether the vertebrae of a label map are the levels that they are called."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy

from raymark.ct import Volume
from raymark.ct.labels.names import level_of

CERVICAL, THORACIC, LUMBAR = (
    [f"{letter}{n}" for n in range(1, last + 1)] for letter, last in (("C", 7), ("T", 13), ("L", 6))
)
RARE = ("T13", "L6")  # count only where they are labelled
CLOSEST_MM, FARTHEST_MM = 6.0, 55.0  # centres of neighbouring levels
STEP_RATIO = 1.55  # of a step to those above and below it
VOLUME_RATIO = 1.7  # of a vertebra to its neighbours
LARGEST_VERTEBRA_MM = 150.0
RIB_MM = 15.0  # a rib's head lies so close to its vertebra
HEAD_SHARE = 0.02
ON_SACRUM_MM = 10.0
SACRUM_MM, IN_SACRUM_SHARE = (
    5.0,
    0.1,
)  # S1 is part of the sacrum; a lumbar vertebra hardly touches it
BELOW_LUNGS, BESIDE_LUNGS = ("L2", "L3", "L4", "L5"), ("T4", "T5", "T6", "T7", "T8")
LUNG_HU, BODY_HU = -600, -300
LUNGS_SHARE, NO_LUNGS_SHARE, WHOLE_BODY_CM2 = 0.15, 0.02, 300.0


@dataclass(frozen=True)
class Bone:
    """One bone of a label map.

    `points_mm` (n, 3) RAS are centres of its voxels, not all where there are many; `cut` tells whether
    the CT's border cuts it, `gap_mm` how far its largest piece is from the nearest other one.
    """

    name: str
    key: str
    points_mm: np.ndarray
    cut: bool
    gap_mm: float
    volume_ml: float

    @property
    def centre_mm(self) -> np.ndarray:
        return self.points_mm.mean(axis=0)


Told = tuple[list[str], str]  # names of bones, and what is wrong with them


def level_faults(bones: Sequence[Bone], volume: Volume) -> Iterator[Told]:
    """Yield what is wrong with the levels: order, spacing, size, ribs, sacrum, lungs beside them."""
    found = {level_of(bone.name): bone for bone in bones}
    order = [
        level for level in (*CERVICAL, *THORACIC, *LUMBAR) if level in found or level not in RARE
    ]
    vertebrae = [(place, found[level]) for place, level in enumerate(order) if level in found]
    yield from _of_size(vertebrae)
    yield from _of_order(vertebrae)
    yield from _of_ribs(vertebrae, bones)
    yield from _of_sacrum(bones)
    yield from _of_lungs([(level, found[level]) for level in order if level in found], volume)


def untold_levels(bones: Sequence[Bone]) -> str:
    """Say what leaves the count of levels open: fewer lumbar vertebrae, or nothing to count from."""
    found = {level_of(bone.name): bone for bone in bones}
    sacrum = [bone.points_mm for bone in bones if bone.key in ("s1", "sacrum")]
    lumbar = [level for level in LUMBAR if level in found]
    if sacrum and lumbar and lumbar[-1] < "L5":
        lowest = found[lumbar[-1]]
        tree = scipy.spatial.cKDTree(np.concatenate(sacrum))
        if tree.query(lowest.points_mm)[0].min() < ON_SACRUM_MM:
            return (
                f"has {lowest.name} right above the sacrum: are levels counted right, L5 missing?"
            )
    is_counted = sacrum or {"C1", "C2"} & found.keys() or any("rib" in b.key.split() for b in bones)
    if not is_counted and any(found):
        return "labels vertebrae, but no rib, sacrum or C2 that would tell whether levels are right"
    return ""


def _of_size(vertebrae: Sequence[tuple[int, Bone]]) -> Iterator[Told]:
    for _, bone in vertebrae:
        largest_mm = float(np.ptp(bone.points_mm, axis=0).max())
        if largest_mm > LARGEST_VERTEBRA_MM:
            yield [bone.name], f"has {bone.name} {largest_mm:.0f} mm long"
    whole = {number: bone for number, bone in vertebrae if not bone.cut and number > 1}
    for number, bone in whole.items():
        beside = [whole[n].volume_ml for n in (number - 1, number + 1) if n in whole]
        if beside and bone.volume_ml > VOLUME_RATIO * max(beside):
            times = bone.volume_ml / max(beside)
            yield [bone.name], f"has {bone.name} {times:.1f} times as large as its neighbours"


def _of_order(vertebrae: Sequence[tuple[int, Bone]]) -> Iterator[Told]:
    """Yield neighbours that are out of order, or too far apart or close for the others' distances."""
    steps = []
    for (upper, above), (lower, below) in pairwise(vertebrae):
        step = (below.centre_mm - above.centre_mm) / (lower - upper)
        steps.append((above, below, step, above.cut or below.cut))
    if not steps:
        return
    lengths = np.array([np.linalg.norm(step) for *_, step, _ in steps])
    whole = np.array([not cut for *_, cut in steps])
    for index, (above, below, step, cut) in enumerate(steps):
        pair = [above.name, below.name]
        if step[2] > 0 and step[2] > 0.5 * lengths[index]:
            yield pair, f"has {above.name} below {below.name}"
            continue
        if cut:
            continue
        near = [
            i
            for i in range(max(0, index - 2), index + 3)
            if i < len(steps) and i != index and whole[i]
        ]
        usual = float(np.median(lengths[near])) if near else float(lengths[index])
        length = float(lengths[index])
        if (
            not CLOSEST_MM <= length <= FARTHEST_MM
            or not 1 / STEP_RATIO <= length / usual <= STEP_RATIO
        ):
            usually = f", others {usual:.0f} mm" if near else ""
            yield (
                pair,
                f"has {above.name} and {below.name} {length:.0f} mm apart per level{usually}",
            )


def _of_ribs(vertebrae: Sequence[tuple[int, Bone]], bones: Sequence[Bone]) -> Iterator[Told]:
    """Yield levels that carry ribs of another number: a rib's head is nearest to its own vertebra."""
    thoracic = [(number - len(CERVICAL) + 1, bone) for number, bone in vertebrae]
    if not thoracic:
        return
    tree = scipy.spatial.cKDTree(np.concatenate([bone.points_mm for _, bone in thoracic]))
    owner = np.concatenate([np.full(len(bone.points_mm), level) for level, bone in thoracic])
    names = {level: bone.name for level, bone in thoracic}
    offsets: list[tuple[int, Bone, int]] = []
    for rib in bones:
        words = rib.key.split()
        numbers = [int(word) for word in words if word.isdecimal()]
        if "rib" not in words or len(numbers) != 1:
            continue
        distance, index = tree.query(rib.points_mm, distance_upper_bound=RIB_MM)
        head = np.argsort(distance, kind="stable")[: max(5, int(HEAD_SHARE * len(distance)))]
        head = head[np.isfinite(distance[head])]
        if not len(head):
            continue
        level = int(np.bincount(owner[index[head]] + 10).argmax()) - 10
        offsets.append((level - numbers[0], rib, level))
    wrong = [(rib, level) for offset, rib, level in offsets if offset]
    if len(wrong) >= max(2, len(offsets) / 2):
        rib, level = wrong[0]
        levels = sorted({names[level] for _, level in wrong})
        yield (
            levels,
            f"has {rib.name} at {names[level]} (and {len(wrong) - 1} more ribs at other levels)",
        )


def _of_sacrum(bones: Sequence[Bone]) -> Iterator[Told]:
    by_key = {bone.key: bone for bone in bones}
    if not {"s1", "sacrum"} <= by_key.keys():
        return
    distance, _ = scipy.spatial.cKDTree(by_key["sacrum"].points_mm).query(by_key["s1"].points_mm)
    if (distance < SACRUM_MM).mean() < IN_SACRUM_SHARE:
        text = "has vertebrae_S1 above the sacrum, where a lumbar vertebra lies (an L6 of a newer table?)"
        yield ["vertebrae_S1", "sacrum"], text


def _of_lungs(vertebrae: Sequence[tuple[str, Bone]], volume: Volume) -> Iterator[Told]:
    """Yield lumbar levels with lungs beside them, and thoracic ones without."""
    for level, bone in vertebrae:
        if level not in BELOW_LUNGS and level not in BESIDE_LUNGS:
            continue
        area_cm2, lungs = _lungs_beside(bone, volume)
        if level in BELOW_LUNGS and lungs > LUNGS_SHARE:
            yield [bone.name], f"has {bone.name} at a level where the lungs are"
        elif level in BESIDE_LUNGS and area_cm2 > WHOLE_BODY_CM2 and lungs < NO_LUNGS_SHARE:
            yield [bone.name], f"has {bone.name} at a level where no lungs are"


def _lungs_beside(bone: Bone, volume: Volume) -> tuple[float, float]:
    """Return the area of the body in the bone's slice, cm², and the lungs' share of it."""
    to_voxel = np.linalg.inv(volume.affine)
    height = (to_voxel[:3, :3] @ bone.centre_mm + to_voxel[:3, 3])[2]
    index = int(np.clip(round(height), 0, volume.hu_xyz.shape[2] - 1))
    hu = volume.hu_xyz[:, :, index]
    body = scipy.ndimage.binary_fill_holes(scipy.ndimage.binary_opening(hu > BODY_HU, iterations=3))
    gas = scipy.ndimage.binary_opening(body & (hu < LUNG_HU), iterations=3)
    spacing = volume.spacing_mm
    area_cm2 = float(body.sum() * spacing[0] * spacing[1] / 100)
    return area_cm2, float(gas.sum() / max(1.0, float(body.sum())))
