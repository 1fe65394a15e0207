"""docs/adding-a-method.md keeps its word: its two files, as printed, are a method that learns."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from raymark import methods
from raymark.config.project import read_method
from raymark.core import digests
from raymark.detection.on_views import located
from raymark.training.model_files import load_model
from raymark.training.train import train
from raymark.workflow.config_reference import reference_text
from raymark.workflow.config_schemas import schema_text
from tests.unit.training.examples import Blobs

PAGE = Path(__file__).parents[3] / "docs/adding-a-method.md"


def printed(language: str) -> str:
    return re.search(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)[1]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with the page's files, whose module is found like those of the package."""
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods/mine.py").write_text(printed("python"))
    (tmp_path / "mine.yaml").write_text(printed("yaml"))
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path / "methods")])
    ours = digests._path
    printed_file = {"raymark.methods.mine": tmp_path / "methods/mine.py"}
    monkeypatch.setattr(digests, "_path", lambda name: printed_file.get(name) or ours(name))
    yield tmp_path
    sys.modules.pop("raymark.methods.mine", None)


def test_the_pages_method_learns(project):
    training, novel = Blobs(96), Blobs(24, seed=1)
    method = read_method(str(project / "mine.yaml"), "demo")
    path = train(method, training, novel, project / "results", seed=0)
    network, model = load_model(path)
    assert model.method == "mine"
    assert not model.diverged
    truth = novel.arrays["landmarks"]
    points, confidence = (part[:, :, 0] for part in located(network, model, novel))
    mean_position = np.broadcast_to(training.arrays["landmarks"].mean(0), truth.shape)
    errors = [np.linalg.norm(guess - truth, axis=-1).mean() for guess in (points, mean_position)]
    assert errors[0] < 0.25 * errors[1]
    assert np.isfinite(confidence).all()
    assert (project / "results/losses.csv").exists()


def test_the_reference_and_the_schema_have_its_keys(project):
    heading = "### `network` of a method file with `module: mine`"
    section = reference_text().split(heading)[1].split("###")[0]
    assert "| `channels` | integer (> 0) | `32` |" in section
    network = json.loads(schema_text("method"))["$defs"]["mine"]
    assert list(network["properties"]) == ["channels", "sigma_px"]
