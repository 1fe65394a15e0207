"""What each method costs: parameters, training, inference, memory, waiting for data.

python benchmarks/methods.py --out docs/measurements/methods.md
python benchmarks/methods.py --preset paper --methods cpm unet
"""

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from measurement import report
from rich.console import Console

from raymark.config.dataset import DetectorConfig
from raymark.config.project import read_dataset, read_method
from raymark.core.seeds import generator
from raymark.datasets.shards import Shards, write_shard
from raymark.geometry.belief_maps import belief_maps
from raymark.methods.base import LandmarkNetwork, standardised
from raymark.training.run import Run

LANDMARKS, SHARDS = 23, 4
SOURCE_TO_DETECTOR_MM, SOURCE_TO_ISOCENTRE_MM = 1200.0, 750.0
VIEWS = {"demo": 128, "paper": 16}  # per epoch
DATASET = "config/datasets/pelvis.yaml"  # whose detector the images have


def write_views(path: Path, detector: DetectorConfig, views: range) -> Path:
    """Write one shard of views of random points, shown as blobs on noise, seen by one C-arm."""
    shape_yx = detector.height_px, detector.width_px
    focal_px = SOURCE_TO_DETECTOR_MM / detector.pixel_mm
    K = np.array(
        [[focal_px, 0, shape_yx[1] / 2 - 0.5], [0, focal_px, shape_yx[0] / 2 - 0.5], [0, 0, 1]]
    )
    world_to_camera = np.eye(4)
    world_to_camera[2, 3] = SOURCE_TO_ISOCENTRE_MM
    visible = np.ones(LANDMARKS, bool)

    def view(index: int) -> dict:
        random = generator("benchmark", index)
        world = random.uniform(-80, 80, (LANDMARKS, 3))
        seen = (world + world_to_camera[:3, 3]) @ K.T
        points = seen[:, :2] / seen[:, 2:]
        blobs = belief_maps(points, visible, shape_yx, 1, shape_yx[0] / 24).sum(0)
        return {
            "image": blobs + random.normal(0, 0.02, shape_yx),
            "landmarks": points,
            "visible": visible,
            "beliefs": np.zeros((LANDMARKS, 2, 2)),
            "landmarks_world": world,
            "K": K,
            "world_to_camera": world_to_camera,
        }

    attributes = {
        "view": [f"view-{index}" for index in views],
        "subject": ["nobody"] * len(views),
        "landmarks": [f"point_{n}" for n in range(LANDMARKS)],
        "flip_pairs": [],
        "pixel_mm": detector.pixel_mm,
        "stride": 8,
        "digest": "benchmark",
    }
    write_shard(path, map(view, views), len(views), attributes)
    return path


def measure(name: str, preset: str, paths: list[Path], novel: Path, rounds: int) -> dict:
    """Return one method's row of the table; runs in a process of its own, for its peak memory."""
    method = read_method(f"config/methods/{name}.yaml", preset)
    torch.set_num_threads(method.training.threads)
    on_gpu = torch.cuda.is_available()
    fabric = Fabric(
        accelerator="cuda" if on_gpu else "cpu",
        devices=1,
        precision=method.training.precision,
        plugins=LightningEnvironment(),
    )
    samples, one = Shards(paths), Shards([novel])
    run = Run(fabric, method, LANDMARKS, seed=0)
    rates, waiting = [], []
    for _ in range(1 + rounds):  # the first epoch opens files and warms caches
        # Validated on a single view.
        row = run.epoch(samples, one, Console(quiet=True), keep=lambda: None)
        rates.append(min(row["steps"] * method.training.batch, len(samples)) / row["seconds"])
        waiting.append(row["waiting_share"])
    if on_gpu:
        peak_mb = torch.cuda.max_memory_allocated() / 1e6
    else:
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    image = torch.as_tensor(samples.read(np.array([0]))["image"].astype(np.float32))[:, None]
    row = {
        "method": name,
        "parameters": f"{sum(p.numel() for p in run.network.parameters()):,}",
        "batch": method.training.batch,
        "training images/s": f"{np.median(rates[1:]):.1f}",
        "waiting for data": f"{100 * np.median(waiting[1:]):.1f} %",
        "peak memory, MB": f"{peak_mb:.0f}",
        "inference on CPU, ms": f"{inference_ms(run.network, image, 'cpu', rounds):.1f}",
    }
    if on_gpu:
        row["inference on GPU, ms"] = f"{inference_ms(run.network, image, 'cuda', rounds):.2f}"
    return row


@torch.inference_mode()
def inference_ms(network: LandmarkNetwork, image: torch.Tensor, device: str, rounds: int) -> float:
    """Return the median time from one image in memory to its points in memory."""
    network = network.eval().to(device)
    times = []
    for _ in range(2 + 5 * rounds):
        start = time.perf_counter()
        points, _ = network.decode(network(standardised(image.to(device))))
        points.cpu()
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times[2:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=list(VIEWS), default="demo")
    parser.add_argument("--methods", nargs="+", help="names (default: all of config/methods)")
    parser.add_argument("--rounds", type=int, default=3, help="epochs measured (%(default)s)")
    parser.add_argument("--out", type=Path, help="write the table here too")
    options = parser.parse_args()
    names = options.methods or sorted(path.stem for path in Path("config/methods").glob("*.yaml"))
    detector = read_dataset(DATASET, options.preset).detector
    count, rows = VIEWS[options.preset], []
    with tempfile.TemporaryDirectory() as folder:
        parts = [range(part, part + count // SHARDS) for part in range(0, count, count // SHARDS)]
        paths = [write_views(Path(folder, f"{p[0]:05d}.zarr.zip"), detector, p) for p in parts]
        novel = write_views(Path(folder, "novel.zarr.zip"), detector, range(count, count + 1))
        for name in names:
            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, mp_context=spawn) as process:
                task = process.submit(measure, name, options.preset, paths, novel, options.rounds)
                row = task.result()
            print(row, file=sys.stderr)
            rows.append(row)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    text = (
        f"The preset `{options.preset}`: images of {detector.height_px} × {detector.width_px} px, "
        f"{LANDMARKS} landmarks, {count} views an epoch from {SHARDS} shards, batch, precision "
        f"and threads as configured; median of {options.rounds} epochs after one of warming up. "
        "Training: reading, augmentation, forward, loss, backward, step. Waiting: the share of that "
        "in which the loop stood still for data. Peak memory: "
        + (
            "allocated on the GPU. "
            if torch.cuda.is_available()
            else "the whole process, libraries included. "
        )
        + f"Inference: one image, standardised to decoded. {device}."
    )
    report(
        f"What the methods cost, {options.preset}",
        text,
        rows,
        ["torch", "tensorstore"],
        options.out,
    )


if __name__ == "__main__":
    main()
