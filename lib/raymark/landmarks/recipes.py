"""Recipes: how to compute a landmark from a label map.

Each kind of recipe is a model of its keys in the landmark file and a method `locate`, from a
`Structures` to a point (3,) in world RAS mm. Directions are the patient's: `left` or a vector
[right, anterior, superior]. What a label lacks raises InputError with the label map's name.
"""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, field_validator

from raymark.core.errors import InputError
from raymark.core.sections import Section
from raymark.landmarks.structures import (
    Structure,
    Structures,
    Voxels,
    deepest,
    levels,
    outermost,
    told,
)

DIRECTIONS = {
    "right": (1.0, 0.0, 0.0),
    "left": (-1.0, 0.0, 0.0),
    "anterior": (0.0, 1.0, 0.0),
    "posterior": (0.0, -1.0, 0.0),
    "superior": (0.0, 0.0, 1.0),
    "inferior": (0.0, 0.0, -1.0),
}
SUPERIOR = np.array(DIRECTIONS["superior"])


def _unit(direction: Any) -> Any:
    """Turn a word or a vector of a landmark file into a unit vector; pydantic checks the rest."""
    vector = np.array(DIRECTIONS.get(str(direction), direction))
    if vector.shape != (3,) or vector.dtype.kind not in "if":
        raise ValueError(f"use [right, anterior, superior] or one of {', '.join(DIRECTIONS)}")
    if not 0 < np.linalg.norm(vector) < np.inf:
        raise ValueError("a direction needs finite numbers, not all zero")
    return tuple((vector / np.linalg.norm(vector)).tolist())


Word = Literal["right", "left", "anterior", "posterior", "superior", "inferior"]
Vector = tuple[float, float, float]
Direction = Annotated[Vector, BeforeValidator(_unit, json_schema_input_type=Word | Vector)]
One = Annotated[int, Field(gt=0)] | Annotated[str, Field(min_length=1)]
Label = Annotated[
    One | tuple[One, ...],
    Field(
        description="the structure's name, or several names that are one structure together, of which "
        "some label maps have only the first; a number is an id of one's own label map"
    ),
]


class Slab(Section):
    """A slice of space, measured by a structure: 0 is where it begins along the axis, 1 its end."""

    axis: Literal["right", "anterior", "superior"] = Field(
        description="the patient's side towards which 0 becomes 1"
    )
    of: Label = Field(description="id, in the label map, of the structure that is the measure")
    range: tuple[float, float] = Field(
        description="where the slab begins and ends; beyond 0 and 1 is allowed"
    )

    def told(self) -> str:
        """Write the slab for a message."""
        low, high = self.range
        return f"{low:g} to {high:g} of {told(self.of)} towards {self.axis}"

    def contains(self, points_mm: np.ndarray, structures: Structures) -> np.ndarray:
        """Tell which points (n, 3) lie in the slab."""
        axis = np.array(DIRECTIONS[self.axis])
        along = structures.voxels(self.of).points_mm @ axis
        low, high = along.min() + np.array(self.range) * np.ptp(along)
        return (points_mm @ axis >= low) & (points_mm @ axis <= high)


class _Recipe(Section):
    """A recipe; which structures it needs, its keys tell."""

    def structures(self) -> list[str | int]:
        """Return the names, or ids, of the structures that the recipe needs."""
        slabs = [slab.of for slab in getattr(self, "within", [])]
        keys = [getattr(self, key, ()) for key in ("label", "labels", "spine")]
        return [name for structure in (*keys, *slabs) for name in _names_in(structure)]


def _names_in(structure: Any) -> list[str | int]:
    if isinstance(structure, tuple):
        return [name for part in structure for name in _names_in(part)]
    return [structure]


class _Regional(_Recipe):
    """A recipe that may look at only a part of its structure."""

    within: list[Slab] = Field(
        [], description="only voxels that lie in all of these slabs count; empty: all voxels do"
    )

    def _limited(self, structure: Structure, voxels: Voxels, structures: Structures) -> Voxels:
        for slab in self.within:
            voxels = voxels.where(slab.contains(voxels.points_mm, structures))
        if not len(voxels.indices):
            raise InputError(
                structures.source,
                f"has nothing of {told(structure)} within its slabs, "
                + ", ".join(slab.told() for slab in self.within),
                "Check the label map beside the CT, or change `within` in the landmark file",
            )
        return voxels


class Centroid(_Regional):
    """The middle of a structure."""

    kind: Literal["centroid"]
    label: Label

    def locate(self, structures: Structures) -> np.ndarray:
        return self._limited(self.label, structures.voxels(self.label), structures).points_mm.mean(
            axis=0
        )


class Ball(_Recipe):
    """The centre of the largest ball inside a structure, e.g. the head of a femur."""

    kind: Literal["ball"]
    label: Label

    def locate(self, structures: Structures) -> np.ndarray:
        return deepest(structures.voxels(self.label))


class Extreme(_Regional):
    """The outermost point of a structure along a direction."""

    kind: Literal["extreme"]
    label: Label
    direction: Direction = Field(
        description="where outwards is: a side of the patient, or [right, anterior, superior]"
    )
    cap_mm: float = Field(3.0, gt=0, description="thickness of the outermost cap that is averaged")

    def locate(self, structures: Structures) -> np.ndarray:
        voxels = self._limited(self.label, structures.voxels(self.label), structures)
        return outermost(voxels, np.array(self.direction), self.cap_mm)


class Notch(_Regional):
    """The bottom of a notch or arch in a structure's outline.

    The structure is cut into levels across `along`, and each level's outermost point towards
    `open_to` is the outline. The bottom is where the outline lies deepest below the lower of the
    two edges beside it.
    """

    kind: Literal["notch"]
    label: Label
    open_to: Direction = Field(
        description="where the notch is open: a side of the patient, or [right, anterior, superior]"
    )
    along: Direction = Field(description="from one edge of the notch to the other, likewise")

    def locate(self, structures: Structures) -> np.ndarray:
        voxels = self._limited(self.label, structures.voxels(self.label), structures)
        out = voxels.points_mm @ np.array(self.open_to)
        level, _ = levels(voxels, np.array(self.along))
        outline = np.full(level.max() + 1, -np.inf)
        np.maximum.at(outline, level, out)
        before, after = np.maximum.accumulate(outline), np.maximum.accumulate(outline[::-1])[::-1]
        depth = np.where(np.isfinite(outline), np.minimum(before, after) - outline, 0)
        if depth.max() <= 0:
            raise InputError(
                structures.source,
                f"the outline of the structure {self.label} has no notch where {self!r} looks",
                "Check the label map beside the CT, or change `within` in the landmark file",
            )
        tolerance = 0.5 * voxels.spacing_mm.min()
        bottom = (depth[level] >= depth.max() - tolerance) & (out >= outline[level] - tolerance)
        return voxels.points_mm[bottom].mean(axis=0)


class Junction(_Regional):
    """Where two structures meet: the middle of the voxels of each that are close to the other.

    With a `direction`, the outermost point of that contact zone instead.
    """

    kind: Literal["junction"]
    labels: tuple[Label, Label] = Field(description="names (or ids) of both")
    distance_mm: float = Field(
        gt=0, description="a voxel is close to the other structure up to this distance of centres"
    )
    direction: Direction | None = Field(
        None,
        description="where outwards is: a side of the patient, or [right, anterior, superior]; null: "
        "the middle of the zone is taken",
    )
    cap_mm: float = Field(
        3.0, gt=0, description="with a `direction`: thickness of the outermost cap that is averaged"
    )

    def locate(self, structures: Structures) -> np.ndarray:
        one, other = (structures.voxels(label) for label in self.labels)
        near = one.near(other, self.distance_mm)
        if not len(near.indices):
            raise InputError(
                structures.source,
                f"has {told(self.labels[0])} and {told(self.labels[1])} nowhere within "
                f"{self.distance_mm} mm of each other",
                "Check the two labels, or raise `distance_mm` in the landmark file",
            )
        both = near.and_those_of(other.near(one, self.distance_mm))
        contact = self._limited(self.labels[0], both, structures)
        if self.direction is None:
            return contact.points_mm.mean(axis=0)
        return outermost(contact, np.array(self.direction), self.cap_mm)


class _Vertebral(_Recipe):
    """A recipe in the frame of a vertebra."""

    label: Label
    spine: tuple[Label, Label] = Field(
        description="names (or ids) of an upper and a lower vertebra, e.g. its neighbours; the line "
        "that joins their bodies is the spine's"
    )

    @field_validator("spine")
    @classmethod
    def _two_vertebrae(cls, spine: tuple[Structure, Structure]) -> tuple[Structure, Structure]:
        if spine[0] == spine[1]:
            raise ValueError("name two different vertebrae, the upper one first")
        return spine


class VertebralCorner(_Vertebral):
    """A corner of a vertebra's body (not of its processes) as seen from the front."""

    kind: Literal["vertebral_corner"]
    side: Literal["left", "right"] = Field(description="the patient's")
    end: Literal["superior", "inferior"] = Field(description="upper or lower end of the body")

    def locate(self, structures: Structures) -> np.ndarray:
        vertebra = structures.vertebra(self.label, self.spine)
        return vertebra.corner(
            1 if self.side == "right" else -1, 1 if self.end == "superior" else -1
        )


class SpinousTip(_Vertebral):
    """The tip of a vertebra's spinous process."""

    kind: Literal["spinous_tip"]

    def locate(self, structures: Structures) -> np.ndarray:
        return structures.vertebra(self.label, self.spine).spinous_tip()


class Bifurcation(_Recipe):
    """Where an upright tube splits, e.g. the carina: the ridge between its first two branches.

    Going down level by level, the tube has split where two separate parts each have a fifth of the
    level, there and one level further down. The ridge is midway between the branches, half a level
    above the first split level.
    """

    kind: Literal["bifurcation"]
    label: Label

    def locate(self, structures: Structures) -> np.ndarray:
        voxels = structures.voxels(self.label)
        level, _ = levels(voxels, SUPERIOR)
        branches = [_branches(voxels.where(level == index)) for index in range(level.max() + 1)]
        for upper, lower in zip(branches[:0:-1], branches[-2::-1], strict=True):
            if len(upper) >= 2 and len(lower) >= 2:
                return _ridge(*upper[:2]) + SUPERIOR * 0.5 * voxels.spacing_mm.max()
        raise InputError(
            structures.source,
            f"has a {told(self.label)} that does not split in two going down",
            "Use a label map whose trachea includes both main bronchi, or import the carina",
        )


def _branches(voxels: Voxels) -> list[Voxels]:
    """Return the separate parts that have at least a fifth of the voxels, largest first."""
    if not len(voxels.indices):
        return []
    part = voxels.parts()
    size = np.bincount(part)
    order = np.argsort(-size, kind="stable")
    return [voxels.where(part == index) for index in order if size[index] >= 0.2 * len(part)]


def _ridge(first: Voxels, second: Voxels) -> np.ndarray:
    """Return the middle (3,) of the gap between two branches."""
    gap_mm = np.linalg.norm(first.points_mm[:, None] - second.points_mm[None], axis=-1)
    close = gap_mm <= gap_mm.min() + first.spacing_mm.min()
    sides = first.points_mm[close.any(axis=1)], second.points_mm[close.any(axis=0)]
    return (sides[0].mean(axis=0) + sides[1].mean(axis=0)) / 2


class SternalAngle(_Recipe):
    """The angle of Louis: the front of the joint between manubrium and body of the sternum.

    Seen from the side, the front of the sternum is two nearly straight pieces that meet at the
    joint. The pair of straight lines that fits it best, without its rounded upper fifth and the
    xiphoid's lower 15 %, gives the level; the point is the front of the sternum there, in the
    middle third of its width.
    """

    kind: Literal["sternal_angle"]
    label: Label

    def locate(self, structures: Structures) -> np.ndarray:
        voxels = structures.voxels(self.label)
        level, height = levels(voxels, SUPERIOR)
        front = np.array([_front(voxels.points_mm[level == index]) for index in np.unique(level)])
        height = height[np.isfinite(height)]
        low, high = height.min() + np.array([0.15, 0.8]) * np.ptp(height)
        straight = (height >= low) & (height <= high)
        knee = _knee(height[straight], front[straight, 1])
        right, anterior = (np.interp(knee, height, front[:, axis]) for axis in (0, 1))
        return np.array([right, anterior, knee])


def _front(points_mm: np.ndarray) -> tuple[float, float]:
    """Return (right, anterior) of the front of one level, in the middle third of its width."""
    low, high = np.percentile(points_mm[:, 0], [100 / 3, 200 / 3])
    middle = (low + high) / 2
    aside = np.abs(points_mm[:, 0] - middle)
    central = points_mm[aside <= max((high - low) / 2, aside.min())]
    return middle, float(np.percentile(central[:, 1], 95))


def _knee(x: np.ndarray, y: np.ndarray) -> float:
    """Return where the two connected straight lines that fit y(x) best meet, away from the ends."""

    def misfit(knee: float) -> float:
        design = np.stack([np.ones_like(x), x, np.maximum(x - knee, 0)], axis=1)
        return float(np.linalg.norm(design @ np.linalg.lstsq(design, y, rcond=None)[0] - y))

    first, last = np.quantile(x, [0.2, 0.9])
    return float(min(np.linspace(first, last, 141), key=misfit))


Recipe = Annotated[
    Centroid
    | Ball
    | Extreme
    | Notch
    | Junction
    | VertebralCorner
    | SpinousTip
    | Bifurcation
    | SternalAngle,
    Field(discriminator="kind"),
]
