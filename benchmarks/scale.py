"""The workflow at 20 thousand, 200 thousand and 10 million views: jobs, planning, disk and cost.

python benchmarks/scale.py --out docs/measurements/scale.md

Nothing is rendered but one shard: Snakemake plans the jobs for profiles/slurm in a dry run, the table
of views is made, and costs follow from the rate in docs/measurements and gpu_hours.py's estimate.
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import yaml
from gpu_hours import CARD, SUSTAINED, flops_per_image, images_per_gpu_s
from measurement import markdown_table, rendered_per_core_s, report
from shard_rule import DATASET, body, planned_views

from raymark.config.project import read_method, read_project
from raymark.config.subjects import read_subjects, virtual_subjects
from raymark.rendering.scene import render_shard
from raymark.views.plan import plan_views, read_views, write_views

ROOT = Path(__file__).parents[1]
METHOD = ROOT / "config/methods/cpm.yaml"
LANDMARKS = [f"point_{n}" for n in range(23)]
SPLITS = {"train": 0.8, "validation": 0.1, "test": 0.1}
ROLES = {"train": "train", "validation": "validation", "test": "evaluate"}
ROUNDS = 2
SHARD_VIEWS = 64  # rendered to see what a view takes on disk


@dataclass(frozen=True)
class Scale:
    """So many patients, each with virtual ones, and so many views of each of these subjects."""

    patients: int
    virtual: int
    views_per_subject: int
    views_per_shard: int

    @property
    def views(self) -> int:
        return self.patients * (1 + self.virtual) * self.views_per_subject


SCALES = [
    Scale(20, 0, 1_000, 500),
    Scale(50, 3, 1_000, 500),
    Scale(250, 3, 10_000, 5_000),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the tables here too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        projects = [make_project(Path(folder) / str(s.views), s) for s in SCALES]
        planned = [planning(*pair) for pair in zip(projects, SCALES, strict=True)]
        tables = [views_table(*pair) for pair in list(zip(projects, SCALES, strict=True))[:2]]
        view_mb = view_on_disk_mb(Path(folder))
    shape_yx = DATASET.detector.height_px, DATASET.detector.width_px
    flops = flops_per_image(read_method(METHOD, "paper"), shape_yx, len(LANDMARKS))
    costs = [cost(s, view_mb, images_per_gpu_s(flops)) for s in SCALES]
    text = "\n\n".join(
        [
            "A data set with patients split 8:1:1 and one method, planned with profiles/slurm. A step "
            "is a job of Snakemake; several of a kind travel as one Slurm job. Planning time is a dry "
            "run's, in seconds of one core: reading the configuration, building the graph of jobs, "
            "scheduling all of them.",
            markdown_table(planned),
            "## The table of views\n\nMade by one job, read whole by evaluation, by rendering a shard's rows "
            "alone; time and memory grow with the number of views.",
            markdown_table(tables),
            f"## Disk and computing\n\nA view of 479×615 px takes {view_mb:.2f} MB, measured on a shard "
            f"of {SHARD_VIEWS} views. Rendering: {rendered_per_core_s():.1f} views/s on one core, "
            f"measured. Training: {epochs()} epochs of {METHOD.stem} over the training views, "
            f"{flops / 1e9:,.0f} GFLOP an image; its GPU-hours are an **estimate, not measured**: "
            f"{CARD}, sustaining {SUSTAINED:.0%} of that (assumed; gpu_hours.md).",
        ]
    )
    report("Scale", text, costs, ["snakemake", "snakemake-executor-plugin-slurm"], options.out)


def epochs() -> int:
    return yaml.safe_load(METHOD.read_text())["training"]["epochs"]


def make_project(folder: Path, scale: Scale) -> Path:
    """Write a project whose CTs are one empty file: planning reads none of them."""
    folder.mkdir()
    (folder / "ct.nii.gz").touch()
    points = [f"{name},0,0,0" for name in LANDMARKS]
    (folder / "points.csv").write_text("\n".join(["landmark,x_mm,y_mm,z_mm", *points]) + "\n")
    rows = ["subject\tpatient\tct\tlandmarks\tlabels\tsplit"]
    counts = {split: round(share * scale.patients) for split, share in SPLITS.items()}
    splits = [split for split, count in counts.items() for _ in range(count)]
    rows += [f"p{n}\tp{n}\tct.nii.gz\tpoints.csv\t\t{s}" for n, s in enumerate(splits)]
    (folder / "subjects.tsv").write_text("\n".join(rows) + "\n")
    sampling = {"kind": "sphere", "count": scale.views_per_subject}
    dataset = {
        "name": "scale",
        "title": "Scale",
        "subjects": [f"p{n}" for n in range(scale.patients)],
        "landmarks": "landmarks.yaml",
        "cohort": {"count": scale.virtual},
        "views_per_shard": scale.views_per_shard,
        "view_sets": {s: {"of": s, "role": ROLES[s], "sampling": sampling} for s in SPLITS},
    }
    config = {
        "preset": "paper",
        "subjects": "subjects.tsv",
        "sources": str(ROOT / "config/sources.tsv"),
        "datasets": ["scale.yaml"],
        "methods": [str(METHOD)],
        "experiments": [{"dataset": "scale", "method": METHOD.stem, "evaluate": ["test"]}],
    }
    landmarks = {"landmarks": [{"name": name} for name in LANDMARKS]}
    for name, values in (("scale", dataset), ("config", config), ("landmarks", landmarks)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(values))
    return folder


def planning(project: Path, scale: Scale) -> dict:
    start = min(snakemake(project, "--list-rules")[0] for _ in range(ROUNDS))
    graph = min(snakemake(project, "--rulegraph")[0] for _ in range(ROUNDS))
    whole, memory_mb, text = snakemake(project, "--dry-run")
    steps = int(re.search(r"^total +(\d+)$", text, re.MULTILINE)[1])
    groups = len(re.findall(r"Group job ", text))
    alone = len(re.findall(r"^(?:local)?rule ", text, re.MULTILINE))
    return {
        "views": f"{scale.views:,}",
        "patients": scale.patients,
        "virtual": scale.patients * scale.virtual,
        "views a shard": f"{scale.views_per_shard:,}",
        "steps": f"{steps:,}",
        "Slurm jobs": groups + alone,
        "configuration, s": f"{start:.1f}",
        "graph, s": f"{graph - start:.1f}",
        "scheduling, s": f"{whole - graph:.1f}",
        "memory, MB": f"{memory_mb:.0f}",
    }


def snakemake(project: Path, *arguments: str) -> tuple[float, float, str]:
    """Run Snakemake in a project; return CPU seconds, peak memory in MB and what it printed."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += [
        "--configfile",
        "config.yaml",
        "--profile",
        str(ROOT / "profiles/slurm"),
        *arguments,
    ]
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, cwd=project, stdout=out, stderr=out)
        _, status, usage = os.wait4(process.pid, 0)
        out.seek(0)
        text = out.read()
    if status:
        sys.exit(f"{text[-4000:]}\n{command} failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000, text


def alone(function, *arguments):
    """Run a function in a fresh process; return its result, CPU seconds and peak memory in MB."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_watched, function, *arguments).result()


def _watched(function, *arguments):
    start = time.process_time()
    result = function(*arguments)
    seconds = time.process_time() - start
    return result, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def make_views(project: Path) -> None:
    """Make the table of views of a project, all isocentres at the origin."""
    os.chdir(project)
    dataset = read_project("config.yaml").datasets["scale"]
    sheet = read_subjects("subjects.tsv")
    every = [s for r in sheet for s in (r, *virtual_subjects(r, dataset.cohort.count))]
    table = plan_views(dataset, sheet, dict.fromkeys(every, np.zeros(3)), base_seed=0)
    write_views("views.parquet", table)


def views_table(project: Path, scale: Scale) -> dict:
    file = project / "views.parquet"
    _, made_s, made_mb = alone(make_views, project)
    _, read_s, read_mb = alone(read_views, file)
    return {
        "views": f"{scale.views:,}",
        "made in s": f"{made_s:.1f}",
        "peak MB": f"{made_mb:.0f}",
        "file MB": f"{file.stat().st_size / 1e6:.1f}",
        "read in s": f"{read_s:.2f}",
        "reading, peak MB": f"{read_mb:.0f}",
    }


def view_on_disk_mb(folder: Path) -> float:
    """Render one shard as benchmarks/shard_rule.py does; return the MB of a view."""
    path = folder / "0.zarr.zip"
    points = np.random.default_rng(0).uniform(-90, 90, (len(LANDMARKS), 3))
    views = planned_views()[:SHARD_VIEWS]
    render_shard(body(), points, LANDMARKS, [], views, DATASET, path, "scale")
    return path.stat().st_size / len(views) / 1e6


def cost(scale: Scale, view_mb: float, train_per_gpu_s: float) -> dict:
    training = scale.views * SPLITS["train"] * epochs()
    return {
        "views": f"{scale.views:,}",
        "shards on disk": f"{scale.views * view_mb / 1000:,.0f} GB",
        "rendering, core-hours": f"{scale.views / rendered_per_core_s() / 3600:,.1f}",
        "training, GPU-hours (estimate)": f"{training / train_per_gpu_s / 3600:,.0f}",
    }


if __name__ == "__main__":
    main()
