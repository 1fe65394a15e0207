"""The configuration's JSON schemas and its reference in words, both made from the models."""

import json
from pathlib import Path

from raymark.config.dataset import Dataset
from raymark.config.imports import Import2d
from raymark.config.method import Method
from raymark.config.project import Config
from raymark.core.files import atomic
from raymark.core.sections import Section
from raymark.correspondence.config import Correspondence

FILES = {
    "config": Config,
    "dataset": Dataset,
    "method": Method,
    "correspondence": Correspondence,
    "import": Import2d,
}

INTRODUCTION = """# Configuration

`config.yaml` is the demo. It names the subject sheet, the data set files and the method files; give
Snakemake any other main file with `--configfile`, and its values are laid over these: `own.yaml`, to copy
for your own CTs, says something for each of them. A data set or method file may carry `presets`: named
overrides that the main file's `preset` chooses.

The tables below are made from the models in `lib/raymark/` by `make schemas`; the same command writes the
JSON schemas in `workflow/schemas/`. Unknown keys are refused before any job starts.
"""


def schema_text(model: type[Section]) -> str:
    """Return the JSON schema (2020-12) of one kind of file."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(schema | model.model_json_schema(), indent=2) + "\n"


def reference_text() -> str:
    """Return config/README.md: one table of keys for every section."""
    seen: dict[str, dict] = {}
    for name, model in FILES.items():
        schema = model.model_json_schema()
        definitions = schema.pop("$defs", {})
        seen.setdefault(f"{name} file", schema)
        for section, definition in definitions.items():
            seen.setdefault(section, definition)
    return INTRODUCTION + "".join(_section_text(title, schema) for title, schema in seen.items())


def write_reference(root: str | Path) -> None:
    """Write the schemas and the reference below the project's `root`."""
    texts = {f"workflow/schemas/{n}.schema.json": schema_text(m) for n, m in FILES.items()}
    texts["config/README.md"] = reference_text()
    for name, text in texts.items():
        with atomic(Path(root) / name) as partial:
            partial.write_text(text, encoding="utf-8")


def _section_text(title: str, schema: dict) -> str:
    lines = [f"\n## {title}\n", f"{' '.join(schema.get('description', '').split())}\n"]
    lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
    required = schema.get("required", [])
    for key, field in schema.get("properties", {}).items():
        default = "**required**" if key in required else f"`{json.dumps(field.get('default'))}`"
        if isinstance(field.get("default"), dict):
            default = "see its table"
        lines.append(f"| `{key}` | {_type(field)} | {default} | {field.get('description', '')} |")
    return "\n".join(lines) + "\n"


def _type(field: dict) -> str:
    """Say in words what values a key takes."""
    if "$ref" in field:
        return field["$ref"].split("/")[-1]
    if "anyOf" in field or "oneOf" in field:
        return " or ".join(_type(option) for option in field.get("anyOf") or field["oneOf"])
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if field.get("type") == "array":
        if "prefixItems" in field:
            return f"{len(field['prefixItems'])} {_type(field['prefixItems'][0])}s"
        return f"list of {_type(field['items'])}"
    limits = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = ", ".join(f"{sign} {field[k]:g}" for k, sign in limits.items() if k in field)
    return field.get("type", "any") + (f" ({bounds})" if bounds else "")
