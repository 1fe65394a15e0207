"""What is refused where the workflow starts: each once right, once wrong."""

from pathlib import Path

import pytest
import yaml

from raymark.config import project_of
from raymark.errors import InputError
from raymark.start import check_start
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
        check_start(project_of(CONFIG, "config.yaml"), [])

    return starts


def test_a_project_that_can_run_starts(start):
    start()


@pytest.mark.parametrize("role", ["train", "validation"])
def test_a_trained_data_set_has_views_to_train_and_to_validate_on(start, role):
    kept = {n: v for n, v in DATASET["view_sets"].items() if v["role"] != role}
    with pytest.raises(
        InputError, match=rf"^balls\.yaml, view_sets: no view set has `role: {role}`"
    ):
        start(balls={"view_sets": kept})
