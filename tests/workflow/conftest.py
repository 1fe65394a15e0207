"""A small project of a user: one synthetic CT with points, one data set, one narrow network."""

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

ROOT = Path(__file__).parents[2]

LANDMARKS = {
    "left_ball": (-30.0, 0.0, 20.0),
    "right_ball": (30.0, 5.0, 20.0),
    "lower_ball": (0.0, -10.0, -25.0),
}
CONFIG = {
    "preset": "demo",
    "subjects": "subjects.tsv",
    "sources": str(ROOT / "config/sources.tsv"),
    "datasets": ["balls.yaml"],
    "methods": ["narrow.yaml", "other.yaml"],
    "experiments": [
        {"dataset": "balls", "method": "narrow", "evaluate": ["novel"]},
        {"dataset": "balls", "method": "other", "evaluate": ["novel"]},
    ],
    "evaluation": {"bootstrap": 50},
}
DATASET = {
    "name": "balls",
    "title": "Balls in water",
    "subjects": ["ball_patient"],
    "landmarks": "landmarks.yaml",
    "cohort": {"count": 1},
    "detector": {"height_px": 48, "width_px": 64, "pixel_mm": 3.2},
    "beliefs": {"stride": 8, "sigma_px": 6},
    "views_per_shard": 4,
    "view_sets": {
        "train": {
            "of": "train",
            "role": "train",
            "sampling": {"kind": "sphere", "count": 8},
            "flip_probability": 0.5,
        },
        "validation": {
            "of": "train",
            "role": "validation",
            "sampling": {"kind": "sphere", "count": 4},
            "virtual_patients": False,
        },
        "novel": {
            "of": "train",
            "role": "evaluate",
            "sampling": {"kind": "grid", "step_deg": 30},
            "virtual_patients": False,
        },
    },
}


def method(name: str) -> dict:
    return {
        "name": name,
        "title": name,
        "module": "unet",
        "network": {"depth": 2, "channels": 4, "stride": 4},
        "training": {"epochs": 2, "batch": 4, "learning_rate": 1e-3},
    }


class Project:
    """A folder with a user's files, and Snakemake to run in it."""

    def __init__(self, folder: Path):
        self.folder = folder

    def write(self, name: str, values: dict) -> None:
        (self.folder / name).write_text(yaml.safe_dump(values))

    def command(self, *arguments: str, profile: str = "default") -> list[str]:
        workflow = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        place = ["--directory", str(self.folder), "--configfile", "config.yaml"]
        return [*workflow, *place, "--profile", str(ROOT / "profiles" / profile), *arguments]

    def snakemake(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        command = self.command("--cores", "2", *arguments)
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, check=False)
        if check and done.returncode:
            raise AssertionError(done.stdout[-6000:] + done.stderr[-6000:])
        return done

    def plan(self, *arguments: str) -> str:
        """Return what a dry run prints."""
        done = self.snakemake("--dry-run", *arguments, "all")
        return done.stdout + done.stderr

    def planned(self, *arguments: str) -> set[str]:
        """Return the rules that a dry run would run."""
        return steps_of(self.plan(*arguments))

    def read(self, pattern: str) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.glob(pattern))
        }


def steps_of(plan: str) -> set[str]:
    """Return the rules of what a dry run prints."""
    begins = ("rule ", "localrule ")
    return {line.split()[1].rstrip(":") for line in plan.splitlines() if line.startswith(begins)}


def make_project(folder: Path) -> Project:
    folder.mkdir()
    project = Project(folder)
    write_ct(folder / "ct.nii.gz")
    points = [f"{name},{x},{y},{z}" for name, (x, y, z) in LANDMARKS.items()]
    (folder / "points.csv").write_text("\n".join(["landmark,x_mm,y_mm,z_mm", *points]) + "\n")
    (folder / "subjects.tsv").write_text(
        "subject\tpatient\tct\tlandmarks\tlabels\tsplit\n"
        "ball_patient\tp1\tct.nii.gz\tpoints.csv\t\ttrain\n"
    )
    project.write("landmarks.yaml", {"landmarks": [{"name": name} for name in LANDMARKS]})
    project.write("balls.yaml", DATASET)
    project.write("narrow.yaml", method("narrow"))
    project.write("other.yaml", method("other"))
    project.write("config.yaml", CONFIG)
    return project


def write_ct(path: Path, ball_hu: float = 1200.0) -> None:
    """Write a cylinder of water with three dense balls at the landmarks, 4 mm voxels.

    A remark in its header makes it larger than 1 MB, as CTs are.
    """
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = (-62, -62, -62)
    world = np.stack(np.meshgrid(*[np.arange(32) * 4.0 - 62] * 3, indexing="ij"), -1)
    hu = np.where(np.hypot(world[..., 0], world[..., 1]) < 50, 40.0, -1000.0)
    for point in LANDMARKS.values():
        hu = np.where(np.linalg.norm(world - point, axis=-1) < 9, ball_hu, hu)
    image = nib.Nifti1Image(hu.astype(np.int16), affine)
    remark = np.random.default_rng(0).bytes(1_100_000)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", remark))
    nib.save(image, path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Project:
    """A project whose whole workflow has run once."""
    project = make_project(tmp_path_factory.mktemp("workflow") / "finished")
    project.snakemake("all")
    return project
