"""The whole shard rule against the bare projector: same volume, materials and views, one run.

python benchmarks/shard_rule.py --out docs/measurements/shard_rule.md
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from measurement import output_argument, report

from raymark.config.dataset import Dataset
from raymark.config.subjects import Subject
from raymark.core.threads import in_order, thread_count
from raymark.ct import Volume
from raymark.projectors import projector_class
from raymark.rendering.physics import MATERIALS, densities_from_hu
from raymark.rendering.scene import render_shard
from raymark.views.plan import camera_of, detector_of, plan_views

VOXELS, LANDMARKS, ROUNDS = 256, 23, 3
VIEWS = Dataset.model_fields["views_per_shard"].default
DATASET = Dataset.model_validate(
    {
        "name": "benchmark",
        "title": "Benchmark",
        "subjects": ["body"],
        "landmarks": "none.yaml",
        "view_sets": {
            "train": {
                "of": "train",
                "role": "train",
                "sampling": {"kind": "sphere", "count": VIEWS},
                "translation_mm": (20, 20, 20),
            }
        },
    }
)


def body() -> Volume:
    """A trunk of soft tissue with bones and an implant, 256³ voxels of 1 mm."""
    x, y, z = (np.indices((VOXELS,) * 3, dtype=np.float32, sparse=True)[axis] for axis in range(3))
    x, y, z = x - VOXELS / 2, y - VOXELS / 2, z - VOXELS / 2
    hu = np.full((VOXELS,) * 3, -1000, dtype=np.int16)
    hu[(x / 115) ** 2 + (y / 80) ** 2 + 0 * z < 1] = 40
    hu[(x / 22) ** 2 + ((y + 40) / 20) ** 2 + 0 * z < 1] = 350
    for side in (-1, 1):
        shell = ((x - side * 70) / 40) ** 2 + (y / 30) ** 2 + (z / 60) ** 2
        hu[(shell < 1) & (shell > 0.7)] = 1100
        hu[((x - side * 85) / 14) ** 2 + (y / 14) ** 2 + ((z + 70) / 60) ** 2 < 1] = 900
    hu[((x - 85) / 8) ** 2 + (y / 8) ** 2 + ((z + 70) / 50) ** 2 < 1] = 3071
    affine = np.eye(4)
    affine[:3, 3] = -VOXELS / 2
    return Volume(hu, affine)


def planned_views() -> pd.DataFrame:
    sheet = {"body": Subject("body", "patient", "", "", "", "train")}
    return plan_views(DATASET, sheet, {"body": np.zeros(3)}, base_seed=0)


def main() -> None:
    out = output_argument(__doc__.splitlines()[0])
    volume, views, detector = body(), planned_views(), detector_of(DATASET.detector)
    points = np.random.default_rng(0).uniform(-90, 90, (LANDMARKS, 3))
    names = [f"point_{n}" for n in range(LANDMARKS)]
    projector = projector_class(DATASET.projector)(densities_from_hu(volume.hu_xyz), volume.affine)

    def project_all() -> None:
        cameras = (camera_of(row, detector) for row in views.itertuples())
        for _ in in_order(projector.project, cameras, thread_count()):
            pass

    with tempfile.TemporaryDirectory() as folder:

        def whole_rule() -> None:
            path = Path(folder) / "00000.zarr.zip"
            render_shard(volume, points, names, [], views, DATASET, path, "benchmark")

        seconds = {"bare projector": [], "whole rule": []}
        project_all()  # compiles, and packs the volume once
        for _ in range(ROUNDS):
            for name, work in (("bare projector", project_all), ("whole rule", whole_rule)):
                start = time.perf_counter()
                work()
                seconds[name].append(time.perf_counter() - start)
    rates = {name: VIEWS / np.median(times) for name, times in seconds.items()}
    rows = [
        {
            "what": name,
            "images/s": f"{rate:.1f}",
            "of the bare projector": f"{rate / rates['bare projector']:.2f}",
        }
        for name, rate in rates.items()
    ]
    shape = f"{DATASET.detector.height_px}×{DATASET.detector.width_px}"
    text = (
        f"One shard of the default size, {VIEWS} views over the sphere of a {VOXELS}³ volume, "
        f"{len(MATERIALS)} materials, {shape} px, {LANDMARKS} landmarks; median of {ROUNDS} rounds, "
        "taken in turn. The bare projector is "
        "ready: only `project` counts. The whole rule starts at HU and ends at a file: densities, "
        "packing, spectrum, projection, detector, noise, landmarks, belief maps, compression."
    )
    report("The shard rule", text, rows, ["numpy", "numba", "zarr"], out)


if __name__ == "__main__":
    main()
