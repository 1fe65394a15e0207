"""Shuffled batches from shards: our reader against plain zarr, same files and order, one run.

python benchmarks/reading.py --out docs/measurements/reading.md
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import zarr
from measurement import output_argument, report
from scipy.ndimage import gaussian_filter

from raymark.config.dataset import Physics
from raymark.core.seeds import generator
from raymark.datasets.shards import Shards, write_shard
from raymark.rendering.physics import EnergyIntegratingDetector, spectrum_of

SHARDS, VIEWS, BATCH, SHAPE_YX, ROUNDS = 6, 64, 16, (480, 616), 3
LANDMARKS, MAP_YX = 23, (60, 77)


def write(folder: Path) -> list[Path]:
    """Write shards of images that compress as rendered ones do: smooth bodies, quantum noise."""
    detector = EnergyIntegratingDetector(spectrum_of(Physics()), 2e4)
    paths = [folder / f"{number:05d}.zarr.zip" for number in range(SHARDS)]
    for number, path in enumerate(paths):
        texture = generator("texture", number).normal(size=(3, *SHAPE_YX)).astype(np.float32)
        smooth = np.stack(
            [gaussian_filter(t, s) * s for t, s in zip(texture, (9, 3, 2), strict=True)]
        )
        body = np.maximum(np.array([200, 20, 0])[:, None, None] + smooth * 100, 0)

        def view(index: int, body=body, number=number) -> dict:
            image = detector.log_image(body.astype(np.float32), generator(number, index))
            return {
                "image": image,
                "landmarks": np.zeros((LANDMARKS, 2)),
                "visible": np.ones(LANDMARKS, bool),
                "beliefs": np.zeros((LANDMARKS, *MAP_YX)),
                "landmarks_world": np.zeros((LANDMARKS, 3)),
                "K": np.eye(3),
                "world_to_camera": np.eye(4),
            }

        attributes = {
            "view": [f"{number}-{index}" for index in range(VIEWS)],
            "subject": ["body"] * VIEWS,
            "landmarks": [f"point_{n}" for n in range(LANDMARKS)],
            "flip_pairs": [],
            "pixel_mm": 0.616,
            "stride": 8,
            "digest": "benchmark",
        }
        write_shard(path, map(view, range(VIEWS)), VIEWS, attributes)
    return paths


def main() -> None:
    out = output_argument(__doc__.splitlines()[0])
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder))
        shards = Shards(paths)
        stores = [zarr.storage.ZipStore(path, mode="r") for path in paths]
        images = [zarr.open_group(store, mode="r")["image"] for store in stores]
        size_kb = sum(path.stat().st_size for path in paths) / SHARDS / VIEWS / 1e3

        def ours(batch: np.ndarray) -> np.ndarray:
            return shards.read(batch)["image"]

        def looping(batch: np.ndarray) -> np.ndarray:
            return np.stack([images[i // VIEWS][i % VIEWS] for i in batch])

        def oindex(batch: np.ndarray) -> np.ndarray:
            found = np.empty((len(batch), *SHAPE_YX), np.float16)
            for shard in np.unique(batch // VIEWS):
                mine = batch // VIEWS == shard
                found[mine] = images[shard].oindex[batch[mine] % VIEWS]
            return found

        readers = {
            "raymark.datasets.shards.Shards": ours,
            "zarr, z[i] in a loop": looping,
            "zarr, oindex per shard": oindex,
        }
        rates = {name: [] for name in readers}
        for turn in range(ROUNDS):
            order = generator("order", turn).permutation(len(shards)).reshape(-1, BATCH)
            expected = looping(order[0])
            for name, read in readers.items():
                np.testing.assert_array_equal(read(order[0]), expected)
                start = time.perf_counter()
                for batch in order:
                    read(batch)
                rates[name].append(len(shards) / (time.perf_counter() - start))
    rows = [{"reader": n, "images/s": f"{np.median(r):.0f}"} for n, r in rates.items()]
    text = (
        f"Shuffled batches of {BATCH} over {SHARDS} shards of {VIEWS} views, "
        f"{SHAPE_YX[0]}×{SHAPE_YX[1]} float16, {size_kb:.0f} kB a view on disk with its belief maps; "
        f"files in the page cache; median of {ROUNDS} shuffles. Our reader also returns landmarks, "
        "visibility and matrices."
    )
    report("Reading shuffled batches", text, rows, ["tensorstore", "zarr", "numcodecs"], out)


if __name__ == "__main__":
    main()
