"""docs/adding-a-method.md keeps its word: its two files, as printed, are a method that learns."""

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
