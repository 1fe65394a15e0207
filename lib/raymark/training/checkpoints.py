"""Which checkpoint a training goes on from, and what becomes of another training's."""

import json
from pathlib import Path
from typing import Any

from raymark.config.method import Method
from raymark.core.digests import code_digest, text_digest
from raymark.core.errors import InputError
from raymark.core.sections import flattened
from raymark.training.batches import Samples
from raymark.training.model_files import read_tensors
from raymark.training.run import Run

CHECKPOINT_NAME = "checkpoint.safetensors"
PREVIOUS_NAME = "previous.safetensors"  # another training's, until this one is finished


def settings_of(method: Method) -> dict[str, Any]:
    """Return what the training of a method depends on, its whole number of epochs among it."""
    settings = method.trained_by()
    del settings["training"]["views_seen"]  # `epochs` follows from it
    return settings


def provenance_of(
    method: Method, training: Samples, validation: Samples, seed: int, *first: str
) -> str:
    """Return the digest of all that a training follows from; of the same one, it goes on.

    `first` tells the model that it starts from, or refines. With a constant learning rate, epochs are no
    part of it: more of them go on where fewer ended.
    """
    settings = settings_of(method)
    if method.training.schedule == "constant":
        del settings["training"]["epochs"]
    code = code_digest("raymark.training.train", f"raymark.methods.{method.module}")
    data = (training.digest, validation.digest)
    return text_digest(json.dumps(settings), code, *data, str(seed), *first)


def take_up(run: Run, method: Method, checkpoint: Path, provenance: str) -> str:
    """Have a run go on from its checkpoint where there is one, and return what to tell; else "".

    Another training's is kept under `PREVIOUS_NAME`; it may be the one to go back to.
    """
    previous = checkpoint.with_name(PREVIOUS_NAME)
    taken = next((path for path in (checkpoint, previous) if run.resume(path, provenance)), None)
    other = _record(checkpoint) if taken != checkpoint else None
    run.fabric.barrier()  # all have read what the first one renames
    if run.fabric.is_global_zero:
        _put_aside(checkpoint, previous, other is not None, back=taken == previous)
    run.fabric.barrier()
    if taken is not None and run.state.finished(method.training):
        return "nothing is left to train"
    if taken is not None:
        epoch, step = len(run.state.history) + 1, run.state.under_way.steps + 1
        return f"resumed at step {step} of epoch {epoch}"
    if other is None:
        return ""
    return (
        f"training begins anew: {_difference(other, method)}; what was trained before is kept as "
        f"{previous} until this training is finished"
    )


def _put_aside(checkpoint: Path, previous: Path, other: bool, back: bool) -> None:
    """Rename another training's checkpoint to `previous`, and that one back where it goes on."""
    passing = checkpoint.with_name(f".{checkpoint.name}")
    if back:
        previous.replace(passing)
    if other:
        checkpoint.replace(previous)
    if back:
        passing.replace(checkpoint)


def _record(path: Path) -> dict | None:
    """Read what a checkpoint says of itself; None where there is none, or a damaged one."""
    try:
        return read_tensors(path)[0]
    except InputError:
        return None


def _difference(record: dict, method: Method) -> str:
    """Say in what a checkpoint's training differs from the one that is asked for."""
    before, now = dict(flattened(record.get("settings", {}))), dict(flattened(settings_of(method)))
    changed = [key for key in now if key in before and before[key] != now[key]]
    if not changed:
        return "its code, data or first model are others"
    told = ", ".join(f"{key} was {before[key]} and is {now[key]}" for key in changed)
    if changed == ["training.epochs"] and method.training.schedule != "constant":
        return f"{told}, and the {method.training.schedule} schedule goes by their number"
    return told
