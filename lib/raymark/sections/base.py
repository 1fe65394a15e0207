"""What the sections share: the kinds of values, and that unknown keys are refused."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]


def _ascending(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError("a range is the lower limit first, then the upper")
    return limits


def _positive(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] <= 0:
        raise ValueError("its limits must be above 0")
    return limits


Seed = Annotated[int, Field(ge=0, lt=2**32)]
Range = Annotated[tuple[float, float], AfterValidator(_ascending)]
PositiveRange = Annotated[Range, AfterValidator(_positive)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
