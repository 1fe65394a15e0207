"""ONNX: onnxruntime finds the points that PyTorch finds, whatever the image's size."""

import json

import numpy as np
import onnxruntime
import pytest
import torch

from raymark import cli
from raymark.methods.base import LandmarkNetwork, build, standardised
from raymark.training.model_files import write_model
from tests.unit.methods.examples import example
from tests.unit.training.examples import TINY, Blobs
from tests.unit.training.test_model_files import model

NETWORKS = {
    "cpm": TINY["cpm"] | {"stages": 1},
    "unet": {"depth": 1, "channels": 4, "radius_px": 3},
}


def taught(name: str) -> LandmarkNetwork:
    """A network that has seen a few images, so that its maps have one clear maximum."""
    network, batch = build(name, NETWORKS[name], 3, 0, "test"), example()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        network.loss(network(batch.image), batch)[0].backward()
        optimizer.step()
    return network.eval()


def export(folder, name: str) -> tuple[LandmarkNetwork, onnxruntime.InferenceSession]:
    network = taught(name)
    described = model(method=name, module=name, network=NETWORKS[name])
    write_model(folder / "m.safetensors", described, network.state_dict())
    assert cli.main(["export", str(folder / "m.safetensors"), str(folder / "m.onnx")]) == 0
    return network, onnxruntime.InferenceSession(folder / "m.onnx")


@pytest.mark.parametrize("name", NETWORKS)
def test_onnxruntime_gives_the_same_points(tmp_path, capsys, name):
    network, session = export(tmp_path, name)
    assert capsys.readouterr().out.endswith("takes any number of images of any size\n")
    for count, shape_yx in ((1, (52, 60)), (3, (52, 60)), (2, (41, 75)), (1, (128, 96))):
        image = Blobs(count, shape_yx).read(np.arange(count))["image"].astype(np.float32)[:, None]
        image = 40 * image + 7  # the graph standardises
        points_px, confidence = session.run(None, {"image": image})
        with torch.inference_mode():
            output = network(standardised(torch.from_numpy(image)))
            expected_px, expected = network.decode(output)
        assert points_px.shape == (count, 3, 2)
        np.testing.assert_allclose(points_px, expected_px, atol=0.01)
        np.testing.assert_allclose(confidence, expected.clamp(0, 1), atol=1e-4)
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["landmarks"]) == ["left_a", "right_a", "b"]
    assert json.loads(metadata["pixel_mm"]) == 0.6
    assert [i.name for i in session.get_inputs()] == ["image"]
    assert [o.name for o in session.get_outputs()] == ["points_px", "confidence"]


def test_a_missing_model_is_one_line(tmp_path, capsys):
    assert cli.main(["export", str(tmp_path / "no.safetensors"), str(tmp_path / "m.onnx")]) == 1
    assert "is missing" in capsys.readouterr().err
    assert not (tmp_path / "m.onnx").exists()
