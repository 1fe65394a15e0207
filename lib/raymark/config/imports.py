"""The settings of an import of annotated 2D images (config/import/*.yaml)."""

import re
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from raymark.annotations import layouts
from raymark.config.dataset import Beliefs
from raymark.core.sections import Name, Section, checked
from raymark.core.yaml_files import read_yaml

Landmark = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_]*$")]


class PixelPitch(Section):
    """Millimetres by the pitch of the images' pixels."""

    kind: Literal["pixel"]
    pixel_mm: float | None = Field(
        None,
        gt=0,
        description="pitch of the files' own pixels where the annotations have no column `pixel_mm`; "
        "null takes what each file says, which PNG, JPEG, BMP and TIFF do not",
    )


class KnownDistance(Section):
    """Millimetres by a length that is known, or taken to be the same, in every image."""

    kind: Literal["distance"]
    mm: float = Field(gt=0, description="the length, mm")
    between: tuple[list[Landmark], list[Landmark]] = Field(
        description="two groups of landmarks; the length joins their middles"
    )


class Split(Section):
    """What every way to split images tells."""

    @property
    def view_sets(self) -> list[str] | None:
        """The sets that it makes; None where only its files tell."""
        return None

    @property
    def files(self) -> list[str]:
        """The files that it reads."""
        return []


class Folds(Split):
    """Cross-validation: patients are dealt into folds by a fixed shuffle."""

    kind: Literal["folds"]
    folds: int = Field(5, ge=3, description="number of folds; at most that of the patients")
    fold: int = Field(
        0,
        ge=0,
        description="this one, counted from 0, is `test`, the next one `validation`, the others "
        "`train`",
    )

    @property
    def view_sets(self) -> list[str]:
        return ["train", "validation", "test"]


class SplitTable(Split):
    """A table that says for every image where it belongs."""

    kind: Literal["table"]
    file: str = Field(
        description="CSV with the columns `image`, as in the annotations, and `view_set`: train, "
        "validation, or any other name for a set to evaluate on; an empty cell leaves the image out"
    )

    @property
    def files(self) -> list[str]:
        return [self.file]


class Official2015(Split):
    """The challenge's own split: images 1 to 150 train, 151 to 300 test1, 301 to 400 test2."""

    kind: Literal["official-2015"]
    validation: int = Field(
        15,
        gt=0,
        lt=150,
        description="so many of the training images, by a fixed shuffle, are `validation`",
    )

    @property
    def view_sets(self) -> list[str]:
        return ["train", "validation", "test1", "test2"]


class Whole(Split):
    """All images in one view set, e.g. a test set that comes apart."""

    kind: Literal["whole"]
    view_set: Name = Field("test", description="the set's name")

    @property
    def view_sets(self) -> list[str]:
        return [self.view_set]


class Registration(Section):
    """Images are registered to a cropped training image, by an affine map and mutual information."""

    template: str | None = Field(
        None,
        description="a training image, named as in the annotations; null takes the one whose "
        "landmarks lie nearest to the mean of all training images'",
    )
    margin: float = Field(
        0.15,
        ge=0,
        description="the crop is the box around the template's landmarks, widened on each side by "
        "this share of its size",
    )


class Import2d(Section):
    """Annotated X-rays of your own or of a public data set (docs/imports.md)."""

    name: Name = Field(
        description="the file's own name, without .yaml; experiments call the data set so"
    )
    title: str = Field(description="what tables and figures call it")
    images: str = Field(description="folder with the image files, at any depth below it")
    annotations: reduce(or_, layouts()) = Field(  # type: ignore[valid-type]
        discriminator="layout", description="the files with the landmarks, and their layout"
    )
    landmarks: list[Landmark] | None = Field(
        None,
        description="names in the layout's order, their left and right the patient's; null takes the "
        "layout's own",
    )
    names: dict[str, Landmark] = Field(
        {}, description="names in the annotations, each with the landmark that it means"
    )
    types: dict[Name, list[Landmark]] | None = Field(
        None,
        description="landmarks that look alike: their names, by that of what they are (docs/landmarks.md); "
        "null takes the layout's own",
    )
    flip_pairs: list[tuple[Landmark, Landmark]] | None = Field(
        None,
        description="names that swap in a mirrored image; null: those whose names differ "
        "by the side alone (left_asis and right_asis, L_ASIS and R_ASIS, ...)",
    )
    patient_pattern: str | None = Field(
        None,
        description="regular expression of which the first group that is found in the file's name is "
        "the patient, unless a column of the annotations says it; null: each image is a patient",
    )
    height_px: int = Field(
        512, gt=7, description="images are scaled to this height, their shape kept"
    )
    width_px: int = Field(
        512, gt=7, description="then cropped or padded about their middle to this width"
    )
    registration: Registration | None = Field(
        None,
        description="register all images to one of them; null: no more than scaled and cropped",
    )
    scale: PixelPitch | KnownDistance = Field(
        PixelPitch(kind="pixel"),
        discriminator="kind",
        description="what makes millimetres of pixels",
    )
    split: Folds | SplitTable | Official2015 | Whole = Field(
        Folds(kind="folds"),
        discriminator="kind",
        description="which image is to train, to validate, to test",
    )
    not_trained_on: list[str] = Field(
        [],
        description="images, as the annotations name them, left out of the view set `train`: those whose "
        "annotations have faults; in the other sets they stay",
    )
    primary_deg: float = Field(
        0.0,
        description="from where the images are taken, as tables show it: 0 is AP, 90 lateral",
    )
    secondary_deg: float = Field(0.0, description="likewise: negative is caudal, positive cranial")
    beliefs: Beliefs = Beliefs()
    images_per_shard: int = Field(100, gt=0, le=100, description="images in one file, at most")

    @property
    def files(self) -> list[str]:
        """The folder of the images, and every file or folder beside it that the import reads."""
        return [self.images, *self.annotations.files, *self.split.files]

    @property
    def known_landmarks(self) -> list[str]:
        """The landmarks' names as far as they are known before the data is read."""
        return self.landmarks or list(self.annotations.own_names)

    @property
    def known_types(self) -> dict[str, list[str]]:
        """The landmark types; those of the layout count for its own names alone."""
        own = {} if self.landmarks else self.annotations.own_types
        return own if self.types is None else self.types

    @field_validator("patient_pattern")
    @classmethod
    def _pattern_has_a_group(cls, pattern: str | None) -> str | None:
        try:
            groups = re.compile(pattern or "()").groups
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"is no regular expression: {error}") from None
        if not groups:
            raise ValueError("needs a group, in parentheses, around the patient")
        return pattern

    @field_validator("landmarks")
    @classmethod
    def _names_are_unique(cls, names: list[str] | None) -> list[str] | None:
        given = names or []
        for name in given:
            if given.count(name) > 1:
                raise ValueError(f"the landmark {name!r} is listed twice")
        return names


class Calibrated(Section):
    """A calibrated data set: X-rays of known pose, and the CTs that they are of (docs/imports.md)."""

    name: Name = Field(
        description="the file's own name, without .yaml; the subject sheet calls it so"
    )
    layout: Literal["deepfluoro", "exchange_folder"] = Field(
        description="DeepFluoro's HDF5 file, or the folder of volumes, X-rays and poses that DiffDRR's and "
        "xvr's users exchange"
    )
    file: str = Field(description="the file, or the folder")


def read_calibrated(path: str | Path) -> Calibrated:
    """Read the file of a calibrated data set; InputError names the file, the key and what is allowed."""
    return checked(Calibrated, read_yaml(path), path)


def read_import(path: str | Path) -> Import2d:
    """Read the settings of an import; InputError names the file, the key and what is allowed."""
    return checked(Import2d, read_yaml(path), path)
