"""The demo, reduced: every step it has, on the real CTs, with few views and hardly any training."""

import shutil
import subprocess
import sys
from pathlib import Path

from raymark.config.presets import merged
from raymark.core.yaml_files import read_yaml
from tests.workflow.conftest import ROOT, Project

# Laid over what the demo has.
DATASET = {"views_per_shard": 8}
COHORT = {"count": 1}
SAMPLING = {"count": 12, "step_deg": 30}
METHOD = {"training": {"epochs": 1}}
CORRESPONDENCE = {"slices": {"test_slices": 2}, "training": {"epochs": 1, "pairs_per_epoch": 4}}
MAIN = {
    "evaluation": {"bootstrap": 100, "permutations": 100},
    "setup": {"registered_views": 3},
    "pose": {"refined_views": 2, "capture_starts": 1},
}


def fetch_sources() -> None:
    """Have the real CTs in this checkout's results, where a demo has not brought them already."""
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--cores",
        "2",
        "--quiet",
        "all",
        "--until",
        "fetch",
    ]
    subprocess.run(command, cwd=ROOT, check=True)


def make_demo(folder: Path) -> Project:
    """Write the reduced demo to a new folder; its CTs are those of `fetch_sources`."""
    shutil.copytree(ROOT / "config", folder / "config")
    shutil.copytree(ROOT / "results/sources", folder / "results/sources")
    project = Project(folder)
    main = merged(read_yaml(folder / "config/config.yaml"), MAIN)
    project.write("config.yaml", main)
    for path in main["datasets"]:
        project.write(path, reduced_dataset(read_yaml(folder / path)))
    for path in main["methods"]:
        project.write(path, reduced(read_yaml(folder / path), METHOD))
    correspondence = main["correspondence"]
    project.write(correspondence, reduced(read_yaml(folder / correspondence), CORRESPONDENCE))
    return project


def reduced(values: dict, changes: dict) -> dict:
    """Lay changes over a file's demo preset, and that over the file."""
    presets = values.pop("presets", {})
    return merged(merged(values, presets.get("demo") or {}), changes)


def reduced_dataset(values: dict) -> dict:
    values = reduced(values, DATASET)
    if "cohort" in values:
        values["cohort"] |= COHORT
    for view_set in values["view_sets"].values():
        sampling = view_set["sampling"]
        view_set["sampling"] = sampling | {k: SAMPLING[k] for k in SAMPLING if k in sampling}
    return values
