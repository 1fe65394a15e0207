"""Model files and checkpoints: safetensors with one JSON record. Nothing in them is ever unpickled."""

import hashlib
import json
import sys
from pathlib import Path

import torch
from pydantic import Field
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from raymark.config.method import ByType
from raymark.core.errors import InputError
from raymark.core.files import atomic
from raymark.core.sections import Section, checked
from raymark.methods.base import LandmarkNetwork, SecondStage, build, reduced
from raymark.training.calibration import Calibration

MODEL_NAME = "model.safetensors"  # as `raymark.layout` calls it


class FirstStage(Section):
    """The network whose points a second stage refines; its weights lie beside that one's own."""

    method: str
    module: str
    network: dict
    reduce: int = Field(ge=1)
    detection_threshold: float


class Model(Section):
    """Everything prediction needs to know beside the weights."""

    method: str
    module: str = Field(description="module under raymark.methods")
    network: dict = Field(description="the module's own hyper-parameters")
    landmarks: list[str]
    flip_pairs: list[tuple[str, str]]
    image_height_px: int
    image_width_px: int
    pixel_mm: float | None = Field(description="detector pitch of the training images, if known")
    detection_threshold: float = Field(description="that of the method when this file was written")
    by_type: ByType | None = Field(None, description="how instances of `types` are found")
    reduce: int = Field(1, ge=1, description="how many times reduced the network sees images")
    first: FirstStage | None = Field(None, description="of a second stage, what it refines")
    types: list[str] = Field([], description="those of `landmarks` that have several instances")
    calibration: Calibration | None = Field(
        None,
        description="what its confidence means; null: too few validation images, or landmark types",
    )
    seed: int
    epochs: int = Field(description="epochs trained")
    best_epoch: int | None = Field(description="epoch of these weights; null: untrained weights")
    diverged: bool = Field(description="training ended with a figure that is not finite")
    diverged_because: str | None = Field(None, description="which figure that was")
    provenance: str = Field(description="digest of the configuration, the code and the data")


def write_model(path: str | Path, model: Model, weights: dict[str, Tensor]) -> None:
    """Write a model file; equal content gives equal bytes."""
    write_tensors(path, weights, model.model_dump())


def load_model(path: str | Path) -> tuple[LandmarkNetwork, Model]:
    """Rebuild a trained network, in evaluation mode on the CPU, from its file alone.

    Raises InputError if the file is missing, damaged or not a model of ours.
    """
    model, weights = _read_model(path)
    count = len(model.landmarks)
    network = build(model.module, model.network, count, seed=0, source=path)
    if first := model.first:
        if not isinstance(network, SecondStage):
            problem = f"has a first stage, which the module {model.module!r} does not take"
            raise InputError(path, problem, "Train it again with this version")
        stage = build(first.module, first.network, count, seed=0, source=path)
        network.set_first(reduced(stage, first.reduce), first.detection_threshold)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        problem = f"does not fit the method {model.method!r} ({str(error).splitlines()[0]})"
        raise InputError(path, problem, "Train it again with this version") from None
    return reduced(network, model.reduce).eval(), model


def described(path: str | Path) -> Model:
    """Return what a model file says beside the weights; InputError as `load_model`."""
    return _read_model(path)[0]


def load_first(
    path: str | Path, landmarks: list[str], detection_threshold: float | None = None
) -> tuple[LandmarkNetwork, FirstStage]:
    """Return the network of the model at `path` as the first stage of one for `landmarks`.

    Its points count from `detection_threshold` on; None: from that in its file.
    Raises InputError if that model has other landmarks, or two stages already.
    """
    network, model = load_model(path)
    _check_landmarks(path, model, landmarks)
    if model.first is not None:
        problem = f"has two stages already: {model.method!r} refines {model.first.method!r}"
        raise InputError(path, problem, "Refine a method of one stage")
    names = ("method", "module", "network", "reduce", "detection_threshold")
    first = FirstStage(**{name: getattr(model, name) for name in names})
    if detection_threshold is not None:
        first = first.model_copy(update={"detection_threshold": detection_threshold})
    return network, first


def take_over(network: LandmarkNetwork, path: str | Path, landmarks: list[str]) -> None:
    """Give `network`, which is for `landmarks`, the weights of the model at `path`.

    Raises InputError if that model has other landmarks or its network other layers.
    """
    model, weights = _read_model(path)
    _check_landmarks(path, model, landmarks)
    try:
        network.load_state_dict(weights)
    except RuntimeError:
        problem = f"the network of {model.method!r} has other layers than the one to start"
        raise InputError(path, problem, "Give both methods the same network keys") from None


def _check_landmarks(path: str | Path, model: Model, landmarks: list[str]) -> None:
    if model.landmarks != landmarks:
        problem = f"is for the landmarks {', '.join(model.landmarks)}, not {', '.join(landmarks)}"
        raise InputError(path, problem, "Train it again on this data set")


def _read_model(path: str | Path) -> tuple[Model, dict[str, Tensor]]:
    record, weights = read_tensors(path)
    return checked(Model, record, path), weights


def write_tensors(path: str | Path, tensors: dict[str, Tensor], record: dict) -> None:
    """Write named tensors and a JSON record to one safetensors file, whole or not at all.

    The record gains a digest of both, which `read_tensors` verifies.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    record = {"sha256": _digest(record, tensors), **record}
    with atomic(path) as partial:
        # The library's own `save_file` makes files that colleagues cannot read.
        partial.write_bytes(save(tensors, metadata={"raymark": json.dumps(record)}))


def _digest(record: dict, tensors: dict[str, Tensor]) -> str:
    """Return the SHA-256 of a record and of names, types, shapes and values of tensors on the CPU."""
    digest = hashlib.sha256(json.dumps(record).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_tensors(path: str | Path) -> tuple[dict, dict[str, Tensor]]:
    """Read a file of `write_tensors`: its record and its tensors.

    Raises InputError if it is missing, not one of ours, or not what was written; the last cannot be
    told of files of earlier versions, which hold no digest.
    """
    try:
        with safe_open(path, framework="pt") as file:
            record = (file.metadata() or {}).get("raymark")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise InputError(path, "is missing", "Train the model first") from None
    except Exception as error:  # a damaged file has the library raise errors of many kinds
        raise _unreadable(Path(path), error) from None
    try:
        record = dict(json.loads(record or ""))
    except (ValueError, TypeError, RecursionError):
        problem = "was not written by raymark"
        raise InputError(path, problem, "Use a file made by `raymark train`") from None
    digest = record.pop("sha256", None)
    if digest is not None and digest != _digest(record, tensors):
        raise _unreadable(Path(path), ValueError("its checksum does not fit"))
    return record, tensors


def read_checkpoint(path: Path, provenance: str) -> tuple[dict, dict[str, Tensor]] | None:
    """Read a checkpoint of `write_tensors`; None if there is none, or one of another `provenance`.

    A damaged one counts as none, and standard error says so: the next one written replaces it.
    """
    if not path.exists():
        return None
    try:
        record, tensors = read_tensors(path)
    except InputError as error:
        print(f"{path}: {error.problem}; training begins anew", file=sys.stderr)
        return None
    return (record, tensors) if record.get("provenance") == provenance else None


def _unreadable(path: Path, error: Exception) -> InputError:
    """Tell a folder, and a file of another kind, from a model that is damaged."""
    if path.is_dir():
        return InputError(path, "is a folder", f"Give the file inside it: {path / MODEL_NAME}")
    if path.suffix != Path(MODEL_NAME).suffix:
        return InputError(path, "is not a raymark model", f"Give a {MODEL_NAME} of `raymark train`")
    return InputError(path, f"is damaged ({error})", "Copy it again, or train the model again")


def copied(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a copy of a state dictionary on the CPU."""
    return {name: torch.empty_like(w, device="cpu").copy_(w) for name, w in weights.items()}
