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

from raymark.config.imports import Landmark
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
    WHOLE_NUMBER: "integer",
    TypeAdapter(Name).json_schema()["pattern"]: "name",
    TypeAdapter(Landmark).json_schema()["pattern"]: "landmark",
}
REFERENCE = "config/README.md"
SHEETS = [
    FileKind("the subject sheet", "config/subjects.tsv", Subject),
    FileKind("the table of sources", "config/sources.tsv", Source),
]

INTRODUCTION = """# Configuration

`config.yaml` is the demo. It names the subject sheet, the data set files and the method files; give
Snakemake any other main file with `--configfile`, or a single command with `--config`: it stands alone, and
what it leaves out has its default below, not the demo's value. Of several files after `--configfile` each is
laid over those before it, and `--config key=value` over all. `own.yaml` is there to copy for your own CTs.
Unknown keys are refused before any job starts.
"""

CONVENTIONS = """
Each heading below is a place in a file: `cohort.deformation` is the key `deformation` in the section
`cohort`, `experiments[]` is every entry of the list `experiments`, and `view_sets.NAME` is what stands
below each name that you choose. A key that is left out has its default, alone or with its whole section.
A *name* has small letters, digits and `_`; a *landmark*'s may have capital letters too. Paths count from
the folder in which Snakemake runs.

**In an editor.** The first line of each file, `# yaml-language-server: $schema=…`, names its JSON schema.
Editors with the YAML language server (VS Code with Red Hat's extension *YAML*, Neovim, Emacs, Helix and
others) then complete keys, show what they mean and mark what is wrong. The path counts from the file
itself: `my/config.yaml` has the same as `config/own.yaml`, and a data set file that you copy to `my/` needs
`../` once instead of twice.

This page and the schemas are made from the models in `lib/raymark/`, by `make schemas`.
"""


def reference_text() -> str:
    """Return config/README.md: for every place in every kind of file one table of keys."""
    texts = [INTRODUCTION, _contents(), CONVENTIONS]
    for file in [*KINDS.values(), *SHEETS]:
        schema = schema_of(file)
        texts += _sections(Place(file.title), schema, schema.get("$defs", {}))
    return "\n".join(dict.fromkeys(texts))  # kinds of a section may have the same one below them


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
        return Place(self.file, f"{self.keys}.{key}".removeprefix("."))

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
    paths = [PATH.format(kind=kind) for kind in KINDS]
    links = [f"[{Path(path).name}](../{path})" for path in paths] + ["" for _ in SHEETS]
    lines = ["| file | shipped | what it says | JSON schema |", "|---|---|---|---|"]
    for file, schema_link in zip([*KINDS.values(), *SHEETS], links, strict=True):
        place = Place(file.title)
        link, meaning = f"[{place.heading}](#{place.anchor})", _meaning(schema_of(file))
        lines.append(f"| {link} | `{file.shipped}` | {meaning} | {schema_link} |")
    return "\n".join(lines)


def _sections(place: Place, section: dict, definitions: dict) -> Iterator[str]:
    """Yield the text of a section and of all below it, each at its place."""
    types = _Types(definitions)
    column = "column" if place.file in {sheet.title for sheet in SHEETS} else "key"
    lines = [f"{'###' if place.keys else '##'} {place.heading}", ""]
    lines += [_linked(section.get("description", "")), ""]
    lines += [f"| {column} | type | default | meaning |", "|---|---|---|---|"]
    for key, field in section["properties"].items():
        required = key in section.get("required", [])
        default = "**required**" if required else f"`{_default(field, definitions)}`"
        words = _cases(types, place, section, key) or types.words(field, place.below(key))
        cells = f"`{key}`", words, default, _meaning(resolved(field, definitions))
        lines.append(f"| {' | '.join(cells)} |")
    yield "\n".join([*lines, ""])
    for below, node in types.sections:
        yield from _sections(below, node, definitions)


def _cases(types: "_Types", place: Place, section: dict, key: str) -> str:
    """Say what a key takes where that follows from what another one says; "" where it does not."""
    words = []
    for case in section.get("allOf", []):
        [(other, value)] = case["if"]["properties"].items()
        said = f"{other}: {value['const']}"
        if key in case["then"]["properties"]:
            there = replace(place.below(key), file=f"{place.file} with `{said}`")
            words.append(types.words(case["then"]["properties"][key], there, label=said))
    return " or ".join(words)


def _default(field: dict, definitions: dict) -> str:
    """Return a key's default as JSON; of a section at most its kind, as each key has its own."""
    value = field.get("default")
    if "oneOf" in field:
        kind = field["discriminator"]["propertyName"]
        value = {kind: field["default"][kind]}
    elif "properties" in resolved(field, definitions):
        value = {}
    return json.dumps(value, ensure_ascii=False)


def _meaning(node: dict) -> str:
    """Return the first paragraph of a description, for a cell of a table."""
    if "const" in node:
        return "tells this kind from the others"
    first = node.get("description", "").split("\n\n")[0]
    return _linked(" ".join(first.split())).replace("|", "\\|")


def _linked(text: str) -> str:
    """Return the text with links to the pages of docs/ that it names."""
    return re.sub(r"docs/([\w/-]+\.md)", r"[\1](../\g<0>)", text)


class _Types:
    """Tells in words what values keys take, and collects the sections among them."""

    def __init__(self, definitions: dict):
        self.definitions = definitions
        self.sections: list[tuple[Place, dict]] = []

    def words(self, node: dict, place: Place, label: str = "") -> str:
        """Return the words for a value at a place; a section is a link of that `label`, or its keys."""
        node = resolved(node, self.definitions)
        if "properties" in node:
            self.sections.append((place, node))
            return f"[`{label or place.keys}`](#{place.anchor})"
        if "oneOf" in node:
            key = node["discriminator"]["propertyName"]
            options = [resolved(option, self.definitions) for option in node["oneOf"]]
            kinds = [f"{key}: {option['properties'][key]['const']}" for option in options]
            return " or ".join(
                self.words(option, replace(place, kind=kind), label=kind)
                for option, kind in zip(options, kinds, strict=True)
            )
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
        if node["additionalProperties"] is True:
            return "mapping"
        keys = node.get("propertyNames", {}).get("pattern")
        patterns = node.get("patternProperties", {keys: node["additionalProperties"]})
        [(keys, values)] = patterns.items()
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
