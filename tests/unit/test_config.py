"""Configuration: what is refused, how presets merge, and that the generated reference is current."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from raymark.config import Config, checked, merged, read_dataset, read_project
from raymark.errors import InputError
from raymark.reference import FILES, reference_text, schema_text
from raymark.sections import Dataset

ROOT = Path(__file__).parents[2]
DATASET = {
    "name": "d",
    "title": "D",
    "subjects": ["s"],
    "landmarks": "l.yaml",
    "view_sets": {
        "train": {"of": "train", "role": "train", "sampling": {"kind": "sphere", "count": 3}}
    },
}


def test_the_generated_reference_is_current():
    assert (ROOT / "config/README.md").read_text() == reference_text()
    for name, model in FILES.items():
        path = ROOT / f"workflow/schemas/{name}.schema.json"
        assert path.read_text() == schema_text(model)


def test_every_key_is_described():
    for model in FILES.values():
        for name, section in model.model_json_schema()["$defs"].items():
            for key, field in section.get("properties", {}).items():
                described = "description" in field or "$ref" in field or key in ("kind", "layout")
                assert described, f"{name}.{key}"


def test_presets_are_laid_over_the_file(tmp_path):
    values = DATASET | {"presets": {"demo": {"detector": {"width_px": 64}}, "paper": {}}}
    path = tmp_path / "d.yaml"
    path.write_text(yaml.safe_dump(values))
    assert read_dataset(str(path), "demo").detector.width_px == 64
    assert read_dataset(str(path), "demo").detector.height_px == 479
    assert read_dataset(str(path), "paper").detector.width_px == 615


@pytest.mark.parametrize("presets", [{"dmeo": {}}, {"demo": 5}, ["demo"]])
def test_presets_that_are_none_are_refused(tmp_path, presets):
    path = tmp_path / "d.yaml"
    path.write_text(yaml.safe_dump(DATASET | {"presets": presets}))
    with pytest.raises(InputError, match=r"d\.yaml, presets: .* demo, reduced, paper"):
        read_dataset(str(path), "paper")


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"detector": {"heigth_px": 3}}, ["detector.heigth_px", "height_px", "width_px"]),
        ({"projector": "magic"}, ["projector", "shearwarp"]),
        ({"view_sets": {}}, ["view_sets"]),
        ({"cohort": {"scale": (1.1, 0.9)}}, ["cohort.scale", "lower limit first"]),
        ({"cohort": {"scale": (0.0, 1.1)}}, ["cohort.scale", "above 0"]),
        ({"physics": {"tube_kvp": 900}}, ["physics.tube_kvp", "150", "900"]),
    ],
)
def test_errors_name_file_key_and_what_is_allowed(change, parts):
    with pytest.raises(InputError) as error:
        checked(Dataset, DATASET | change, "some/d.yaml")
    for part in ["some/d.yaml", *parts]:
        assert part in str(error.value)


def test_unknown_keys_of_a_sampling_are_named_with_the_allowed_ones():
    broken = DATASET | {
        "view_sets": {
            "train": {"of": "train", "role": "train", "sampling": {"kind": "grid", "step": 3}}
        }
    }
    with pytest.raises(InputError, match="step_deg"):
        checked(Dataset, broken, "d.yaml")


def test_the_detector_stands_behind_the_patient():
    near = DATASET["view_sets"]["train"] | {"source_to_detector_mm": (600, 1200)}
    with pytest.raises(InputError, match="must be above source_to_isocentre_mm"):
        checked(Dataset, DATASET | {"view_sets": {"train": near}}, "d.yaml")


def test_experiments_must_name_known_files():
    values = {
        "datasets": ["a.yaml"],
        "methods": ["m.yaml"],
        "experiments": [{"dataset": "b", "method": "m", "evaluate": ["x"]}],
    }
    with pytest.raises(InputError, match="'b'"):
        checked(Config, values, "config.yaml")


def test_a_view_set_is_predicted_by_a_method_once():
    one = {"dataset": "a", "method": "m", "evaluate": ["x", "y"]}
    values = {"datasets": ["a.yaml"], "methods": ["m.yaml"], "experiments": [one]}
    assert checked(Config, values, "config.yaml").experiments[0].evaluate == ["x", "y"]
    values["experiments"] = [one, one | {"seeds": [1], "evaluate": ["y"]}]
    with pytest.raises(InputError, match="'m' is evaluated twice on 'y' of 'a'"):
        checked(Config, values, "config.yaml")


def test_the_shipped_configuration_reads_in_both_presets():
    values = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    assert read_project("config/config.yaml").config.preset == values["preset"] == "demo"


@given(
    st.dictionaries(
        st.text(max_size=3), st.integers() | st.dictionaries(st.text(max_size=2), st.integers())
    )
)
def test_merging_nothing_changes_nothing(values):
    assert merged(values, {}) == merged({}, values) == merged(values, values) == values
