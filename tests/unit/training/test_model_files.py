import json

import pytest
import torch
from safetensors.torch import save_file

from raymark.core.errors import InputError
from raymark.methods.base import build
from raymark.training.model_files import Model, load_model, read_tensors, write_model, write_tensors
from tests.unit.training.examples import TINY


def model(**changes) -> Model:
    values = {
        "method": "cpm",
        "module": "cpm",
        "network": TINY["cpm"],
        "landmarks": ["left_a", "right_a", "b"],
        "flip_pairs": [("left_a", "right_a")],
        "image_height_px": 52,
        "image_width_px": 60,
        "pixel_mm": 0.6,
        "detection_threshold": 0.4,
        "seed": 0,
        "epochs": 3,
        "best_epoch": 2,
        "diverged": False,
        "provenance": "abc",
    }
    return Model(**values | changes)


@pytest.fixture
def network():
    return build("cpm", TINY["cpm"], 3, 0, "test")


def test_a_model_survives_its_file(tmp_path, network):
    write_model(tmp_path / "m.safetensors", model(), network.state_dict())
    again, description = load_model(tmp_path / "m.safetensors")
    assert description == model()
    assert not again.training
    image = torch.rand(1, 1, 52, 60, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again(image), network.eval()(image))


def test_equal_models_are_equal_bytes(tmp_path, network):
    for name in ("a", "b"):
        write_model(tmp_path / name, model(), network.state_dict())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_model_has_the_rights_of_any_new_file(tmp_path, network):
    write_model(tmp_path / "model", model(), network.state_dict())
    (tmp_path / "any").touch()
    assert (tmp_path / "model").stat().st_mode == (tmp_path / "any").stat().st_mode


def test_tensors_and_record_return_exactly(tmp_path):
    tensors = {"x": torch.tensor([1.5, float("nan")]), "step": torch.tensor(3.0)}
    record = {"losses": [0.1, float("inf")], "none": None}
    write_tensors(tmp_path / "t.safetensors", tensors, record)
    again, same = read_tensors(tmp_path / "t.safetensors")
    assert again == record
    assert torch.equal(same["x"].isnan(), tensors["x"].isnan())
    assert same["step"].shape == ()


def test_missing_and_damaged_files_are_refused(tmp_path, network):
    path = tmp_path / "m.safetensors"
    with pytest.raises(InputError, match=r"m\.safetensors: is missing.*Train"):
        load_model(path)
    path.write_bytes(b"no model")
    with pytest.raises(InputError, match="damaged"):
        load_model(path)
    write_model(path, model(), network.state_dict())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="damaged"):
        load_model(path)


def test_a_folder_and_files_of_another_kind_are_not_called_damaged(tmp_path):
    with pytest.raises(InputError, match=r"is a folder\. Give .*/model\.safetensors$"):
        load_model(tmp_path)
    for name in ("model.onnx", "xray.png"):
        (tmp_path / name).write_bytes(b"another kind")
        with pytest.raises(
            InputError, match=rf"{name}: is not a raymark model\. Give a model\.saf"
        ):
            load_model(tmp_path / name)


def test_files_of_others_and_of_other_methods_are_refused(tmp_path, network):
    path = tmp_path / "m.safetensors"
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="not written by raymark"):
        load_model(path)
    save_file({"x": torch.zeros(1)}, path, metadata={"raymark": json.dumps({"method": "cpm"})})
    with pytest.raises(InputError, match="module: Field required"):
        load_model(path)
    write_model(path, model(landmarks=["a"]), network.state_dict())
    with pytest.raises(InputError, match="does not fit the method 'cpm'"):
        load_model(path)
    write_model(path, model(module="none"), network.state_dict())
    with pytest.raises(InputError, match=r"'none'.*unknown"):
        load_model(path)
