"""config/README.md against the models, by a walk of its own: every key once, where it stands."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from inspect import isclass
from pathlib import Path
from typing import Literal, get_args, get_origin

from raymark import methods
from raymark.config.dataset import Dataset
from raymark.config.imports import Calibrated, Import2d
from raymark.config.method import Method
from raymark.config.papers import Paper
from raymark.config.project import Config
from raymark.config.sources import Source
from raymark.config.subjects import OPTIONAL, Subject
from raymark.core.sections import Section
from raymark.correspondence.config import Correspondence
from raymark.landmarks.table import LandmarkSet
from raymark.workflow.config_reference import reference_text, write_reference

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "config/README.md").read_text(encoding="utf-8")
FILES = {
    "the main file": Config,
    "a data set file": Dataset,
    "a method file": Method,
    "an import file": Import2d,
    "the correspondence file": Correspondence,
    "a landmark file": LandmarkSet,
    "a paper file": Paper,
    "a calibrated data set's file": Calibrated,
}
WITH_PRESETS = ("Data set file", "Method file", "Correspondence file")


def kind_of(model: type[Section]) -> dict[str, str]:
    """Return the key, with its one value, that tells a model from others of its union."""
    return {
        name: get_args(field.annotation)[0]
        for name, field in model.model_fields.items()
        if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1
    }


def sections(annotation, file: str, keys: str) -> Iterator[tuple[str, type[Section]]]:
    """Yield (heading, model) of every section that a value of a type may hold."""
    if isclass(annotation) and issubclass(annotation, Section):
        kind = "".join(f", `{key}: {value}`" for key, value in kind_of(annotation).items())
        whole = file.split(" ", 1)[1].capitalize()
        yield f"`{keys}` of {file}{kind}" if keys else whole, annotation
        for name, field in annotation.model_fields.items():
            yield from sections(field.annotation, file, f"{keys}.{name}".lstrip("."))
    elif get_origin(annotation) is not Literal:
        below = {list: "[]", dict: ".NAME"}.get(get_origin(annotation), "")
        for part in get_args(annotation):
            yield from sections(part, file, keys + below)


def every_section() -> dict[str, type[Section]]:
    found = [part for file, model in FILES.items() for part in sections(model, file, "")]
    for module in methods.names():
        config = import_module(f"raymark.methods.{module}").Config
        found += sections(config, f"a method file with `module: {module}`", "network")
    by_heading = dict(found)
    assert all(by_heading[heading] is model for heading, model in found)
    return by_heading


def default_of(field) -> str:
    """Return how the reference prints a key's default."""
    if field.is_required():
        return "**required**"
    value = field.default
    if isinstance(value, Section):
        value = kind_of(type(value))
    return f"`{json.dumps(value)}`"


def expected_rows() -> Counter:
    rows = [
        (heading, field.alias or name, default_of(field))
        for heading, model in every_section().items()
        for name, field in model.model_fields.items()
        if (model, name) != (LandmarkSet, "name")  # not a key of the file: its stem
    ]
    rows += [(heading, "presets", "`{}`") for heading in WITH_PRESETS]
    rows += [
        ("Subject sheet", column.name, '`""`' if column.name in OPTIONAL else "**required**")
        for column in fields(Subject)
    ]
    rows += [
        ("Table of sources", name, default_of(field)) for name, field in Source.model_fields.items()
    ]
    return Counter(rows)


def told(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield (heading, cells) of every row about a key."""
    for part in re.split(r"^##+ ", text, flags=re.M)[1:]:
        heading, _, body = part.partition("\n")
        for line in body.splitlines():
            if line.startswith("| `"):
                yield heading, line.strip("| ").split(" | ")


def test_every_key_is_told_once_at_its_place_with_its_default():
    rows = Counter((heading, cells[0].strip("`"), cells[2]) for heading, cells in told(TEXT))
    assert rows == expected_rows()
    assert len(rows) > 250


def test_every_key_is_described():
    for heading, cells in told(TEXT):
        key, type_, _, meaning = cells  # a bar in a cell would make more
        assert len(meaning) > 5, f"{key} of {heading}"
        assert type_, f"{key} of {heading}"


def test_what_a_section_leaves_out_has_the_default_that_is_told():
    """Else a section given in part would have others than one left out."""
    for heading, model in every_section().items():
        for name, field in model.model_fields.items():
            if isinstance(field.default, Section):
                own = type(field.default)
                assert field.default == own(**kind_of(own)), f"{name} of {heading}"


def test_names_of_sections_are_unique():
    """They are the titles of the schemas; `Config` is what every method calls its own."""
    models = {model for model in every_section().values() if model.__name__ != "Config"}
    assert max(Counter(model.__name__ for model in models).values()) == 1


def anchor(heading: str) -> str:
    """Return what GitHub makes of a heading: what is no letter, digit, - or _ goes, spaces are -."""
    kept = (c for c in heading.lower() if c.isalnum() or c in " -_")
    return "".join(kept).replace(" ", "-")


def test_links_lead_to_headings_and_files_and_every_heading_has_one():
    headings = re.findall(r"^##+ (.+)$", TEXT, re.M)
    anchors = [anchor(heading) for heading in headings]
    assert len(set(anchors)) == len(anchors)
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert {link[1:] for link in links if link.startswith("#")} == set(anchors)
    for link in links:
        assert link.startswith("#") or (ROOT / "config" / link).is_file(), link


def test_other_pages_lead_to_its_headings():
    anchors = {anchor(heading) for heading in re.findall(r"^##+ (.+)$", TEXT, re.M)}
    pages = [page.read_text(encoding="utf-8") for page in ROOT.glob("docs/*.md")]
    targets = re.findall(r"config/README\.md#([^)]+)\)", "\n".join(pages))
    assert len(targets) >= 3
    assert set(targets) <= anchors


def test_nothing_is_taken_for_html():
    assert not re.findall(r"<[a-zA-Z/]", re.sub(r"`[^`\n]*`", "", TEXT))


def test_types_are_said_as_the_user_writes_them():
    types = {(heading, cells[0].strip("`")): cells[1] for heading, cells in told(TEXT)}
    matrix = "`matrix` of the main file"
    assert types[matrix, "datasets"] == "mapping of name to list of name"
    assert types[matrix, "baseline"] == "name or null"
    view_set = "[`view_sets.NAME`](#view_setsname-of-a-data-set-file)"
    assert types["Data set file", "view_sets"] == f"mapping of name to {view_set}"
    follow_up = "`follow_up` of the correspondence file"
    assert types[follow_up, "contrast_hu"] == "mapping of integer to number"
    scale = ["pixel", "distance"]
    links = [f"[`kind: {kind}`](#scale-of-an-import-file-kind-{kind})" for kind in scale]
    assert types["Import file", "scale"] == " or ".join(links)
    assert (
        "[`module: cpm`](#network-of-a-method-file-with-module-cpm)"
        in (types["Method file", "network"])
    )
    pairs = "list of [integer, integer]"
    assert types["`contrast` of the main file", "bone_labels"] == pairs
    word = "`right`, `left`, `anterior`, `posterior`, `superior`, `inferior`"
    extreme = "`landmarks[].recipe` of a landmark file, `kind: extreme`"
    assert types[extreme, "direction"] == f"{word} or [number, number, number]"


def test_the_committed_page_is_current(tmp_path):
    assert reference_text() == TEXT
    (tmp_path / "config").mkdir()
    write_reference(tmp_path)
    assert (tmp_path / "config/README.md").read_text(encoding="utf-8") == TEXT
