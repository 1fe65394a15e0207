"""A method: its network and its training."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from raymark.core.sections import Name, PositiveRange, Section


class Augmentation(Section):
    """Random changes of each training image, anew in every epoch; the defaults change nothing."""

    rotation_deg: float = Field(
        0.0, ge=0, description="largest rotation about the middle, either way"
    )
    shift_px: float = Field(
        0.0, ge=0, description="largest shift along each axis, either way, image px"
    )
    scale: PositiveRange = Field((1.0, 1.0), description="range of the magnification")
    bend_px: float = Field(
        0.0,
        ge=0,
        description="largest sideways shift of rows, along a smooth wave from top to bottom, image px; only "
        "for methods without `needs_3d`: no camera sees such a body",
    )
    contrast: PositiveRange = Field(
        (1.0, 1.0), description="range of the gamma: grey values from 0 to 1 are raised to it"
    )
    noise: float = Field(
        0.0,
        ge=0,
        description="standard deviation of added noise, as a share of that of the image",
    )
    evened: float = Field(
        0.0,
        ge=0,
        le=1,
        description="largest share of the slow changes of brightness that is taken away, as X-ray systems "
        "do that compress the dynamic range",
    )
    blur_px: float = Field(
        0.0, ge=0, description="largest standard deviation of a Gaussian blur, image px"
    )
    inversion_probability: float = Field(
        0.0, ge=0, le=1, description="chance of an image with bone dark"
    )
    letter_probability: float = Field(
        0.0, ge=0, le=1, description="chance of a letter of lead on the image"
    )
    collimation_probability: float = Field(
        0.0, ge=0, le=1, description="chance of edges that a collimator shuts out"
    )
    tool_probability: float = Field(
        0.0, ge=0, le=1, description="chance of a rod painted over the image, without physics"
    )
    flip_probability: float = Field(
        0.0, ge=0, le=1, description="chance of a mirrored image, left and right landmarks swapped"
    )


class Training(Section):
    """The training, in the one loop that all methods share."""

    epochs: int = Field(30, gt=0, le=10**6, description="passes over the training views")
    views_seen: int | None = Field(
        None,
        gt=0,
        description="views to train on in all: the whole number of epochs, at least one, that comes "
        "nearest; null: `epochs` counts",
    )
    batch: int = Field(1, gt=0, description="views per step, over all devices together")
    learning_rate: float = Field(1e-5, gt=0, description="that of the first step")
    optimizer: Literal["adam", "adamw"] = Field("adam", description="the optimiser")
    schedule: Literal["constant", "cosine"] = Field(
        "constant",
        description="how the learning rate goes on: as it is, or down to 0 along half a cosine",
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        "32-true", description="format of the numbers: 32 bits, or 16 wherever that is enough"
    )
    threads: int = Field(
        2,
        gt=0,
        description="threads of the arithmetic on a CPU; rounding depends on it, so it is set here "
        "and does not follow the number of cores",
    )
    gradient_clip: float | None = Field(
        None, gt=0, description="largest norm of the gradient; null: no limit"
    )
    patience: int | None = Field(
        None,
        gt=0,
        description="the training stops after so many epochs without a lower validation loss; null: "
        "never before its end",
    )
    diverged_above_share: float = Field(
        0.25,
        gt=0,
        description="a training whose validation RMSE never falls below this share of the image's "
        "diagonal counts as diverged; points drawn anywhere are 0.29 of it from the middle",
    )
    augmentation: Augmentation = Augmentation()


class ByType(Section):
    """Landmarks of one type (docs/landmarks.md) share a channel, in which several instances are found."""

    at_most: int = Field(8, gt=0, description="most instances of a type in one image")
    distance_px: float = Field(
        8.0, gt=0, description="an instance nearer than this to a surer one is dropped, image px"
    )


class Method(Section):
    """One network with its loss and its training (docs/adding-a-method.md)."""

    name: Name = Field(description="the file's own name, without .yaml")
    title: str = Field(description="what tables and figures call it")
    module: str = Field(
        description="the network's code: a module of lib/raymark/methods, without .py"
    )
    network: dict[str, Any] = Field(
        {}, description="the network's own settings, as its module has them"
    )
    start_from: Name | None = Field(
        None,
        description="name of the method whose model, of the same data set and seed, the training starts "
        "from; null: random weights",
    )
    refines: Name | None = Field(
        None,
        description="name of the method whose points a second stage (module `patches`) refines; its model, "
        "of the same data set and seed, is trained first and becomes a part of this one",
    )
    reduced_height_px: int | None = Field(
        None,
        ge=16,
        description="the network sees higher images reduced, by the whole number that brings them nearest "
        "to this height; px of its settings and of the augmentation are px of these; null: as they are",
    )
    needs_3d: bool = Field(
        False,
        description="whether the loss needs 3D landmarks and cameras, which imported images lack",
    )
    training: Training = Training()
    detection_threshold: float = Field(
        0.4, description="a landmark of less confidence, as the module measures it, is not detected"
    )
    by_type: ByType | None = Field(
        None,
        description="find landmarks of the landmark file's `types` as instances without names; null: "
        "each landmark by its name",
    )

    @property
    def first(self) -> str | None:
        """The method whose model must be there before this one is trained."""
        return self.start_from or self.refines

    def trained_by(self) -> dict[str, Any]:
        """Return what a training depends on: not its title, nor the limits by which results are read."""
        read_by: Any = {
            "title": True,
            "detection_threshold": True,
            "training": {"diverged_above_share"},
        }
        return self.model_dump(mode="json", exclude=read_by)

    def reduction(self, height_px: int) -> int:
        """Return how many times images of this height are reduced."""
        return max(1, round(height_px / (self.reduced_height_px or height_px)))

    @model_validator(mode="after")
    def _bends_have_no_camera(self) -> Self:
        if self.needs_3d and self.training.augmentation.bend_px:
            raise ValueError(
                "`bend_px` goes with no method that `needs_3d`: no camera sees a bent image"
            )
        return self

    @model_validator(mode="after")
    def _second_stages_are_no_more(self) -> Self:
        if self.refines and (self.start_from or self.by_type or self.reduced_height_px):
            others = "`start_from`, `by_type` and `reduced_height_px`"
            raise ValueError(f"`refines` goes with none of {others}")
        return self
