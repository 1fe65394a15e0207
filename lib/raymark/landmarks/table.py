"""Landmarks of a subject: which there are, where they come from, and whether they can be right.

The landmark table is a pandas DataFrame with the columns subject, landmark, x_mm, y_mm, z_mm (world
RAS) and origin: where the point came from, e.g. ``slicer``, ``csv`` or ``recipe:pelvis``.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Self

import numpy as np
import pandas as pd
from pydantic import Field, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from raymark.core.errors import InputError
from raymark.core.files import atomic
from raymark.core.names import WORDS, flip_pairs, mirrored
from raymark.core.sections import Name, Section, checked
from raymark.core.stored_tables import stored_table
from raymark.core.yaml_files import read_yaml
from raymark.ct import LabelMap, Volume
from raymark.landmarks.plausible import likely_mistake
from raymark.landmarks.point_files import POINT_FILES, XYZ, GridOf, read_points
from raymark.landmarks.recipes import Recipe
from raymark.landmarks.structures import Structures

COLUMNS = ["subject", "landmark", *XYZ, "origin"]


LandmarkName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_]*$")]


class Landmark(Section):
    """One landmark of an anatomy."""

    name: LandmarkName = Field(
        description="words joined by `_`; one that has the word left or right needs its other side too"
    )
    title: str | None = Field(
        None, description="what people call it, for the reader of the file; null: nothing else"
    )
    recipe: Recipe | None = Field(
        None,
        description="how to compute it from a label map; null: it comes from a file of points",
    )


class LandmarkSet(Section):
    """The landmarks of an anatomy, in order (docs/landmarks.md)."""

    name: SkipJsonSchema[str]  # the stem of the landmark file: not one of its keys
    landmarks: list[Landmark] = Field(
        min_length=1, description="their order is that of images, shards and tables"
    )
    others: dict[str, LandmarkName] = Field(
        {},
        alias="names",
        description="names in files of points, such as Slicer's F_1-1, each with the landmark it means",
    )
    types: dict[Name, list[LandmarkName]] = Field(
        {}, description="landmarks that look alike: their names, by that of what they are"
    )

    @field_validator("landmarks")
    @classmethod
    def _names_are_unique_and_paired(cls, landmarks: list[Landmark]) -> list[Landmark]:
        names = [landmark.name for landmark in landmarks]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"the landmark {name!r} is listed twice")
            if (
                any(word in name.lower().split("_") for word in WORDS)
                and mirrored(name) not in names
            ):
                raise ValueError(f"{name!r} lacks its other side, {mirrored(name)!r}")
        return landmarks

    @model_validator(mode="after")
    def _types_are_of_landmarks(self) -> Self:
        names, typed = self.names, [name for members in self.types.values() for name in members]
        for name in typed:
            if name not in names:
                raise ValueError(f"{name!r} is of a type but not among the landmarks")
            if typed.count(name) > 1:
                raise ValueError(f"{name!r} is in two types, or twice in one")
        for other, name in self.others.items():
            if name not in names:
                raise ValueError(
                    f"`names` calls {other!r} {name!r}, which is not among the landmarks"
                )
        for kind in self.types:
            if kind in names:
                raise ValueError(f"{kind!r} is the name of a landmark and of a type")
        return self

    @property
    def names(self) -> list[str]:
        return [landmark.name for landmark in self.landmarks]

    @property
    def kind_of(self) -> dict[str, str]:
        """The type of every landmark that has one."""
        return {name: kind for kind, members in self.types.items() for name in members}

    @property
    def flip_pairs(self) -> list[tuple[str, str]]:
        """The names that swap when an image is mirrored, as (left, right)."""
        return flip_pairs(self.names)


def read_landmark_set(path: str | Path) -> LandmarkSet:
    """Read a landmark file (config/recipes/*.yaml); InputError names the file and the key."""
    if str(path).lower().endswith(POINT_FILES):
        problem = "is a file of points, where a list of names is needed"
        remedy = (
            "Name a landmark file (docs/landmarks.md, A landmark file) under `landmarks`; points "
            "belong into the column `landmarks` of the subject sheet"
        )
        raise InputError(path, problem, remedy)
    values = read_yaml(path)
    if "name" in values:
        raise InputError(path, "the key 'name' is unknown", "The file's own name is the set's name")
    return checked(LandmarkSet, {"name": Path(path).stem, **values}, path)


def landmark_table(
    subject: str, names: Iterable[str], points_mm: np.ndarray, origin: str
) -> pd.DataFrame:
    """Return a landmark table of points (n, 3) in world RAS mm."""
    points = np.asarray(points_mm, dtype=float).reshape(-1, 3)
    table = pd.DataFrame({"subject": subject, "landmark": list(names)})
    table[XYZ] = points
    return table.assign(origin=origin)[COLUMNS]


def read_landmark_table(path: str | Path) -> pd.DataFrame:
    """Read a landmark table as `write_landmarks` wrote it; InputError where it is none."""
    again = "Make it again with raymark landmarks, or raymark virtual-patient"
    return stored_table(path, "a landmark table", again, COLUMNS, numbers=XYZ)


def read_landmarks(
    path: str | Path,
    subject: str,
    names: Mapping[str, str] | None = None,
    ct: GridOf | None = None,
) -> tuple[pd.DataFrame, list[str]]:
    """Read a subject's landmark table from a file of points, with the doubts about it (`read_points`)."""
    points, doubts = read_points(path, subject, names, ct)
    return points.assign(subject=subject)[COLUMNS], doubts


def compute_landmarks(
    labels: LabelMap, landmark_set: LandmarkSet, subject: str, source: str | Path
) -> pd.DataFrame:
    """Compute every landmark of the set from a label map of any orientation.

    `source` names the label map in messages. A landmark without a recipe, or a recipe whose structure
    the map lacks, raises InputError, with the landmark's name.
    """
    structures = Structures(labels, source)
    recipes = []
    for landmark in landmark_set.landmarks:
        if landmark.recipe is None:
            raise InputError(
                landmark_set.name,
                f"the landmark {landmark.name!r} has no recipe",
                "Add one, or import the landmarks from a file of points",
            )
        recipes.append(landmark.recipe)
    points = [
        _located(recipe, name, structures)
        for recipe, name in zip(recipes, landmark_set.names, strict=True)
    ]
    origin = f"recipe:{landmark_set.name}"
    return landmark_table(subject, landmark_set.names, np.array(points), origin)


def structures_of(landmark_set: LandmarkSet) -> list[str | int]:
    """Return the names (or ids) of the structures that the set's recipes need, each once."""
    names: dict[str | int, None] = {}
    for landmark in landmark_set.landmarks:
        if landmark.recipe is not None:
            names |= dict.fromkeys(landmark.recipe.structures())
    return list(names)


def _located(recipe: Recipe, landmark: str, structures: Structures) -> np.ndarray:
    try:
        return recipe.locate(structures)
    except InputError as error:
        raise InputError(
            error.source, f"{error.problem} (for the landmark {landmark!r})", error.remedy
        ) from None


def needed_names(given: Iterable[str], used: Iterable[str], known: Sequence[str]) -> list[str]:
    """Return which of a landmark file's names, `known`, a subject must have: the `used`, the `given`."""
    wanted = {*given, *used}
    return [name for name in known if name in wanted]


def check_landmarks(
    table: pd.DataFrame,
    expected_names: Sequence[str],
    volume: Volume,
    flip_pairs: Sequence[tuple[str, str]],
    source: str | Path,
) -> tuple[pd.DataFrame, list[str]]:
    """Return one subject's table in the order of `expected_names`, and doubts; or raise InputError.

    Refused are unknown, missing and duplicate names, coordinates that are not finite, points
    outside the volume's box (borders included), pairs (left, right) whose left point is not to the
    patient's left of the right one, and points that miss the body where another frame or unit would
    put nearly all of them into it. The same on bones alone is a doubt.
    """
    check_names(list(table["landmark"]), list(expected_names), source)
    table = table.set_index("landmark").loc[list(expected_names)].reset_index()[COLUMNS]
    _check_finite(table, source)
    mistake, sure = likely_mistake(table[XYZ].to_numpy(float), volume)
    _check_inside(table, volume, mistake, source)
    _check_sides(table, flip_pairs, source)
    if sure:
        raise InputError(
            source,
            "has points that lie beside the body, which would lie in it but for a mistake: "
            f"{mistake}",
            "Give them in world RAS mm, or in a file that states its frame and unit",
        )
    return table, [f"would fit the bones better but for a mistake: {mistake}?"] if mistake else []


def check_names(names: list[str], expected: list[str], source: str | Path) -> None:
    """See that `names` are those `expected`, each once, in any order."""
    known = f"Rename or remove it; known: {', '.join(expected)}"
    use = "Mark it, or list those to use under `use_landmarks` of the data set"
    problems = {
        "is there more than once": ({n for n in names if names.count(n) > 1}, "Keep one of them"),
        "is not among the landmarks of this data set": (set(names) - set(expected), known),
        "is missing": (set(expected) - set(names), use),
    }
    for problem, (wrong, remedy) in problems.items():
        if wrong:
            first = next(name for name in [*names, *expected] if name in wrong)
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            raise InputError(source, f"the landmark {first!r}{more} {problem}", remedy)


def _check_finite(table: pd.DataFrame, source: str | Path) -> None:
    points = table[XYZ].to_numpy(float)
    for name, point in zip(table["landmark"], points, strict=True):
        if not np.isfinite(point).all():
            raise InputError(
                source,
                f"the landmark {name!r} has no finite position: {point.tolist()}",
                "Place it, or leave it out of the data set",
            )


def _check_inside(table: pd.DataFrame, volume: Volume, mistake: str, source: str | Path) -> None:
    points = table[XYZ].to_numpy(float)
    to_voxel = np.linalg.inv(volume.affine)
    voxels = points @ to_voxel[:3, :3].T + to_voxel[:3, 3]
    outside = ((voxels < -0.5) | (voxels > np.array(volume.hu_xyz.shape) - 0.5)).any(axis=1)
    if outside.any():
        first = table.iloc[int(np.argmax(outside))]
        why = f"; a mistake that would explain it: {mistake}" if mistake else ""
        raise InputError(
            source,
            f"{outside.sum()} of {len(table)} landmarks lie outside the CT, first "
            f"{first['landmark']!r} at RAS {[round(float(first[axis]), 1) for axis in XYZ]} mm{why}",
            "Check that the points belong to this CT and that their frame (RAS or LPS) is declared",
        )


def _check_sides(table: pd.DataFrame, pairs: Sequence[tuple[str, str]], source: str | Path) -> None:
    right_of = dict(zip(table["landmark"], table["x_mm"], strict=True))
    swapped = [pair for pair in pairs if right_of[pair[0]] >= right_of[pair[1]]]
    if swapped:
        raise InputError(
            source,
            f"left and right are swapped in {len(swapped)} of {len(pairs)} pairs, first "
            f"{swapped[0][0]!r} and {swapped[0][1]!r}",
            "When nearly all are, the points' frame is wrong (LPS taken for RAS); when few are, "
            "exchange their names. Left is the patient's left",
        )


def write_landmarks(table: pd.DataFrame, path: str | Path, doubts: Sequence[str] = ()) -> None:
    """Write a landmark table as CSV with micrometres, atomically; doubts become a column of their own."""
    table = table[COLUMNS].assign(doubts="; ".join(doubts)) if doubts else table[COLUMNS]
    with atomic(path) as partial:
        table.to_csv(partial, index=False, float_format="%.3f", lineterminator="\n")
