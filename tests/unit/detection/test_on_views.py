import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from raymark.detection.on_views import found, predict
from raymark.methods.base import build, standardised
from raymark.training.model_files import load_model, write_model
from tests.unit.training.examples import TINY, Blobs
from tests.unit.training.test_model_files import model


@pytest.fixture
def model_path(tmp_path):
    network = build("cpm", TINY["cpm"], 3, 0, "test")
    path = tmp_path / "model.safetensors"
    write_model(path, model(seed=4, detection_threshold=0.005), network.state_dict())
    return path


def views(count=20):
    samples = Blobs(count)
    samples.views = [f"set-patient-{index:06d}" for index in reversed(range(count))]
    samples.subjects = [f"patient-v{index:03d}" for index in range(count)]
    return samples


def test_confidence_is_from_0_to_1_whatever_the_network_puts_out(tmp_path, model_path):
    network, model = load_model(model_path)
    network.decode = lambda output: (torch.zeros(1, 3, 2), torch.tensor([[-0.2, 0.7, 1.29]]))
    _, confidence = found(network, model, torch.rand(1, 1, 48, 64))
    assert confidence.flatten().tolist() == pytest.approx([0, 0.7, 1])


def test_each_row_is_what_the_network_says_of_its_view(tmp_path, model_path):
    samples = views()
    predict(model_path, samples, tmp_path / "p.parquet", "pelvis", "grid")
    table = pd.read_parquet(tmp_path / "p.parquet")
    assert len(table) == 20 * 3
    assert table.view.is_monotonic_increasing
    network = build("cpm", TINY["cpm"], 3, 0, "test").eval()
    for index in (0, 7, 19):
        image = torch.tensor(samples.arrays["image"][index].astype(np.float32))[None, None]
        points, confidence = network.decode(network(standardised(image)))
        rows = table[table.view == samples.views[index]]
        assert rows.landmark.tolist() == ["left_a", "right_a", "b"]
        assert rows[["x_px", "y_px"]].to_numpy() == pytest.approx(
            points[0].detach().numpy(), abs=1e-2
        )
        within = confidence[0].detach().clamp(0, 1).numpy()
        assert rows.confidence.to_numpy() == pytest.approx(within, abs=1e-5)
        assert (rows.subject == samples.subjects[index]).all()
    assert table.detected.tolist() == (table.confidence >= np.float32(0.005)).tolist()
    constant = table[["dataset", "method", "seed", "view_set", "instance"]].drop_duplicates()
    assert constant.to_numpy().tolist() == [["pelvis", "cpm", 4, "grid", 0]]


def test_the_table_has_its_columns_and_types(tmp_path, model_path):
    predict(model_path, views(3), tmp_path / "p.parquet", "pelvis", "grid")
    schema = pq.read_schema(tmp_path / "p.parquet")
    assert [f"{field.name}: {field.type}" for field in schema] == [
        "dataset: string",
        "method: string",
        "seed: int64",
        "view_set: string",
        "view: string",
        "subject: string",
        "landmark: string",
        "instance: int64",
        "x_px: float",
        "y_px: float",
        "confidence: float",
        "detected: bool",
    ]


def test_predicting_twice_gives_the_same_bytes(tmp_path, model_path):
    for name in ("a", "b"):
        predict(model_path, views(), tmp_path / name, "pelvis", "grid")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
