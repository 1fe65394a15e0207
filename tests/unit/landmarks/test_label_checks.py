"""What a user sees of labels that cannot be right: the commands, with a drawn pelvis."""

import pandas as pd
import pytest
import yaml

from raymark import cli
from raymark.ct.store import write_volume
from tests.foreign.labels import ID, PELVIS, centroids, exchanged, pelvis, renumbered, saved, truth
from tests.workflow.conftest import CONFIG, DATASET

HEADER = "subject\tpatient\tct\tlandmarks\tlabels\tsplit\tlabel_scheme\n"
NAMES = PELVIS[:2]


@pytest.fixture
def told(tmp_path, monkeypatch, capsys):
    """Return a function that runs the first two steps on changed labels: exit status, error output."""
    monkeypatch.chdir(tmp_path)
    write_volume("ct.nii.gz", pelvis()[0])
    recipes = [{"kind": "centroid", "label": name} for name in NAMES]
    landmarks = [{"name": f"p{n}", "recipe": recipe} for n, recipe in enumerate(recipes)]
    (tmp_path / "landmarks.yaml").write_text(yaml.safe_dump({"landmarks": landmarks}))
    dataset = DATASET | {"subjects": ["ann"]}
    (tmp_path / "balls.yaml").write_text(yaml.safe_dump(dataset))
    main = CONFIG | {"methods": [], "experiments": []}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(main))

    def run(change, scheme: str = "", names=None) -> tuple[int, str]:
        saved(change(pelvis()[1]), pelvis()[0], tmp_path / "labels.nii.gz", names)
        row = f"ann\tann\tct.nii.gz\trecipe:landmarks.yaml\tlabels.nii.gz\ttrain\t{scheme}\n"
        (tmp_path / "subjects.tsv").write_text(HEADER + row)
        steps = [
            [step, "--config", "config.yaml", "balls", "ann"] for step in ("ingest", "landmarks")
        ]
        status = next((code for step in steps if (code := cli.main(step))), 0)
        lines = capsys.readouterr().err.splitlines(keepends=True)
        return status, "".join(line for line in lines if "Warning: ct.nii.gz" not in line)

    return run


def test_sound_labels_give_their_landmarks_and_say_who_named_them(told, tmp_path):
    assert told(lambda labels: labels) == (0, "")
    points = pd.read_csv("results/volumes/balls/ann/landmarks.csv")
    assert points[["x_mm", "y_mm", "z_mm"]].to_numpy() == pytest.approx(
        truth(pelvis(), NAMES), abs=1e-3
    )
    row = pd.read_csv("results/volumes/balls/ann/quality.csv").iloc[0]
    assert row["labels_named_by"] == "totalsegmentator_v2, assumed"


def test_ids_of_another_scheme_are_refused_and_taken_once_it_is_stated(told):
    change = renumbered("ctpelvic1k")
    status, error = told(change)
    assert status == 1
    assert error.startswith("raymark landmarks: labels.nii.gz: ")
    assert "Write ctpelvic1k into the column label_scheme of the subject sheet" in error
    assert told(change, "ctpelvic1k") == (0, "")


def test_exchanged_sides_are_refused_with_the_users_file(told):
    status, error = told(exchanged("hip_left", "hip_right"))
    assert status == 1
    assert error.startswith("raymark landmarks: labels.nii.gz: has hip_left on the other side")


def test_names_in_the_file_count_whatever_its_ids(told):
    names = {1: "Left hip bone", 2: "Right hip bone"}
    change = renumbered({ID["hip_left"]: 1, ID["hip_right"]: 2}, keep=NAMES)
    assert told(change, names=names) == (0, "")
    status, error = told(change, "totalsegmentator_v2", names)
    assert status == 1
    assert "names the label 1 'Left hip bone', where totalsegmentator_v2 has 'spleen'" in error


def test_a_recipe_tells_which_structures_it_needs():
    assert centroids(NAMES).landmarks[0].recipe.structures() == [NAMES[0]]
