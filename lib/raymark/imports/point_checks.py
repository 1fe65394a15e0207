"""Whether annotated points of a set of images can be meant: each image's against those of the others.

After shift and scale the points of one anatomy lie much alike. An image whose points come to lie like the
others' only once x and y, or left and right, are exchanged was annotated so by mistake.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from raymark.imports.planned_image import Planned

# Millimetres of X-rays, whose pixels have 0.1 to 0.3 mm, are fewer than px; so are percent.
CORNER_SHARE = 1 / 3
FEWEST_IMAGES, FEWEST_POINTS = 4, 3
# Root mean square distance from the other images' median shape, whose points are 1 from their middle:
UNLIKE, ALIKE_AGAIN = 0.3, 0.5  # beyond the first it is unlike; the second is of what it was
MOSTLY, SHOWN = 0.9, 5
# Steps from member to member of a chain, in median steps of the image: farther or nearer than this is a fault.
LEAP, TOGETHER = 4.0, 0.1
FROM_THE_SIDE = 0.7  # |cos| of the primary angle below which left and right hide each other
Pairs = Sequence[Sequence[str]]
Chain = Sequence[Sequence[int | None]]


def doubted(
    planned: list[Planned], names: list[str], pairs: Pairs, chain: Chain, primary_deg: float
) -> tuple[list[str], list[Planned]]:
    """Return doubts about all images' points, and the images with the doubts about each one's.

    `chain` is that of `raymark.landmarks.types.chain_of`, empty where the landmarks make none.
    """
    partner = np.arange(len(names))
    for left, right in pairs:
        partner[[names.index(left), names.index(right)]] = names.index(right), names.index(left)
    planned = [
        replace(image, doubts=(*image.doubts, *_broken(image.points_px, names, chain)))
        for image in planned
    ]
    about_all = _about_all(planned, partner, names, pairs, primary_deg)
    shapes = [_shape(image.points_px) for image in planned]
    if len(names) < FEWEST_POINTS or len(planned) < FEWEST_IMAGES:
        return about_all, planned
    with np.errstate(all="ignore"):
        usual = np.nanmedian(shapes, axis=0)
    if not np.nanmedian([_distance(image.points_px, usual) for image in planned]) < UNLIKE:
        return about_all, planned  # no two images are alike
    found = [_odd(image.points_px, partner, usual) for image in planned]
    return about_all, [
        replace(image, doubts=(*image.doubts, *doubts))
        for image, doubts in zip(planned, found, strict=True)
    ]


def _about_all(
    planned: list[Planned], partner: np.ndarray, names: list[str], pairs: Pairs, primary_deg: float
) -> list[str]:
    doubts = _missing(planned, names)
    highest = max(np.nanmax(image.points_px) for image in planned)
    if highest <= 1 and not planned[0].annotation.relative:
        doubts.append("all points lie within 1 px, as shares of the image's size would")
    elif all(_in_corner(image) for image in planned):
        doubts.append(
            "all points lie in the upper left corner of every image, as if they were in mm, in percent "
            "or of a smaller copy; they are taken as px. Check the units of the annotations"
        )
    if pairs and abs(np.cos(np.radians(primary_deg))) > FROM_THE_SIDE:
        left = [names.index(pair[0]) for pair in pairs]
        across = np.array([i.points_px[left] - i.points_px[partner[left]] for i in planned])
        sideways, upwards = np.nanmedian(across[..., 0]), np.nanmedian(across[..., 1])
        if np.abs(sideways) < np.abs(upwards) / 2 and _one_sign(across[..., 1]):
            doubts.append("left and right landmarks lie above each other: are x and y exchanged?")
        elif sideways < 0 and _one_sign(across[..., 0]):
            doubts.append(
                "left landmarks lie on the images' left, where an X-ray shows the patient's right: "
                "are the names the image's sides, or the images mirrored?"
            )
    return doubts


def _broken(points_px: np.ndarray, names: list[str], chain: Chain) -> list[str]:
    """Tell where the members of a chain, which follow each other at about even steps, leap or coincide."""
    numbers = [[n for n in member if n is not None] for member in chain]
    with np.errstate(all="ignore"):
        places = np.array([points_px[member].mean(axis=0) for member in numbers]).reshape(-1, 2)
    shown = np.flatnonzero(np.isfinite(places).all(axis=1))
    follows = shown[1:][np.diff(shown) == 1]
    steps = np.linalg.norm(places[follows] - places[follows - 1], axis=1)
    if len(steps) < FEWEST_POINTS or not np.median(steps) > 0:
        return []
    share = steps / np.median(steps)
    doubts = []
    for member, step in zip(follows, share, strict=True):
        before, name = (names[numbers[m][0]] for m in (member - 1, member))
        if step > LEAP:
            doubts.append(
                f"{name} lies {step:.0f} times as far from {before} as the parts of this chain usually "
                "do: are the names in order?"
            )
        elif step < TOGETHER:
            doubts.append(f"{name} and {before} lie in one place: is one marked twice?")
    return doubts


def _missing(planned: list[Planned], names: list[str]) -> list[str]:
    """Tell which landmarks are not marked in every image."""
    lacking = np.isnan([image.points_px[:, 0] for image in planned]).sum(axis=0)
    told = [f"{name} in {n}" for name, n in zip(names, lacking, strict=True) if n]
    if not told:
        return []
    more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    listed = ", ".join(told[:SHOWN]) + more
    return [f"of {len(planned)} images, landmarks are not marked: {listed}; they count in no error"]


def _one_sign(numbers: np.ndarray) -> bool:
    known = numbers[np.isfinite(numbers)]
    return max((known > 0).mean(), (known < 0).mean()) > MOSTLY


def _in_corner(image: Planned) -> bool:
    return bool(
        np.nanmax(image.points_px / (CORNER_SHARE * np.array(image.shape_yx[::-1], dtype=float)))
        < 1
    )


def _shape(points_px: np.ndarray) -> np.ndarray:
    """Return points about their middle, scaled so that they are 1 from it (root mean square)."""
    about = points_px - np.nanmedian(points_px, axis=0)
    size = np.sqrt(np.nanmean((about**2).sum(axis=1)))
    return about / size if size > 0 else about


def _odd(points_px: np.ndarray, partner: np.ndarray, usual: np.ndarray) -> list[str]:
    """Tell by which exchange an image's points become like the usual ones, if any."""
    if np.isfinite(points_px[:, 0]).sum() < FEWEST_POINTS:
        return []
    unlike = _distance(points_px, usual)
    if not unlike > 0:
        return []
    exchanges = {
        "x and y": points_px[:, ::-1],
        "left and right": points_px[partner],
    }
    for what, exchanged in exchanges.items():
        again = _distance(exchanged, usual)
        apart = UNLIKE if what == "x and y" else UNLIKE / 3
        if unlike > apart and again < ALIKE_AGAIN * unlike:
            return [f"points lie as in the other images once {what} are exchanged: check them"]
    return []


def _distance(points_px: np.ndarray, usual: np.ndarray) -> float:
    both = np.isfinite(points_px[:, 0]) & np.isfinite(usual[:, 0])
    if both.sum() < FEWEST_POINTS:
        return float("nan")
    away = _shape(points_px[both]) - _shape(usual[both])
    return float(np.sqrt((away**2).sum(axis=1).mean()))
