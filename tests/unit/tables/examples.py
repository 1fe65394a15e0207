"""A small project that calls for every table, and all that its steps would have written."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml
from PIL import Image

from raymark import layout
from raymark.config.dataset import Dataset
from raymark.config.method import Method
from raymark.config.project import Config, Project
from raymark.core.stored_tables import store_table
from raymark.correspondence.matches import FILES, FOLLOW_UP, METHODS
from raymark.datasets.imported import read_images
from raymark.evaluation.errors import MEAN_POSITION, write_errors
from raymark.imports.write import import_2d
from raymark.metrics.cephalometry import LANDMARKS as HEAD
from raymark.metrics.cobb import CORNERS, corner_names
from raymark.pose.pose_table import CAPTURE_SCHEMA, MEASURES, write_poses
from raymark.pose.pose_table import SCHEMA as POSE_SCHEMA
from raymark.radiotherapy.setup_table import REGISTRATIONS, write_setup
from raymark.tables.cts import SPACING, VOXELS
from raymark.views.plan import SCHEMA as VIEW_SCHEMA
from raymark.views.plan import write_views
from tests.unit.correspondence.examples import matches_of
from tests.unit.evaluation.examples import LANDMARKS, errors_of
from tests.unit.imports.examples import ROOT, settings, write_table

CHEST = ["carina", "first_process", "second_process"]
OF_DATASET = {
    "pelvis": LANDMARKS,
    "chest_kv": CHEST,
    "chest_mv": CHEST,
    "spine": corner_names(["t1", "t2", "t3"]),
}
TYPES = {name: {"spinous_process": CHEST[1:]} for name in ("chest_kv", "chest_mv")} | {
    "spine": {corner: [f"t{n}_{corner}" for n in (1, 2, 3)] for corner in CORNERS}
}
EXPERIMENTS = [
    {"dataset": "pelvis", "method": "cpm", "paper": "bier2018", "poses": ["grid"],
     "capture_range": ["grid"]},
    {"dataset": "pelvis", "method": "unet_pel_finetuned", "paper": "pel"},
    {"dataset": "chest_mv", "method": "landmarknet", "paper": "landmarknet",
     "setup": {"reference": "chest_kv"}},
    {"dataset": "spine", "method": "appearance_context_spine", "paper": "appearance_context"},
    {"dataset": "heads", "method": "appearance_context", "paper": "appearance_context"},
]  # fmt: skip
START = "unet"  # nothing but the start of the fine-tuned one
EVALUATED = {"heads": "test"}  # else the grid


def project_of_everything() -> Project:
    """Five experiments beside four papers, of rendered data sets and of an import."""
    view_sets = {
        "train": {"of": "train", "role": "train", "sampling": {"kind": "sphere", "count": 4}},
        "grid": {"of": "train", "role": "evaluate", "sampling": {"kind": "grid"}},
    }
    datasets = {
        name: Dataset.model_validate(
            {"name": name, "title": name.capitalize(), "subjects": ["ann"], "view_sets": view_sets}
            | {"landmarks": f"landmarks/{name}.yaml"}
        )
        for name in OF_DATASET
    }
    names = [*(each["method"] for each in EXPERIMENTS), START]
    methods = {n: Method(name=n, title=n.capitalize(), module="unet") for n in names}
    tuned = methods["unet_pel_finetuned"].model_copy(update={"start_from": START})
    config = Config.model_validate(
        {
            "datasets": [f"{name}.yaml" for name in datasets],
            "imports": ["heads.yaml"],
            "methods": [f"{name}.yaml" for name in methods],
            "experiments": [
                {"evaluate": [EVALUATED.get(each["dataset"], "grid")]} | each
                for each in EXPERIMENTS
            ],
            "correspondence": "correspondence.yaml",
            "contrast": {"kv": "chest_kv", "mv": "chest_mv"},
            "evaluation": {"bootstrap": 20, "permutations": 19},
        }
    )
    imports = {
        "heads": settings(name="heads", title="Heads", scale={"kind": "pixel", "pixel_mm": 1})
    }
    return Project(config, datasets, methods | {tuned.name: tuned}, imports)


def write_everything(project: Project) -> None:
    """Write configuration, papers and results into the working folder."""
    shutil.copytree(ROOT / "config/papers", "config/papers")
    Path("config/subjects.tsv").write_text(
        "subject\tpatient\tct\tlandmarks\tlabels\tsplit\nann\tp\tct.nii\tp.csv\t\ttrain\n"
    )
    Path("correspondence.yaml").write_text("{}")
    Path("landmarks").mkdir()
    for name, landmarks in OF_DATASET.items():
        values = {"landmarks": [{"name": n} for n in landmarks], "types": TYPES.get(name, {})}
        Path(f"landmarks/{name}.yaml").write_text(yaml.safe_dump(values))
    _write_material(project)
    for experiment in project.config.experiments:
        _write_evaluation(experiment.dataset, experiment.method)
    _write_losses("pelvis", START)
    _write_poses()
    _write_others()


def _write_material(project: Project) -> None:
    _import_heads(project)
    grids = [f"{grid}_{name}" for grid in ("original", "volume") for name in (*VOXELS, *SPACING)]
    numbers = ["hu_min", "hu_max", "padding_share", "metal_mm3", "bone_share"]
    quality = {"subject": "ann", "warnings": ""} | dict.fromkeys([*grids, *numbers], 1)
    for name in project.datasets:
        _csv(layout.QUALITY.format(dataset=name, subject="ann"), [quality])
        rows = [
            {
                "dataset": name,
                "view_set": view_set,
                "view": f"{view_set}-{n}",
                "shard": 0,
                "seed": 0,
            }
            | {"subject": "ann", "patient": "p", "split": "train", "flip": False}
            for view_set in ("train", "grid")
            for n in range(2)
        ]
        views = pd.DataFrame(rows).reindex(columns=VIEW_SCHEMA.names)
        write_views(layout.VIEWS.format(dataset=name), views.fillna(0.0))


def _import_heads(project: Project) -> None:
    """Import six images with 19 landmarks each, by no other name than their own."""
    Path("images").mkdir()
    rng, rows = np.random.default_rng(0), []
    for number in range(6):
        Image.fromarray(rng.integers(0, 255, (80, 64), dtype=np.uint8)).save(f"images/{number}.png")
        points = rng.uniform(5, 60, (len(HEAD), 2)).round(1)
        rows += [[f"{number}.png", n, *p] for n, p in zip(HEAD, points, strict=True)]
    write_table("points.csv", ["image", "landmark", "x_px", "y_px"], rows)
    import_2d(project.imports["heads"], "heads.yaml")


def _write_evaluation(dataset: str, method: str) -> None:
    """Write the errors of a training, of the mean position beside it, and the losses."""
    view_set = EVALUATED.get(dataset, "grid")
    names = OF_DATASET.get(dataset, list(HEAD))
    for pattern, name, like in (
        (layout.ERRORS, method, "cpm"),
        (layout.MEAN_POSITION, MEAN_POSITION, MEAN_POSITION),
    ):
        table = errors_of(like, view_set=view_set, landmarks=names)
        if dataset == "heads":
            images = read_images("heads").query("view_set == 'test'")
            shown = list(table["view"].unique()[: len(images)])
            table = table[table["view"].isin(shown)].assign(seen_in_training=False)
            table["view"] = table["view"].map(dict(zip(shown, images.index, strict=True)))
        table = table.assign(dataset=dataset, method=name)
        place = {"dataset": dataset, "method": name, "seed": 0, "view_set": view_set}
        write_errors(table, pattern.format(**place))
    _write_losses(dataset, method)


def _write_losses(dataset: str, method: str) -> None:
    numbers = ("train_loss", "validation_loss", "validation_rmse_px")
    row = {"epoch": 1, "views": 40, "diverged": False} | dict.fromkeys(numbers, 1.0)
    row["validation_rmse_share"] = 0.01
    _csv(layout.LOSSES.format(dataset=dataset, method=method, seed=0), [row])


def _write_poses() -> None:
    place = {"dataset": "pelvis", "method": "cpm", "seed": 0, "view_set": "grid"}
    row = place | {"subject": "ann", "patient": "p", "seen_in_training": True, "landmarks": 8}
    row |= {"reason": "", "world_to_camera": [0.0] * 16} | dict.fromkeys(MEASURES, 1.5)
    rows = [
        row | {"solution": solution, "view": f"grid-{n}"}
        for solution in ("closed_form", "robust", "refined")
        for n in range(3)
    ]
    poses = pd.DataFrame(rows)[POSE_SCHEMA.names]
    write_poses(poses, layout.POSES.format(**place))
    row = {"dataset": "pelvis", "view_set": "grid", "subject": "ann", "mtre_mm": 1.0}
    rows = [
        row | {"view": f"grid-{n}", "from_mm": low, "to_mm": low + 5, "start_mtre_mm": low + 1}
        for low in (0.0, 5.0)
        for n in range(3)
    ]
    starts = pd.DataFrame(rows)[CAPTURE_SCHEMA.names]
    write_poses(starts, layout.CAPTURE_RANGE.format(**place), CAPTURE_SCHEMA)


def _write_others() -> None:
    """Write set-up errors, contrasts, and matches between slices."""
    place = {"dataset": "chest_mv", "method": "landmarknet", "seed": 0, "view_set": "grid"}
    row = place | {"subject": "ann", "patient": "p", "seen_in_training": True, "landmarks": 3}
    row |= dict.fromkeys(["true_x_mm", "true_y_mm", "x_mm", "y_mm"], 1.0) | {"reason": ""}
    row |= dict.fromkeys(["error_x_mm", "error_y_mm"], 1.0)
    rows = [
        row | {"registration": name, "view": f"grid-{n}", "error_mm": n + 1.0 + number}
        for number, name in enumerate(REGISTRATIONS)
        for n in range(3)
    ]
    write_setup(pd.DataFrame(rows), layout.SETUP.format(**place))
    beams = dict.fromkeys(["kv", "mv", "kv_tabulated", "mv_tabulated"], 0.5)
    _csv(layout.CONTRAST, [{"quantity": "μ", "n": 3} | beams])
    *matched, follow_up = FILES
    for path, methods in zip(matched, (["network"], ["sift_inverse", "sift_ratio"]), strict=True):
        _store(pd.concat([matches_of(method, [[1.0, 2.0]]) for method in methods]), path)
    every = [matches_of(method, [[1.0]], FOLLOW_UP) for method in METHODS]
    _store(pd.concat(every).assign(unmatched_mm=4.0), follow_up)


def _csv(path: str, rows: list[dict]) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(path, index=False)


def _store(table: pd.DataFrame, path: str) -> None:
    store_table(pa.Table.from_pandas(table, preserve_index=False), path)


def without_papers(project: Project) -> Project:
    """Return the project with no experiment compared with a paper, nor asked for anything else."""
    nothing = {"paper": None, "poses": [], "capture_range": [], "setup": None}
    bare = [e.model_copy(update=nothing) for e in project.config.experiments]
    config = project.config.model_copy(update={"correspondence": None, "contrast": None})
    return replace(project, config=config).with_experiments(bare)
