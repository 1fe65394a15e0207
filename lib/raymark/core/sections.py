"""What every section of a configuration is: described keys, checked values, one-line errors."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from raymark.core.errors import InputError

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


SomeSection = TypeVar("SomeSection", bound=Section)


def checked(model: type[SomeSection], values: Any, source: str | Path) -> SomeSection:
    """Validate `values` as a `model`; an InputError names the file, the key and what is allowed."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            problem = f"the key {key!r} is unknown"
            remedy = f"Allowed here: {', '.join(_allowed_keys(model, first['loc']))}"
        else:
            problem = f"{key}: " * bool(key) + first["msg"].removeprefix("Value error, ")
            if not isinstance(first["input"], dict | list):  # those are whole sections
                problem += f" (got {repr(first['input'])[:80]})"
            remedy = "See config/README.md for what each key means and allows"
        raise InputError(source, problem, remedy) from None


def flattened(values: dict, above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value of nested settings with its dotted key, training.epochs."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flattened(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _allowed_keys(model: type[BaseModel], location: tuple) -> list[str]:
    """List the keys of the section that `location` (ending in an unknown key) points into."""
    schema = model.model_json_schema()
    node = schema
    for part in location[:-1]:
        node = _resolve(schema, node)
        if "oneOf" in node:
            node = schema["$defs"][node["discriminator"]["mapping"][part].split("/")[-1]]
        elif isinstance(part, int):
            node = node["items"]
        else:
            entries = {**node.get("patternProperties", {}), "": node.get("additionalProperties")}
            node = node.get("properties", {}).get(part) or next(filter(None, entries.values()), {})
    return sorted(_resolve(schema, node).get("properties", {}))


def _resolve(schema: dict, node: dict) -> dict:
    """Follow references to the section itself."""
    while "$ref" in node or "anyOf" in node:
        node = node["anyOf"][0] if "anyOf" in node else schema["$defs"][node["$ref"].split("/")[-1]]
    return node
