"""The JSON schemas of the configuration's files, made from the models that check them."""

import json
from dataclasses import dataclass
from importlib import import_module
from typing import Any, get_args

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from raymark import methods
from raymark.config.dataset import Dataset
from raymark.config.imports import Calibrated, Import2d
from raymark.config.method import Method
from raymark.config.papers import Paper
from raymark.config.presets import Preset
from raymark.config.project import Config
from raymark.correspondence.config import Correspondence
from raymark.landmarks.table import LandmarkSet

PATH = "workflow/schemas/{kind}.schema.json"
WHOLE_NUMBER = "^-?[0-9]+$"  # as a key, which JSON has as a string
DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True)
class FileKind:
    """A kind of file: its title, with an article, where the shipped ones are, and the model of it."""

    title: str
    shipped: str
    model: type
    presets: bool = False  # may it carry them


KINDS = {
    "config": FileKind("the main file", "config/*.yaml", Config),
    "dataset": FileKind("a data set file", "config/datasets/*.yaml", Dataset, presets=True),
    "method": FileKind("a method file", "config/methods/*.yaml", Method, presets=True),
    "import": FileKind("an import file", "config/import/*.yaml", Import2d),
    "calibrated": FileKind("a calibrated data set's file", "config/calibrated/*.yaml", Calibrated),
    "correspondence": FileKind(
        "the correspondence file", "config/correspondence.yaml", Correspondence, presets=True
    ),
    "landmarks": FileKind("a landmark file", "config/recipes/*.yaml", LandmarkSet),
    "paper": FileKind("a paper file", "config/papers/*.yaml", Paper),
}

PRESETS = {
    "type": "object",
    "additionalProperties": True,
    "default": {},
    "description": f"below the names {', '.join(get_args(Preset))}: keys of this file, laid over its own "
    "where the main file's `preset` is that name",
}


class _JsonSchema(GenerateJsonSchema):
    """Pydantic's schemas, exact about the keys of mappings, and without titles that repeat the keys."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def dict_schema(self, schema: Any) -> dict[str, Any]:
        result = super().dict_schema(schema)
        if schema["keys_schema"]["type"] == "int":
            result["propertyNames"] = {"pattern": WHOLE_NUMBER}
        if "patternProperties" in result:
            result["additionalProperties"] = False
        return result


def schema_text(kind: str) -> str:
    """Return the JSON schema of one kind of file."""
    schema = schema_of(KINDS[kind])
    if KINDS[kind].presets:
        _type_presets(schema)
    return json.dumps({"$schema": DIALECT} | schema, indent=2, ensure_ascii=False) + "\n"


def schema_of(file: FileKind) -> dict:
    """Return the schema of a file; its presets are any mapping here."""
    schema = TypeAdapter(file.model).json_schema(schema_generator=_JsonSchema)
    if file.model is Method:
        _add_networks(schema)
    if file.presets:
        schema["properties"]["presets"] = dict(PRESETS)
    return schema


def resolved(node: dict, definitions: dict) -> dict:
    """Return a schema's node with what it refers to in the place of the reference."""
    if "$ref" not in node:
        return node
    own = {key: value for key, value in node.items() if key != "$ref"}
    return definitions[node["$ref"].split("/")[-1]] | own


def _add_networks(schema: dict) -> None:
    """Say what `network` is for each module that there is; for any other it stays any mapping."""
    schema["allOf"] = []
    for module in methods.names():
        network = import_module(f"{methods.__name__}.{module}").Config.model_json_schema(
            schema_generator=_JsonSchema, ref_template=f"#/$defs/{module}.{{model}}"
        )
        for name, definition in network.pop("$defs", {}).items():
            schema["$defs"][f"{module}.{name}"] = definition
        schema["$defs"][module] = network | {"title": module}
        condition = {"properties": {"module": {"const": module}}, "required": ["module"]}
        then = {"properties": {"network": {"$ref": f"#/$defs/{module}"}}}
        schema["allOf"].append({"if": condition, "then": then})


def _type_presets(schema: dict) -> None:
    """Say that each preset has keys of the file, none of them needed."""
    definitions = schema["$defs"]
    own = {key: node for key, node in schema["properties"].items() if key != "presets"}
    preset = _optional({"type": "object", "properties": own}, definitions)
    definitions["preset"] = preset | {"additionalProperties": False}
    choice = {"anyOf": [{"$ref": "#/$defs/preset"}, {"type": "null"}]}
    schema["properties"]["presets"] |= {
        "properties": dict.fromkeys(get_args(Preset), choice),
        "additionalProperties": False,
    }
    for case in schema.get("allOf", []):  # a network's keys follow from the file's own `module`
        properties = case["then"]["properties"]
        own = {key: _optional(node, definitions) for key, node in properties.items()}
        properties["presets"] = {"additionalProperties": {"properties": own}}


def _optional(node: dict, definitions: dict) -> dict:
    """Return the schema of what is laid over a value: mappings merge, so that they need no key.

    Lists are replaced as wholes; their entries stay as they are.
    """
    node = dict(resolved(node, definitions))
    for key in ("required", "minProperties", "discriminator"):
        node.pop(key, None)
    if options := node.pop("oneOf", None) or node.get("anyOf"):
        node["anyOf"] = [_optional(option, definitions) for option in options]
    for key in ("properties", "patternProperties"):
        if key in node:
            node[key] = {name: _optional(value, definitions) for name, value in node[key].items()}
    return node
