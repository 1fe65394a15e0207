import shutil
from pathlib import Path

import pytest

from raymark.config.project import read_project
from raymark.config.subjects import read_subjects
from raymark.workflow.snapshot import freeze

CONFIG = Path(__file__).parents[3] / "config"
MAIN = "config/config.yaml"


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """The demo's configuration in a folder of its own, which is the current one."""
    shutil.copytree(CONFIG, tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def replace(path, old, new):
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new))


def test_the_copy_says_the_same(copied):
    project = read_project(MAIN)
    frozen = read_project(freeze(project))
    assert frozen.datasets == project.datasets
    assert frozen.methods == project.methods
    assert frozen.imports == project.imports
    assert frozen.config.experiments == project.config.experiments
    assert read_subjects(frozen.config.subjects) == read_subjects(project.config.subjects)


def test_what_is_edited_afterwards_counts_from_the_next_run_on(copied):
    before = read_project(MAIN)
    first = freeze(before)
    replace("config/datasets/pelvis.yaml", "title: ", "title: Edited ")
    replace("config/methods/cpm.yaml", "epochs: 30", "epochs: 31")
    assert read_project(first).datasets == before.datasets
    assert read_project(first).methods == before.methods
    second = freeze(read_project(MAIN))
    assert second != first
    assert read_project(second).methods["cpm"] == read_project(MAIN).methods["cpm"]


def test_the_same_configuration_is_copied_once(copied):
    first = freeze(read_project(MAIN))
    written = first.stat().st_mtime_ns
    assert freeze(read_project(MAIN)) == first
    assert first.stat().st_mtime_ns == written
