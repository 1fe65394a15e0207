"""The JSON schemas: the shipped files pass them, by another's validator, and wrong ones do not."""

import json
import re
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from raymark.core.yaml_files import read_yaml
from raymark.workflow.config_schemas import schema_text

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "workflow/schemas"
SHIPPED = sorted((ROOT / "config").rglob("*.yaml"))
KIND_OF_FOLDER = {
    "config": "config",
    "datasets": "dataset",
    "methods": "method",
    "import": "import",
    "recipes": "landmarks",
    "papers": "paper",
    "calibrated": "calibrated",
}
KINDS = sorted({*KIND_OF_FOLDER.values(), "correspondence"})
# The pages that print a whole file, and where they say that it lies.
PRINTED = {
    "docs/adding-a-method.md": "config/methods/mine.yaml",
    "docs/landmarks.md": "config/recipes/anatomy.yaml",
    "docs/imports.md": "my/config.yaml",
}


def kind_of(path: Path) -> str:
    main = path.parent.name == "config"
    return (
        "correspondence"
        if main and path.stem == "correspondence"
        else KIND_OF_FOLDER[path.parent.name]
    )


def as_json(value):
    """Return a YAML value with texts for keys, which is all that JSON has."""
    if isinstance(value, dict):
        return {str(key): as_json(part) for key, part in value.items()}
    return [as_json(part) for part in value] if isinstance(value, list) else value


def faults(kind: str, values: dict) -> list[str]:
    schema = json.loads((FOLDER / f"{kind}.schema.json").read_text(encoding="utf-8"))
    return [
        str(error.message) for error in Draft202012Validator(schema).iter_errors(as_json(values))
    ]


def shipped(path: str, **changes) -> dict:
    return read_yaml(ROOT / "config" / path) | changes


def named_schema(first_line: str, folder: Path) -> Path:
    named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first_line)
    return (folder / named[1]).resolve()


def test_the_committed_schemas_are_current():
    assert sorted(path.name for path in FOLDER.iterdir()) == [f"{k}.schema.json" for k in KINDS]
    for kind in KINDS:
        text = (FOLDER / f"{kind}.schema.json").read_text(encoding="utf-8")
        assert text == schema_text(kind)
        Draft202012Validator.check_schema(json.loads(text))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_shipped_file_names_the_schema_of_its_kind_and_passes_it(path):
    kind = kind_of(path)
    first_line = path.read_text(encoding="utf-8").splitlines()[0]
    assert named_schema(first_line, path.parent) == FOLDER / f"{kind}.schema.json"
    assert faults(kind, read_yaml(path)) == []
    assert faults(kind, read_yaml(path) | {"no_such_key": 1})


@pytest.mark.parametrize(("page", "place"), PRINTED.items())
def test_a_file_that_a_page_prints_names_its_schema_and_passes_it(page, place):
    text = (ROOT / page).read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(# yaml-language-server.*?)```", text, re.S)
    schema = named_schema(block.splitlines()[0], (ROOT / place).parent)
    kind = schema.name.split(".")[0]
    assert schema == FOLDER / f"{kind}.schema.json"
    assert kind == ("config" if place.startswith("my/") else kind_of(Path(place)))
    assert faults(kind, yaml.safe_load(block)) == []


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("dataset", "datasets/pelvis.yaml"),
        ("method", "methods/unet.yaml"),
        ("correspondence", "correspondence.yaml"),
    ],
)
def test_presets_have_keys_of_their_file_none_of_them_needed(kind, name):
    for preset in ({}, None):
        assert not faults(kind, shipped(name, presets={"demo": preset, "reduced": {}, "paper": {}}))
    assert faults(kind, shipped(name, presets={"dmeo": {}}))
    assert faults(kind, shipped(name, presets={"demo": {"no_such_key": 1}}))
    assert faults(kind, shipped(name, presets={"demo": 5}))


def test_what_a_preset_lays_over_a_section_may_be_a_part_of_it():
    def with_sampling(**sampling):
        preset = {"view_sets": {"train": {"sampling": sampling}}}
        return shipped("datasets/pelvis.yaml", presets={"demo": preset})

    assert not faults("dataset", with_sampling(count=3))
    assert faults("dataset", with_sampling(count=0))
    assert faults("dataset", with_sampling(step=3))
    values = shipped("datasets/pelvis.yaml")
    del values["view_sets"]["train"]["sampling"]["kind"]
    assert faults("dataset", values)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("config", "own.yaml"), ("import", "import/own_xrays.yaml"),
     ("landmarks", "recipes/pelvis.yaml"), ("paper", "papers/pel.yaml")],
)  # fmt: skip
def test_other_files_carry_no_presets(kind, name):
    assert faults(kind, shipped(name, presets={}))


def test_a_network_has_the_keys_of_its_module():
    def method(module, **network):
        return shipped("methods/unet.yaml", module=module, network=network, presets={})

    assert not faults("method", method("cpm", stages=3))
    assert faults("method", method("cpm", stages=0))
    assert faults("method", method("unet", stages=3))
    assert not faults("method", method("unet_pel", pose={"solver": "adam"}))
    assert faults("method", method("unet_pel", pose={"solver": "newton"}))
    assert not faults("method", method("of_my_own", anything=[1]))
    for key, wrong in (("channels", False), ("stages", True)):
        preset = {"demo": {"network": {key: 3}}}
        assert bool(faults("method", method("unet") | {"presets": preset})) is wrong


def test_a_main_file_stands_alone():
    alone = {"datasets": []}
    assert not faults("config", alone | {"preset": "paper"})
    assert faults("config", {"preset": "paper"})  # of which data sets
    assert faults("config", alone | {"contrast": {"bone_labels": [[1, 2]]}})
    assert faults("config", alone | {"preset": "papre"})
    assert faults("config", alone | {"pose": {"refined": 3}})
    assert faults("config", alone | {"experiments": [{"dataset": "pelvis"}]})


def test_mappings_have_keys_of_their_type():
    follow_up = {"contrast_hu": {1: 60, 2: 120.5}}
    assert not faults("correspondence", {"follow_up": follow_up})
    assert faults("correspondence", {"follow_up": {"contrast_hu": {"spleen": 60}}})
    views = shipped("datasets/pelvis.yaml")["view_sets"]["grid"]
    assert faults("dataset", shipped("datasets/pelvis.yaml", view_sets={"Grid": views}))


def test_a_direction_is_a_word_or_a_vector():
    def landmark(direction):
        recipe = {"kind": "extreme", "label": 1, "direction": direction}
        return {"landmarks": [{"name": "tip", "recipe": recipe}]}

    for direction in ("left", [0, 1, -0.6]):
        assert not faults("landmarks", landmark(direction))
    for direction in ("up", [0, 1]):
        assert faults("landmarks", landmark(direction))


def test_the_stem_of_a_landmark_file_is_not_one_of_its_keys():
    assert faults("landmarks", shipped("recipes/pelvis.yaml", name="pelvis"))
