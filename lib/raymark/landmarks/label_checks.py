"""Whether a label map can be right: its structures against the CT's densities, each other and anatomy.

Ids are easily taken for another version's, levels for their neighbours. Each check names the structures
at fault. Limits leave room for children, scoliosis and fractures; measured on the demo's CTs, sound
label maps keep a factor of two away from them.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy

from raymark.core.errors import InputError
from raymark.core.names import side_of
from raymark.ct import LabelMap, Volume
from raymark.ct.labels.names import SCHEMES, key, level_of, read_scheme
from raymark.landmarks.level_checks import Bone, level_faults, untold_levels

BONES = {
    *("hip", "femur", "sacrum", "coccyx", "rib", "sternum", "humerus", "scapula", "clavicula"),
    *("skull", "tibia", "fibula", "patella", "radius", "ulna"),
}
AIR_FILLED = {"lung", "trachea"}
DENSE_HU, DENSE_SHARE = 150, 0.08  # so much of every bone is denser, of osteoporotic ones too
GAS_HU, GAS_SHARE = -500, 0.5
APART_MM, PART_SHARE = 10.0, 0.1  # two pieces of one bone are not farther apart, fractures included
LARGEST_MM = {"hip": 300.0, "femur": 620.0, "sacrum": 220.0, "rib": 360.0, "sternum": 300.0}
SMALLEST_ML = {"hip": 50.0, "sacrum": 25.0, "femur": 40.0}  # of those that lie in the CT as a whole
MOST_TOLD = 5
MOST_POINTS = 20_000  # of a bone: shape and distances need no more
UNTRUE_SHARE = 0.2  # of structures without their density: then none is trusted
CLEARLY_BETTER = 2  # so many more structures must have their density under another scheme


@dataclass(frozen=True)
class Fault:
    """What cannot be right about some structures, by the keys of their names."""

    keys: frozenset[str]
    text: str


def check_labels(
    labels: LabelMap, volume: Volume, needed: Collection[str | int], source: str | Path
) -> list[str]:
    """Refuse a label map of which a `needed` structure cannot be right; return other faults as doubts.

    Refused too is a map without names whose ids would fit another known scheme better. `needed` are
    names as recipes spell them, or ids, whose names are the file's or the stated scheme's; an id that has
    no name but by assumption may mean something else, and is doubted only. `source` is the user's file.
    """
    bones = _bones(labels, volume)
    untrue = list(_of_density(labels, volume))
    faults = [*untrue, *_of_place(bones), *_of_levels(bones, volume)]
    named = [name for name in needed if isinstance(name, str)]
    by_id = [labels.names[i] for i in needed if isinstance(i, int) and i in labels.names]
    sure = named if labels.named_by.endswith("assumed") else [*named, *by_id]
    wanted = {key(name) for name in (*named, *by_id)}
    better = better_scheme(labels, volume, wanted)
    of_needed = [fault for fault in faults if fault.keys & {key(name) for name in sure}]
    missing = wanted - {
        key(labels.names[label]) for label in _present(labels) if label in labels.names
    }
    if better and (faults or missing):
        why = (
            (of_needed or faults)[0].text
            if faults
            else f"has no {_first(missing, [*named, *by_id])}"
        )
        raise InputError(
            source,
            f"{why}; its ids fit the scheme {better}, not {labels.named_by.split(',')[0]}",
            f"Write {better} into the column label_scheme of the subject sheet",
        )
    checkable = [name for name in labels.names.values() if _kind(name)]
    if of_needed or len(untrue) > max(2, UNTRUE_SHARE * len(checkable)):
        raise InputError(
            source,
            (of_needed or untrue)[0].text + _more(len(of_needed or untrue) - 1),
            "Correct the labels, or name what their ids mean in the column label_scheme of the "
            "subject sheet",
        )
    untold = untold_levels(bones) if any(map(level_of, [*named, *by_id])) else ""
    shown = [fault.text for fault in faults[:MOST_TOLD]]
    more = len(faults) - len(shown)
    return [
        *shown,
        *([f"has {more} more such faults"] if more else []),
        *([untold] if untold else []),
    ]


def _of_levels(bones: Sequence[Bone], volume: Volume) -> Iterator[Fault]:
    for names, text in level_faults(bones, volume):
        yield Fault(frozenset(map(key, names)), text)


def better_scheme(labels: LabelMap, volume: Volume, wanted: Collection[str]) -> str:
    """Name the scheme that the ids of a map without names clearly fit better; empty where none does.

    It has at least half of the `wanted` structures (their keys) among the labels that are there.
    """
    if labels.named_by == "the file" or not labels.named_by:
        return ""
    shares = _shares(labels, volume)
    given, fits = _fit(dict(labels.names), shares), {}
    for scheme in SCHEMES:
        names = read_scheme(scheme)
        there = {key(names[label]) for label in shares if label in names}
        if 2 * len(there & {*wanted}) >= max(1, len(wanted)):
            fits[scheme] = _fit(names, shares)
    best = max(fits, key=lambda scheme: fits[scheme], default="")
    return best if best and fits[best] >= given + CLEARLY_BETTER else ""


def _fit(names: dict[int, str], shares: dict[int, tuple[float, float]]) -> int:
    """Count the structures that have the density of what they are called, less those that do not."""
    score = 0
    for label, (dense, gas) in shares.items():
        kind = _kind(names.get(label, ""))
        fits = dense >= DENSE_SHARE if kind == "bone" else gas >= GAS_SHARE
        score += 0 if not kind else 1 if fits else -2
    return score


def _of_density(labels: LabelMap, volume: Volume) -> Iterator[Fault]:
    for label, (dense, gas) in _shares(labels, volume).items():
        name = labels.names.get(label, "")
        kind = _kind(name)
        if kind == "bone" and dense < DENSE_SHARE:
            text = f"has {name} (the label {label}) where nothing is as dense as bone"
        elif kind == "air" and gas < GAS_SHARE:
            text = f"has {name} (the label {label}) where there is no gas"
        else:
            continue
        yield Fault(frozenset([key(name)]), text)


def _of_place(bones: Sequence[Bone]) -> Iterator[Fault]:
    """Yield bones in several pieces, of a size that none has, and on the other side of the body."""
    of_key = {bone.key: bone for bone in bones}
    spine = [b.centre_mm for b in bones if level_of(b.name) or b.key in ("sacrum", "s1")]
    for bone in bones:
        family = next((word for word in bone.key.split() if word in LARGEST_MM), "")
        largest_mm = float(np.ptp(bone.points_mm, axis=0).max())
        text = ""
        if bone.gap_mm > APART_MM:
            text = f"has {bone.name} in pieces that are {bone.gap_mm:.0f} mm apart"
        elif family and largest_mm > LARGEST_MM[family]:
            text = f"has {bone.name} {largest_mm:.0f} mm long"
        elif family in SMALLEST_ML and not bone.cut and bone.volume_ml < SMALLEST_ML[family]:
            text = f"has {bone.name} of only {bone.volume_ml:.0f} ml"
        elif side := side_of(bone.name):
            other = of_key.get(bone.key.replace(side, {"left": "right", "right": "left"}[side]))
            middle = other.centre_mm[0] if other else np.mean(spine, axis=0)[0] if spine else None
            wrong = middle is not None and (bone.centre_mm[0] > middle) == (side == "left")
            if wrong:
                text = f"has {bone.name} on the other side of the body"
        if text:
            yield Fault(frozenset([bone.key]), text)


def _bones(labels: LabelMap, volume: Volume) -> list[Bone]:
    bones = []
    for label, box in _present(labels).items():
        name = labels.names.get(label, "")
        if _kind(name) == "bone":
            bones.append(_bone(name, label, box, labels))
    return bones


def _bone(name: str, label: int, box: tuple[slice, ...], labels: LabelMap) -> Bone:
    inside = labels.labels_xyz[box] == label
    parts, _ = scipy.ndimage.label(inside, np.ones((3, 3, 3)))
    sizes = np.bincount(parts.ravel())[1:]
    pieces = [
        np.argwhere(parts == part + 1) + [side.start for side in box]
        for part in np.argsort(-sizes, kind="stable")
        if sizes[part] >= PART_SHARE * sizes.sum()
    ]
    points = [piece @ labels.affine[:3, :3].T + labels.affine[:3, 3] for piece in pieces]
    shape = labels.labels_xyz.shape
    touching = [
        bool(((piece == 0) | (piece == np.array(shape) - 1)).any(axis=1).any()) for piece in pieces
    ]
    gap_mm = 0.0
    if len(pieces) > 1 and not any(touching):  # what the border cuts may well be two
        gap_mm = float(scipy.spatial.cKDTree(points[0]).query(np.concatenate(points[1:]))[0].min())
    volume_ml = float(sizes.sum() * abs(np.linalg.det(labels.affine[:3, :3])) / 1000)
    every = max(1, sum(map(len, points)) // MOST_POINTS)
    thinned = np.concatenate(points)[::every]
    return Bone(name, key(name), thinned, any(touching), gap_mm, volume_ml)


def _shares(labels: LabelMap, volume: Volume) -> dict[int, tuple[float, float]]:
    """Return for every label which share of it is as dense as bone, and which is gas."""
    shares = {}
    for label, box in _present(labels).items():
        hu = volume.hu_xyz[box][labels.labels_xyz[box] == label]
        shares[label] = (float((hu > DENSE_HU).mean()), float((hu < GAS_HU).mean()))
    return shares


def _present(labels: LabelMap) -> dict[int, tuple[slice, ...]]:
    boxes = scipy.ndimage.find_objects(labels.labels_xyz)
    return {label: box for label, box in enumerate(boxes, start=1) if box is not None}


def _kind(name: str) -> str:
    words = set(key(name).split())
    if level_of(name) or words & BONES or words & {"s1"}:
        return "bone"
    return "air" if words & AIR_FILLED else ""


def _first(missing: set[str], needed: Collection[str]) -> str:
    names = [name for name in needed if key(name) in missing]
    return names[0] + _more(len(names) - 1)


def _more(count: int) -> str:
    return f" (and {count} more)" if count else ""
