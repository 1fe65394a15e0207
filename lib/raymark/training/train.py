"""The one training loop of all methods, on CPU, one GPU or several (Lightning Fabric).

Order and augmentation come from the seed, the epoch and the sample, so a run that was interrupted
and resumed ends with the same weights as one that was not: to the bit on a CPU with the same number
of threads. Another number of threads, or a GPU, adds floating-point numbers in another order; there
results agree to rounding only.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment, SLURMEnvironment
from rich.console import Console

from raymark.config.method import Method
from raymark.core.errors import InputError
from raymark.core.files import atomic, sha256_of
from raymark.core.names import unpaired
from raymark.landmarks.types import Types, chain_of, types_among
from raymark.methods import definition_of
from raymark.methods.base import LandmarkNetwork, SecondStage, reduced
from raymark.training.batches import ByType, Reduced, Samples, whole_of
from raymark.training.calibration import Calibration, calibrated
from raymark.training.checkpoints import (
    CHECKPOINT_NAME,
    PREVIOUS_NAME,
    provenance_of,
    settings_of,
    take_up,
)
from raymark.training.model_files import Model, write_model
from raymark.training.run import Run
from raymark.training.state import TrainingState

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h


def train(
    method: Method,
    training: Samples,
    validation: Samples,
    out_dir: str | Path,
    seed: int,
    devices: int | str = "auto",
    start_from: str | Path | None = None,
    types: Types | None = None,
    refines: str | Path | None = None,
    refined_threshold: float | None = None,
) -> Path:
    """Train `method` and return the path of its model file; `losses.csv` lies beside it.

    `devices` is a number of GPUs (of processes, on a machine without) or "auto"; each takes its part
    of every batch. Where `srun` started several processes, these are the devices instead.
    `start_from` and `refines` are the model files of the methods that the configuration's own keys name;
    `types` are the landmark types, which a method `by_type` predicts; from `refined_threshold` on the
    points of the model that is refined count (None: as its file says).

    A run that was interrupted, or that is asked for more epochs, goes on after its last checkpoint (of every
    epoch, and every ten minutes) unless configuration, code, data, seed or first model have changed since;
    then it says so, begins anew and keeps that checkpoint until it is finished. A loss that is
    not finite ends the training; that is a result, recorded as `diverged` with its reason. The model then
    holds the best weights there were.
    """
    for key, named, given in (
        ("start_from", method.start_from, start_from),
        ("refines", method.refines, refines),
    ):
        if (named is None) != (given is None):
            problem = f"{key} is {named!r}, and the model given is {given}"
            remedy = "Give the one where you give the other"
            raise InputError(f"method {method.name}", problem, remedy)
    if not len(training) or not len(validation):
        problem = f"{len(training)} views to train on, {len(validation)} to validate on"
        raise InputError(f"method {method.name}", problem, "Give the data set view sets of both")
    _check_mirroring(method, training)
    _keep_freed_memory()
    method = _with_epochs(method, len(training))
    if method.reduced_height_px and (by := method.reduction(_shape_yx(training)[0])) > 1:
        training, validation = Reduced(training, by), Reduced(validation, by)
    method = _with_chain(method, training.landmarks, types or {})
    types = types_among(training.landmarks, types or {}) if method.by_type else {}
    if method.by_type:
        training, validation = ByType(training, types), ByType(validation, types)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # lets cuBLAS be deterministic
    fabric = _fabric(method.training.precision, devices)
    first = Path(given) if (given := start_from or refines) else None
    fabric.launch(
        _train, method, training, validation, Path(out_dir), seed, first, refined_threshold, types
    )
    return Path(out_dir) / "model.safetensors"


def _check_mirroring(method: Method, training: Samples) -> None:
    """Refuse to mirror images whose one-sided landmarks have no other side to exchange names with."""
    alone = unpaired(training.landmarks, training.flip_pairs)
    if method.training.augmentation.flip_probability > 0 and alone:
        raise InputError(
            f"method {method.name}, training.augmentation.flip_probability",
            f"mirrors images, but these landmarks lack their other side: {', '.join(alone)}",
            "Give the data set `flip_pairs`, or set it to 0",
        )


def _with_epochs(method: Method, views: int) -> Method:
    """Turn a number of views to see into whole epochs of `views`."""
    wanted = method.training.views_seen
    if wanted is None:
        return method
    epochs = {"epochs": max(1, round(wanted / views))}
    return method.model_copy(update={"training": method.training.model_copy(update=epochs)})


def _with_chain(method: Method, landmarks: list[str], types: Types) -> Method:
    """Tell a network whose settings have a key `chain` what the members of the chain are, if there is one."""
    definition, _ = definition_of(method.module, method.network, f"method {method.name}")
    if "chain" not in definition.Config.model_fields:
        return method
    chain = chain_of(landmarks, types)
    alone = sorted(set(range(len(landmarks))) - {n for member in chain for n in member})
    if alone and definition.Network.of_chains:
        problem = f"finds landmarks as parts of a chain, and {landmarks[alone[0]]!r} is in none"
        remedy = (
            "Name all landmarks under `types`, each type's as many and in order (docs/landmarks.md)"
        )
        raise InputError(f"method {method.name}, module", problem, remedy)
    network = {**method.network, "chain": None if alone else chain}
    return method.model_copy(update={"network": network})


def _keep_freed_memory() -> None:
    """Let the allocator of the C library keep what a step frees, for the next one.

    By default it gives the large blocks of a step's tensors back and has the system fill them with
    zeros again: up to a third of the time of a step on a CPU. Elsewhere than with glibc, do nothing.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_TRIM_THRESHOLD, 2**31 - 1)
        set_option(_MMAP_THRESHOLD, 2**30)


def _fabric(precision: str, devices: int | str) -> Fabric:
    """Return Fabric over the devices of this machine, or over what `srun` started us on."""
    accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    # What `srun` tells of its own step: an allocation of many tasks may run us once, without it.
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))
    if tasks > 1:  # one process per device, on one node or more
        nodes = int(os.environ["SLURM_STEP_NUM_NODES"])
        # Lightning insists on this one, which may be missing, or the allocation's.
        os.environ["SLURM_NTASKS_PER_NODE"] = str(tasks // nodes)
        return Fabric(
            accelerator=accelerator,
            devices=tasks // nodes,
            num_nodes=nodes,
            strategy="ddp",
            precision=precision,
            plugins=SLURMEnvironment(auto_requeue=False),
        )
    count = max(torch.cuda.device_count(), 1) if devices == "auto" else int(devices)
    return Fabric(
        accelerator=accelerator,
        devices=count,
        strategy="ddp_spawn" if count > 1 else "auto",
        precision=precision,
        plugins=LightningEnvironment(),  # a batch job of one task is like a machine of its own
    )


def _train(
    fabric: Fabric,
    method: Method,
    training: Samples,
    validation: Samples,
    out_dir: Path,
    seed: int,
    first: Path | None,
    refined_threshold: float | None,
    types: Types,
) -> None:
    """Train in one process; the first of them writes the files."""
    run = Run(fabric, method, len(training.landmarks), seed)
    _check_module(method, run.network)
    run.learn_from(training)
    if method.start_from and first:
        run.start_from(first, training.landmarks)
    second = isinstance(run.network, SecondStage)
    refined = (
        run.refine(first if method.refines else None, validation, refined_threshold)
        if second
        else None
    )
    of_first = (sha256_of(first), str(refined_threshold)) if first else ()
    provenance = provenance_of(method, training, validation, seed, *of_first)
    checkpoint = out_dir / CHECKPOINT_NAME
    console = Console(stderr=True, quiet=not fabric.is_global_zero, soft_wrap=True)
    keep = partial(run.save, checkpoint, provenance, settings_of(method))
    if told := take_up(run, method, checkpoint, provenance):
        console.print(told, highlight=False)
    with _deterministic():
        while not run.state.finished(method.training):
            row = run.epoch(training, validation, console, keep)
            console.print(_told(row, method.training.epochs), highlight=False)
            if fabric.is_global_zero:
                _write_losses(out_dir / "losses.csv", run.state.history)
            keep()
    if fabric.is_global_zero:
        # Also where nothing was left to train: what was cut short loses its outputs, not its checkpoint.
        _write_losses(out_dir / "losses.csv", run.state.history)
        description = _described(method, training, run.state, seed, provenance, types)
        calibration = None if types else _calibration(run, method, validation)
        description = description.model_copy(update={"first": refined, "calibration": calibration})
        write_model(out_dir / "model.safetensors", description, run.state.best)
        checkpoint.with_name(PREVIOUS_NAME).unlink(missing_ok=True)
    fabric.barrier()


def _calibration(run: Run, method: Method, validation: Samples) -> Calibration | None:
    """Learn what the best weights' confidence means on the validation images, of full size."""
    run.network.load_state_dict(run.state.best)
    whole = whole_of(validation)
    return calibrated(reduced(run.network, method.reduction(_shape_yx(whole)[0])), whole)


def _shape_yx(samples: Samples) -> tuple[int, ...]:
    return samples.read(np.array([0]))["image"].shape[-2:]


def _check_module(method: Method, network: LandmarkNetwork) -> None:
    """Refuse what a method asks of a module that cannot do it."""
    if method.by_type and type(network).maps is LandmarkNetwork.maps:
        problem = f"the module {method.module!r} has no belief maps to find several instances in"
        raise InputError(f"method {method.name}, by_type", problem, "Leave by_type out")
    if method.refines and not isinstance(network, SecondStage):
        problem = f"the module {method.module!r} is no second stage"
        raise InputError(f"method {method.name}, refines", problem, "Use the module `patches`")


def _described(
    method: Method,
    samples: Samples,
    state: TrainingState,
    seed: int,
    provenance: str,
    types: Types,
) -> Model:
    whole = whole_of(samples)
    height, width = _shape_yx(whole)
    return Model(
        method=method.name,
        module=method.module,
        network=method.network,
        landmarks=samples.landmarks,
        flip_pairs=samples.flip_pairs,
        image_height_px=height,
        image_width_px=width,
        pixel_mm=whole.pixel_mm,
        detection_threshold=method.detection_threshold,
        by_type=method.by_type,
        reduce=method.reduction(height),
        types=list(types),
        seed=seed,
        epochs=len(state.history),
        best_epoch=state.best_epoch,
        diverged=state.diverged,
        diverged_because=state.diverged_because,
        provenance=provenance,
    )


def _told(row: dict, epochs: int) -> str:
    """Say one epoch's result in a line."""
    because = row["diverged_because"]
    ending = f"diverged: {because}" if row["diverged"] else f"{row['seconds']:.1f} s"
    return (
        f"epoch {row['epoch']}/{epochs}  loss {row['train_loss']:.4g}  validation "
        f"{row['validation_loss']:.4g}, {row['validation_rmse_px']:.2f} px RMSE  {ending}"
    )


def _write_losses(path: Path, history: list[dict]) -> None:
    with atomic(path) as partial:
        pd.DataFrame(history).to_csv(partial, index=False, float_format="%.6g")


@contextmanager
def _deterministic() -> Iterator[None]:
    """Ask torch for deterministic kernels wherever it has them."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
