"""Configuration: what is refused, how presets merge, and what the shipped files say."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from raymark.config.dataset import Dataset
from raymark.config.papers import read_paper
from raymark.config.presets import merged
from raymark.config.project import (
    Config,
    project_given,
    project_of,
    read_dataset,
    read_project,
)
from raymark.core.errors import InputError
from raymark.core.sections import checked
from raymark.core.yaml_files import read_yaml
from raymark.landmarks.table import read_landmark_set
from raymark.views.plan import views_per_subject

ROOT = Path(__file__).parents[3]
DATASET = {
    "name": "d",
    "title": "D",
    "subjects": ["s"],
    "landmarks": "l.yaml",
    "view_sets": {
        "train": {"of": "train", "role": "train", "sampling": {"kind": "sphere", "count": 3}}
    },
}


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


@pytest.mark.parametrize("step_deg", [7.0, 200.0])
def test_a_grid_that_misses_its_border_is_refused(step_deg):
    def grid(step_deg):
        sampling = {"kind": "grid", "step_deg": step_deg}
        views = DATASET["view_sets"]["train"] | {"sampling": sampling}
        return checked(Dataset, DATASET | {"view_sets": {"train": views}}, "d.yaml")

    assert grid(7.5).view_sets["train"].sampling.step_deg == 7.5
    with pytest.raises(
        InputError, match=r"d\.yaml: .*sampling.*primary_deg.*whole number of steps"
    ):
        grid(step_deg)


def test_the_detector_stands_behind_the_patient():
    near = DATASET["view_sets"]["train"] | {"source_to_detector_mm": (600, 1200)}
    with pytest.raises(InputError, match="must be above source_to_isocentre_mm"):
        checked(Dataset, DATASET | {"view_sets": {"train": near}}, "d.yaml")


def test_full_scale_is_what_paper_1_states():
    project = project_of(
        merged(read_yaml("config/config.yaml"), read_yaml("config/paper.yaml")), "-"
    )
    pelvis, cpm = project.datasets["pelvis"], project.methods["cpm"]
    assert len(read_landmark_set(pelvis.landmarks).names) == 23
    assert pelvis.detector.model_dump(exclude={"principal_point_offset_px"}) == {
        "height_px": 479, "width_px": 615, "pixel_mm": 0.616,
    }  # fmt: skip
    assert pelvis.beliefs.stride == 8
    train = pelvis.view_sets["train"]
    assert (train.sampling.primary_deg, train.sampling.secondary_deg) == ((-60, 60), (-45, 45))
    assert train.sampling.count * 20 == 20_000
    assert min(train.translation_mm) > 0
    assert 0 < train.flip_probability < 1
    assert np.ptp(train.source_to_isocentre_mm) > 0
    for name in ("grid", "grid_novel_subject"):
        grid = pelvis.view_sets[name]
        assert views_per_subject(grid) == 475
        distances = {grid.source_to_isocentre_mm, grid.source_to_detector_mm}
        assert distances == {(750, 750), (1200, 1200)}
    unseen = ("grid_novel_subject", "truncated", "tool")
    assert {pelvis.view_sets[name].of for name in unseen} == {"test"}
    assert cpm.network["stages"] == 6
    training = cpm.training
    assert (training.learning_rate, training.batch, training.epochs) == (1e-5, 1, 30)
    assert cpm.detection_threshold == 0.4
    assert (project.config.pose.belief_threshold, project.config.pose.least_landmarks) == (0.7, 6)
    assert project.config.evaluation.accuracy_px == 15


def test_full_scale_is_what_paper_2_states():
    project = project_of(
        merged(read_yaml("config/config.yaml"), read_yaml("config/paper.yaml")), "-"
    )
    pelvis = project.datasets["pelvis_six_dof"]
    views = {name: views_per_subject(settings) for name, settings in pelvis.view_sets.items()}
    assert views["train"] + views["novel_view"] == views["novel_subject"] == 100
    assert (80 * views["novel_view"], 10 * views["novel_subject"]) == (1600, 1000)
    assert {v.source_to_detector_mm for v in pelvis.view_sets.values()} == {(1020, 1020)}
    assert len(pelvis.use_landmarks) == 8
    assert read_paper("pel").landmarks == {
        f"L{n}": name
        for n, name in enumerate(
            read_landmark_set("config/recipes/pelvis_eight.yaml").names, start=1
        )
    }
    methods = {name: m for name, m in project.methods.items() if name.startswith("unet")}
    assert {name: m.training.epochs for name, m in methods.items()} == {
        "unet": 28, "unet_pel_composite": 28, "unet_pel_only": 28, "unet_pel_finetuned": 1,
    }  # fmt: skip
    assert methods["unet_pel_finetuned"].start_from == "unet"
    weights = {
        name: (m.network["segmentation_weight"] > 0, m.network["pose_weight"] > 0)
        for name, m in methods.items()
        if m.module == "unet_pel"
    }
    assert weights == {
        "unet_pel_composite": (True, True), "unet_pel_only": (False, True),
        "unet_pel_finetuned": (False, True),
    }  # fmt: skip
    poses = [m.network["pose"] for m in methods.values() if m.module == "unet_pel"]
    assert {(pose["solver"], pose["iterations"]) for pose in poses} == {("lbfgs", 100)}
    assert len({m.training.learning_rate for m in methods.values()}) == 1


def test_experiments_must_name_known_files():
    values = {
        "datasets": ["a.yaml"],
        "methods": ["m.yaml"],
        "experiments": [{"dataset": "b", "method": "m", "evaluate": ["x"]}],
    }
    with pytest.raises(InputError, match="'b'"):
        checked(Config, values, "config.yaml")


@pytest.mark.parametrize(
    ("left_out", "problem"),
    [
        ({"xrays": ["p"]}, "leave_out names the data set 'xrays'; known"),
        ({"a": ["p-1", "p_1"]}, "two patients of leave_out.a have the same name in files"),
    ],
)
def test_patients_are_left_out_of_rendered_data_sets_under_names_of_their_own(left_out, problem):
    values = {"datasets": ["a.yaml"], "imports": ["xrays.yaml"], "leave_out": left_out}
    with pytest.raises(InputError, match=problem):
        checked(Config, values, "config.yaml")


def test_a_refusal_repeats_a_wrong_value_but_no_section():
    one = {"dataset": "b", "method": "m", "evaluate": ["x"]}
    values = {"datasets": ["a.yaml"], "methods": ["m.yaml"], "experiments": [one]}
    with pytest.raises(InputError) as error:
        checked(Config, values, "c.yaml")
    problem = "c.yaml: experiment names the data set 'b'; known: ['a']. "
    assert str(error.value) == f"{problem}See config/README.md for what each key means and allows"
    with pytest.raises(InputError, match=r"^c\.yaml: datasets: Field required\. See"):
        checked(Config, {"methods": ["m.yaml"], "experiments": [one]}, "c.yaml")
    with pytest.raises(InputError, match=r"^c\.yaml: seed: .* \(got 'x'\)\. See"):
        checked(Config, values | {"seed": "x"}, "c.yaml")


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


def test_what_the_demo_asks_for_beyond_ones_own_data_sets_names_the_way_out():
    own = {"datasets": ["config/datasets/pelvis.yaml"], "experiments": [
        {"dataset": "pelvis", "method": "cpm", "evaluate": ["grid"]}
    ]}  # fmt: skip
    demo = read_yaml("config/config.yaml")
    with pytest.raises(InputError, match=r"'chest_kv' is not.*`contrast: null`, or .* pelvis$"):
        project_of(merged(demo, own), "my/config.yaml")
    alone = read_yaml("config/own.yaml") | {"contrast": demo["contrast"], "datasets": []}
    alone |= {
        "imports": ["config/import/own_xrays.yaml"],
        "experiments": [{"dataset": "own_xrays", "method": "unet", "evaluate": ["test"]}],
    }
    with pytest.raises(InputError, match=r"`contrast: null`, or list it in `datasets`$"):
        project_of(alone, "my/config.yaml")


def test_a_contrast_that_is_not_configured_is_told():
    demo = read_project("config/config.yaml")
    assert (demo.contrast.kv, demo.contrast.mv) == ("chest_kv", "chest_mv")
    with pytest.raises(InputError, match=r"^own\.yaml: has no `contrast`"):
        _ = project_of(read_yaml("config/own.yaml"), "own.yaml").contrast


@given(
    st.dictionaries(
        st.text(max_size=3), st.integers() | st.dictionaries(st.text(max_size=2), st.integers())
    )
)
def test_merging_nothing_changes_nothing(values):
    assert merged(values, {}) == merged({}, values) == merged(values, values) == values


def test_the_papers_scale_trains_what_the_demo_trains():
    demo, paper = (read_yaml(ROOT / f"config/{name}.yaml") for name in ("config", "paper"))
    scale = {"preset", "pose", "setup", "seed", "subjects", "sources"}
    assert {k: v for k, v in demo.items() if k not in scale} == {
        k: v for k, v in paper.items() if k not in scale
    }


@pytest.mark.parametrize(
    ("in_file", "asked", "source"),
    [
        ({"datasets": []}, {"preset": "huge"}, "--config preset=huge: "),
        ({"datasets": [], "seed": -1}, {"seed": -2}, "main.yaml: "),
        ({"datasets": [], "seed": -1}, {}, "main.yaml: "),
    ],
)
def test_what_the_command_line_makes_wrong_is_told_of_it(in_file, asked, source):
    with pytest.raises(InputError, match=f"^{source}"):
        project_given(in_file | asked, in_file, "main.yaml")
    assert (
        project_given({"datasets": [], "seed": 3}, {"datasets": [], "seed": -1}, "").config.seed
        == 3
    )
