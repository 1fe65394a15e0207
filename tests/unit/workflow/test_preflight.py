"""What is refused where the workflow starts: each once right, once wrong."""

import errno
import os
from pathlib import Path

import pytest
import yaml

from raymark import methods
from raymark.config.project import project_of
from raymark.config.subjects import read_subjects
from raymark.core.errors import InputError
from raymark.workflow import linked_folders
from raymark.workflow.preflight import preflight
from tests.workflow.conftest import CONFIG, DATASET, make_project


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Return a function that starts a project with some of its files changed."""
    project = make_project(tmp_path / "p")
    monkeypatch.chdir(project.folder)

    def starts(**changes):
        for name, change in changes.items():
            path = Path(f"{name}.yaml")
            path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | change))
        preflight(project_of(CONFIG, "config.yaml"), read_subjects("subjects.tsv"), [])

    return starts


def test_a_project_that_can_run_starts(start):
    start()


def test_who_is_left_out_is_a_patient_of_the_data_set(start):
    with pytest.raises(
        InputError, match=r"^data set balls, leave_out: 'Nobody' is no patient .*Known: "
    ):
        start(balls={"leave_out": "Nobody"})


@pytest.mark.parametrize("role", ["train", "validation"])
def test_a_trained_data_set_has_views_to_train_and_to_validate_on(start, role):
    kept = {n: v for n, v in DATASET["view_sets"].items() if v["role"] != role}
    with pytest.raises(
        InputError, match=rf"^balls\.yaml, view_sets: no view set has `role: {role}`"
    ):
        start(balls={"view_sets": kept})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"module": "mein"}, "module: 'mein' is unknown. Known: .*unet"),
        ({"network": {"chanels": 16}}, "network: the key 'chanels' is unknown. .*channels"),
        ({"module": "hollow", "network": {}}, "module: .*hollow.py cannot be used .*'Config'"),
        ({"module": "broken", "network": {}}, "module: .*broken.py cannot be used .*'nowhere'"),
    ],
)
def test_methods_and_their_networks_are_known(start, tmp_path, monkeypatch, change, problem):
    (tmp_path / "hollow.py").touch()
    (tmp_path / "broken.py").write_text("import nowhere")
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    with pytest.raises(InputError, match=f"^narrow.yaml, {problem}"):
        start(narrow=change)


@pytest.mark.parametrize(
    ("points", "problem"),
    [
        ("left_ball,1,2,3\nright_ball,1,2,3\n", "'lower_ball' is missing.*`use_landmarks`"),
        ("left_ball,1,2,3\nright_ball,1,2,3\nlow_ball,1,2,3\n", "'low_ball' is not among.*lower"),
    ],
)
def test_names_of_points_are_compared_before_any_ct_is_read(start, points, problem):
    Path("points.csv").write_text(f"landmark,x_mm,y_mm,z_mm\n{points}")
    with pytest.raises(InputError, match=f"^points.csv: the landmark {problem}"):
        start()
    rows = points.splitlines(keepends=True)[:2]
    Path("points.csv").write_text("".join(["landmark,x_mm,y_mm,z_mm\n", *rows]))
    start(balls={"use_landmarks": ["left_ball", "right_ball"]})


def test_names_of_recipes_are_compared(start):
    Path("r.yaml").write_text("landmarks: [{name: tip}]")
    sheet = Path("subjects.tsv").read_text().replace("points.csv\t", "recipe:r.yaml\tct.nii.gz")
    Path("subjects.tsv").write_text(sheet)
    with pytest.raises(InputError, match=r"^r\.yaml: the landmark 'tip' is not among"):
        start()


def test_a_folder_elsewhere_belongs_to_one_project(start, tmp_path, monkeypatch):
    elsewhere = tmp_path / "scratch"
    elsewhere.mkdir()
    Path("results").mkdir()
    Path("results/shards").symlink_to(elsewhere)
    start()
    start()
    second = make_project(tmp_path / "second").folder
    (second / "results").symlink_to(elsewhere)
    monkeypatch.chdir(second)
    with pytest.raises(InputError, match=f"^results: is a link to {elsewhere}, .* in {tmp_path}/p"):
        start()
    (elsewhere / "raymark-project.txt").unlink()
    start()


def test_a_link_to_a_folder_that_is_gone_is_named(start, tmp_path):
    Path("results").mkdir()
    Path("results/shards").symlink_to(tmp_path / "purged")
    with pytest.raises(InputError, match=r"^results/shards: is a link to .*purged, which is no"):
        start()


def test_a_linked_folder_in_which_nothing_can_be_written_is_named(start, tmp_path, monkeypatch):
    def refuse(path):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    Path("results").symlink_to(tmp_path)
    monkeypatch.setattr(linked_folders, "atomic", refuse)
    with pytest.raises(InputError, match=r"^results: .* nothing can be written \(Read-only"):
        start()
