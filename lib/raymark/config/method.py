"""A method: its network and its training."""

from typing import Any, Literal

from pydantic import Field

from raymark.core.sections import Name, PositiveRange, Section


class Augmentation(Section):
    """Random changes of a training image, drawn on the device."""

    rotation_deg: float = Field(0.0, ge=0, description="largest rotation about the middle")
    shift_px: float = Field(0.0, ge=0, description="largest shift along each axis")
    scale: PositiveRange = Field((1.0, 1.0), description="range of the magnification")
    contrast: PositiveRange = Field((1.0, 1.0), description="range of the gamma")
    noise: float = Field(0.0, ge=0, description="standard deviation, in units of the image's own")
    tool_probability: float = Field(0.0, ge=0, le=1, description="chance of an occluding tool")
    flip_probability: float = Field(
        0.0, ge=0, le=1, description="chance of a mirrored image, left and right landmarks swapped"
    )


class Training(Section):
    """The loop that all methods share."""

    epochs: int = Field(30, gt=0, le=10**6, description="passes over the training views")
    views_seen: int | None = Field(
        None,
        gt=0,
        description="views to train on in all, in the place of `epochs`: the whole number of epochs, "
        "at least one, that comes nearest",
    )
    batch: int = Field(1, gt=0, description="views per step, over all devices")
    learning_rate: float = Field(1e-5, gt=0, description="at the start of the schedule")
    optimizer: Literal["adam", "adamw"] = Field("adam", description="the optimiser")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="how the learning rate changes over the epochs"
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        "32-true", description="number format of the arithmetic"
    )
    threads: int = Field(
        2,
        gt=0,
        description="threads of the arithmetic on a CPU; rounding depends on it, so it is set here "
        "and does not follow the number of cores",
    )
    gradient_clip: float | None = Field(None, gt=0, description="largest gradient norm")
    patience: int | None = Field(None, gt=0, description="epochs without a better validation loss")
    diverged_above_share: float = Field(
        0.25,
        gt=0,
        description="a training whose validation RMSE never falls below this share of the image's "
        "diagonal counts as diverged; points drawn anywhere are 0.29 of it from the middle",
    )
    augmentation: Augmentation = Augmentation()


class ByType(Section):
    """Landmarks of one type share a channel, in which several instances are found."""

    at_most: int = Field(8, gt=0, description="instances of a type in one image")
    distance_px: float = Field(
        8.0, gt=0, description="an instance nearer than this to a surer one is dropped, image px"
    )


class Method(Section):
    """One network with its loss and its training."""

    name: Name = Field(description="the file's own name")
    title: str = Field(description="how tables and figures call it")
    module: str = Field(description="module under raymark.methods, e.g. cpm")
    network: dict[str, Any] = Field({}, description="checked by the module's own Config")
    start_from: Name | None = Field(
        None,
        description="method whose model, of the same data set and seed, the training starts from; "
        "null starts from random weights",
    )
    needs_3d: bool = Field(
        False,
        description="the loss needs 3D landmarks and cameras: not for imported images",
    )
    training: Training = Training()
    detection_threshold: float = Field(0.4, description="confidence below this: not detected")
    by_type: ByType | None = Field(
        None,
        description="predict the landmark file's types as instances without names; null: a channel "
        "for each landmark",
    )
