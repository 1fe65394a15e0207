"""The configuration in words, config/README.md: what each key of each kind of file means.

A section is told at every place where a file may have it, with its defaults there: `training` of a method
file and `training` of the correspondence file are two.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from raymark.config.sources import Source
from raymark.config.subjects import Subject
from raymark.core.files import atomic
from raymark.core.sections import Name
from raymark.workflow.config_schemas import (
    KINDS,
    PATH,
    WHOLE_NUMBER,
    FileKind,
    resolved,
    schema_of,
    schema_text,
)

BOUNDS = {
    "minimum": "≥",
    "exclusiveMinimum": ">",
    "maximum": "≤",
    "exclusiveMaximum": "<",
    "multipleOf": "a multiple of",
}
TEXTS = {
    None: "string",
    TypeAdapter(Name).json_schema()["pattern"]: "name",
    WHOLE_NUMBER: "integer",
}
REFERENCE = "config/README.md"
SHEETS = [
    FileKind("the subject sheet", "config/subjects.tsv", Subject),
    FileKind("the table of sources", "config/sources.tsv", Source),
]

INTRODUCTION = """# Configuration

`config.yaml` is the demo. It names the subject sheet, the data set files and the method files; give
Snakemake any other main file with `--configfile`, and its values are laid over these: mappings merge,
everything else is replaced. `own.yaml`, to copy for your own CTs, says something for each of them.
Unknown keys are refused before any job starts.
"""

CONVENTIONS = """
Each heading below is a place in a file: `cohort.deformation` is the key `deformation` in the section
`cohort`, `experiments[]` is every entry of the list `experiments`, and `view_sets.NAME` is what stands
below each name that you choose. A section that is left out, or in part, has the defaults of its keys. A
*name* has small letters, digits and `_`. Paths count from the folder in which Snakemake runs.

**In an editor.** The first line of each file, `# yaml-language-server: $schema=…`, names its JSON schema.
Editors with the YAML language server (VS Code with Red Hat's extension *YAML*, Neovim, Emacs, Helix and
others) then complete keys, show what they mean and mark what is wrong. The path counts from the file
itself: in a copy elsewhere, `my/config.yaml` say, it is `../workflow/schemas/config.schema.json`.

This page and the schemas are made from the models in `lib/raymark/`, by `make schemas`.
"""


def reference_text() -> str:
    """Return config/README.md: for every place in every kind of file one table of keys."""
    texts = [INTRODUCTION, _contents(), CONVENTIONS]
    for file in [*KINDS.values(), *SHEETS]:
        schema = schema_of(file)
        texts += _sections(Place(file.title), schema, schema.get("$defs", {}))
    return "\n".join(texts)


def write_reference(root: str | Path) -> None:
    """Write the schemas and the reference below the project's `root`."""
    texts = {PATH.format(kind=kind): schema_text(kind) for kind in KINDS}
    texts[REFERENCE] = reference_text()
    for name, text in texts.items():
        with atomic(Path(root) / name) as partial:
            partial.write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class Place:
    """Where a section stands: in which file, at which keys, and which of several kinds it is there."""

    file: str
    keys: str = ""
    kind: str = ""

    def below(self, key: str) -> "Place":
        return replace(self, keys=f"{self.keys}.{key}".removeprefix("."))

    @property
    def heading(self) -> str:
        if not self.keys:
            return self.file.split(" ", 1)[1].capitalize()
        return f"`{self.keys}` of {self.file}" + f", `{self.kind}`" * bool(self.kind)

    @property
    def anchor(self) -> str:
        """What GitHub, and most viewers, make of the heading."""
        return re.sub(r"[^\w\- ]", "", self.heading.lower()).replace(" ", "-")


def _contents() -> str:
    lines = ["| file | shipped | what it says | JSON schema |", "|---|---|---|---|"]
    schemas = [PATH.format(kind=kind) for kind in KINDS]
    links = [f"[{Path(path).name}](../{path})" for path in schemas] + [""] * len(SHEETS)
    for file, link in zip([*KINDS.values(), *SHEETS], links, strict=True):
        place, meaning = Place(file.title), _meaning(schema_of(file))
        lines.append(
            f"| [{place.heading}](#{place.anchor}) | `{file.shipped}` | {meaning} | {link} |"
        )
    return "\n".join(lines)


def _sections(place: Place, section: dict, definitions: dict) -> Iterator[str]:
    """Yield the text of a section and of all below it, each at its place."""
    types = _Types(definitions)
    column = "column" if place.file in {sheet.title for sheet in SHEETS} else "key"
    lines = [
        f"{'###' if place.keys else '##'} {place.heading}",
        "",
        _linked(section["description"]),
    ]
    lines += ["", f"| {column} | type | default | meaning |", "|---|---|---|---|"]
    for key, field in section["properties"].items():
        required = key in section.get("required", [])
        default = "**required**" if required else f"`{_default(field, definitions)}`"
        cases = _cases(section, key) or {"": field}
        words = [types.words(node, place.below(key), case) for case, node in cases.items()]
        cells = f"`{key}`", " or ".join(words), default, _meaning(resolved(field, definitions))
        lines.append(f"| {' | '.join(cells)} |")
    yield "\n".join([*lines, ""])
    for below, node in types.sections:
        yield from _sections(below, node, definitions)


def _cases(section: dict, key: str) -> dict[str, dict]:
    """Return what a key is where that follows from another key, by what that one says."""
    cases = {}
    for case in section.get("allOf", []):
        [(other, value)] = case["if"]["properties"].items()
        if key in case["then"]["properties"]:
            cases[f"{other}: {value['const']}"] = case["then"]["properties"][key]
    return cases


def _default(field: dict, definitions: dict) -> str:
    """Return a key's default as JSON; of a section only what says which it is: each key has its own."""
    value = field.get("default")
    if "oneOf" in field:
        value = {key: value[key] for key in [field["discriminator"]["propertyName"]]}
    elif "properties" in resolved(field, definitions):
        value = {}
    return json.dumps(value, ensure_ascii=False)


def _meaning(node: dict) -> str:
    """Return the first paragraph of a description, for a cell of a table."""
    first = node.get("description", "").split("\n\n")[0]
    return _linked(" ".join(first.split())).replace("|", "\\|")


def _linked(text: str) -> str:
    """Return the text with links to the pages of docs/ that it names."""
    return re.sub(r"docs/([\w-]+\.md)", r"[\1](../\g<0>)", text)


class _Types:
    """Tells in words what values keys take, and collects the sections among them."""

    def __init__(self, definitions: dict):
        self.definitions = definitions
        self.sections: list[tuple[Place, dict]] = []

    def words(self, node: dict, place: Place, kind: str = "") -> str:
        """Return the words for a value; `kind` tells a section from others that may stand there."""
        node = resolved(node, self.definitions)
        if "properties" in node:
            place = replace(place, kind=kind or place.kind)
            self.sections.append((place, node))
            return f"[`{kind or place.keys}`](#{place.anchor})"
        if "oneOf" in node:
            key = node["discriminator"]["propertyName"]
            options = [resolved(option, self.definitions) for option in node["oneOf"]]
            kinds = [f"{key}: {option['properties'][key]['const']}" for option in options]
            pairs = zip(options, kinds, strict=True)
            return " or ".join(self.words(option, place, kind) for option, kind in pairs)
        if "anyOf" in node:
            return " or ".join(self.words(option, place) for option in node["anyOf"])
        if "prefixItems" in node:
            return f"[{', '.join(self.words(item, place) for item in node['prefixItems'])}]"
        if "items" in node:
            entries = self.words(node["items"], replace(place, keys=f"{place.keys}[]"))
            least = f", at least {node['minItems']}" if "minItems" in node else ""
            return f"list of {entries}{least}"
        if node["type"] == "object":
            return self._mapping(node, place.below("NAME"))
        return _scalar(node)

    def _mapping(self, node: dict, place: Place) -> str:
        if "patternProperties" in node:
            [(keys, values)] = node["patternProperties"].items()
        else:
            keys, values = (
                node.get("propertyNames", {}).get("pattern"),
                node["additionalProperties"],
            )
        if values is True:
            return "mapping"
        return f"mapping of {_text(keys)} to {self.words(values, place)}"


def _scalar(node: dict) -> str:
    if "const" in node or "enum" in node:
        return ", ".join(f"`{value}`" for value in node.get("enum", [node.get("const")]))
    if node["type"] == "string":
        return _text(node.get("pattern"))
    bounds = [f"{sign} {node[key]}" for key, sign in BOUNDS.items() if key in node]
    return node["type"] + f" ({', '.join(bounds)})" * bool(bounds)


def _text(pattern: str | None) -> str:
    return TEXTS.get(pattern, f"string like `{pattern}`")
