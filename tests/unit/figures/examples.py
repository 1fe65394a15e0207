"""A small project with every result that figures are drawn from: rendered views of one spine, and an
import. Networks are untrained, and predictions are the truth with some noise."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml

from raymark import layout
from raymark.config.project import Project, read_project
from raymark.core.stored_tables import store_table
from raymark.correspondence.config import KINDS
from raymark.correspondence.matches import FOLLOW_UP, METHODS, store_slices
from raymark.correspondence.slices import stacks_for
from raymark.ct import LabelMap, Volume, quality, write_labels, write_volume
from raymark.datasets.lookup import dataset_of, landmark_names, landmark_types, shards_of
from raymark.datasets.shards import Shards
from raymark.evaluation.errors import PREDICTION_COLUMNS, truth_of
from raymark.landmarks.table import landmark_table, write_landmarks
from raymark.landmarks.types import channels_of
from raymark.methods.base import build
from raymark.metrics.cobb import corner_names
from raymark.training.calibration import Calibration
from raymark.training.model_files import Model, write_model
from raymark.workflow.steps import data, experiments
from tests.unit.imports.examples import settings as import_settings
from tests.unit.imports.examples import write_images
from tests.unit.training.examples import TINY

CORNERS = corner_names([f"t{number}" for number in range(1, 9)])
TYPES = {end: [name for name in CORNERS if end in name] for end in ("superior", "inferior")}
SPLITS = {"sampling": {"kind": "sphere", "count": 4}, "of": "train"}
GRID = {"kind": "grid", "step_deg": 15, "primary_deg": [-15, 15], "secondary_deg": [-15, 15]}
DATASET = {
    "name": "spine",
    "title": "Spine",
    "subjects": ["patient"],
    "landmarks": "corners.yaml",
    "detector": {"height_px": 48, "width_px": 64, "pixel_mm": 4.0},
    "view_sets": {
        "train": SPLITS | {"role": "train"},
        "validation": SPLITS | {"role": "validation"},
        "grid": {"of": "train", "role": "evaluate", "sampling": GRID},
    },
}
ON_GRID = {"dataset": "spine", "evaluate": ["grid"]}
CONFIG = {
    "subjects": "subjects.tsv",
    "datasets": ["spine.yaml"],
    "imports": ["made.yaml"],
    "methods": ["cpm.yaml", "landmarknet.yaml", "unet.yaml", "tuned.yaml"],
    "experiments": [
        ON_GRID | {"method": "cpm", "poses": ["grid"], "paper": "of_pelvis"},
        ON_GRID
        | {"method": "landmarknet", "setup": {"reference": "spine"}, "paper": "landmarknet"},
        ON_GRID | {"method": "tuned", "seeds": [0, 1]},
        {"dataset": "made", "method": "unet", "evaluate": ["test"]},
    ],
    "correspondence": "slices.yaml",
    "contrast": {"kv": "spine", "mv": "spine"},
    "pose": {"refined_views": 1},
    "setup": {"registered_views": 2},
    "evaluation": {"bootstrap": 20, "permutations": 20},
}
METHODS_OF = {
    "cpm": {"module": "cpm"},
    "landmarknet": {"module": "landmarknet", "by_type": {}},
    "unet": {"module": "unet"},
    "tuned": {"module": "unet", "start_from": "unet"},
}
PAPER = {
    "short": "Of it",
    "citation": "Somebody",
    "pixel_mm": 0.6,
    "compared_landmarks": ["t1_superior_left"],
    "rows": [
        {"method": "landmarknet", "title": "Ours", "evaluated_on": "unseen patients", "source": "T",
         "dataset": "spine", "landmark": landmark, "values": {"pck_8_paper_px": 0.9}}
        for landmark in ("superior", None)
    ],
}  # fmt: skip
SLICES = {"slices": {"least_body_mm2": 1000, "test_slices": 3}, "training": {"image_px": 64}}


def xray(seed=0, shape=(60, 80)) -> np.ndarray:
    """A picture of noise in the type of an X-ray."""
    return np.random.default_rng(seed).normal(3, 1, shape).astype(np.float16)


def small_project() -> Project:
    """Write the project and its results to the working folder."""
    _write_configuration()
    project = read_project("config.yaml")
    _write_patient()
    _render(project)
    for place in [p for e in project.config.experiments for p in _places(e)]:
        _predict(project, place)
        experiments.evaluate(project, **place)
        experiments.mean_position(project, place["dataset"], place["view_set"])
        _write_losses(layout.LOSSES.format(**place))
    for seed in (0, 1):
        _write_losses(layout.LOSSES.format(dataset="spine", method="unet", seed=seed))
    for experiment in project.config.experiments:
        for seed in experiment.seeds:
            _write_model(project, experiment.dataset, experiment.method, seed)
    experiments.pose(project, "spine", "cpm", 0, "grid")
    experiments.setup_error(project, "spine", "landmarknet", 0, "grid")
    _match(project)
    return project


def _write_configuration() -> None:
    landmarks = {"landmarks": [{"name": name} for name in CORNERS], "types": TYPES}
    files = {"config": CONFIG, "spine": DATASET, "corners": landmarks, "slices": SLICES}
    files["made"] = import_settings().model_dump(mode="json")
    for name, method in METHODS_OF.items():
        network = TINY[method["module"]]
        files[name] = {"name": name, "title": name.title(), "network": network, **method}
    for name in ("of_pelvis", "landmarknet", "correspondence"):
        files[f"config/papers/{name}"] = PAPER | {"name": name}
    Path("config/papers").mkdir(parents=True)
    for name, values in files.items():
        Path(f"{name}.yaml").write_text(yaml.safe_dump(values))
    Path("subjects.tsv").write_text(
        "subject\tpatient\tct\tlandmarks\tlabels\tsplit\npatient\tp1\tct\tpoints\t\ttrain\n"
    )


def _write_patient() -> None:
    """Write a textured cylinder with a dense ball at every corner; the balls are label 1."""
    mm, shape, rng = 4.0, np.array([32, 32, 40]), np.random.default_rng(0)
    affine = np.diag([mm, mm, mm, 1.0])
    affine[:3, 3] = -mm * (shape - 1) / 2
    world_mm = np.stack(np.indices(shape), -1) * mm + affine[:3, 3]
    inside = np.hypot(world_mm[..., 0], world_mm[..., 1]) < 50
    hu = np.where(inside, rng.normal(40, 60, shape), -1000.0)
    points_mm = np.array([_corner_mm(name, rng.uniform(-8, 8)) for name in CORNERS])
    for point_mm in points_mm:
        hu[np.linalg.norm(world_mm - point_mm, axis=-1) < 5] = 1000
    place = {"dataset": "spine", "subject": "patient"}
    volume = Volume(hu.astype(np.int16), affine)
    write_volume(layout.CT.format(**place), volume)
    pd.DataFrame([quality(volume, volume)]).to_csv(layout.QUALITY.format(**place), index=False)
    write_labels(layout.LABELS.format(**place), LabelMap((hu > 500).astype(np.int16), affine))
    table = landmark_table("patient", CORNERS, points_mm, "test")
    write_landmarks(table, layout.LANDMARKS.format(**place))


def _corner_mm(name: str, depth_mm: float) -> tuple[float, float, float]:
    vertebra, end, side = name.split("_")
    height_mm = 72 - 16 * int(vertebra[1]) + (5 if end == "superior" else -5)
    return (-15.0 if side == "left" else 15.0, depth_mm, height_mm)


def _render(project: Project) -> None:
    data.views(project, "spine")
    for view_set in DATASET["view_sets"]:
        data.render(project, "spine", view_set, "patient", 0)
    write_images()
    data.import_2d("made.yaml")


def _places(experiment) -> list[dict]:
    """List what fills a path's pattern for an experiment."""
    place = {"dataset": experiment.dataset, "method": experiment.method}
    return [
        place | {"seed": seed, "view_set": view_set}
        for seed in experiment.seeds
        for view_set in experiment.evaluate
    ]


def _predict(project: Project, place: dict) -> None:
    """Predict every landmark near its true place."""
    table = truth_of(Shards(shards_of(project, place["dataset"], place["view_set"])))
    rng = np.random.default_rng(place["seed"])
    confidence = rng.uniform(0.5, 1, len(table))
    table = table.assign(**place, subject="patient", instance=0, confidence=confidence)
    for axis in "xy":
        table[f"{axis}_px"] = table[f"{axis}_true_px"] + rng.normal(0, 0.5, len(table))
    table = table.assign(detected=table["confidence"] > 0.55)[PREDICTION_COLUMNS]
    _store(table, layout.PREDICTIONS.format(**place))


def _write_losses(path: str) -> None:
    epoch = np.arange(1, 4)
    table = pd.DataFrame({"epoch": epoch, "views": 4, "train_loss": 1 / epoch, "diverged": False})
    table["validation_loss"], table["validation_rmse_px"] = 1.2 / epoch, 9 / epoch
    table["validation_rmse_share"] = table["validation_rmse_px"] / np.hypot(48, 64)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)


def _write_model(project: Project, name: str, method: str, seed: int) -> None:
    """Write an untrained model, which knows of its errors what the predictions here are off."""
    dataset, settings = dataset_of(project, name), project.methods[method]
    names, types = landmark_names(dataset), landmark_types(project, name)
    random = np.random.default_rng(0)
    truth = random.uniform(5, 40, (9, len(names), 2))
    found = truth + random.normal(0, 0.5, truth.shape)
    learned = Calibration.learned(found, random.uniform(0.5, 1, truth.shape[:2]), truth)
    channels = list(channels_of(names, types)) if settings.by_type else names
    network = build(settings.module, settings.network, len(channels), 0, "test")
    model = Model(
        method=method,
        module=settings.module,
        network=settings.network,
        landmarks=channels,
        flip_pairs=[],
        image_height_px=48,
        image_width_px=64,
        pixel_mm=4.0,
        detection_threshold=0.4,
        by_type=settings.by_type,
        types=list(types) if settings.by_type else [],
        calibration=None if settings.by_type else learned,
        seed=seed,
        epochs=0,
        best_epoch=None,
        diverged=False,
        diverged_because=None,
        provenance="test",
    )
    path = layout.MODEL.format(dataset=name, method=method, seed=seed)
    write_model(path, model, network.state_dict())


def _match(project: Project) -> None:
    """Match points of the test slices with themselves, under every transformation."""
    stack = next(stacks_for("test", project))
    rows = pd.MultiIndex.from_product([stack.z_mm, [*KINDS, FOLLOW_UP], METHODS, range(5)])
    table = rows.to_frame(index=False, name=["z_mm", "transformation", "method", "number"])
    table = table.assign(subject=stack.subject, error_mm=table.pop("number") * 1.0)
    table = table.assign(**{name: 40.0 for name in ("x1_px", "y1_px", "x2_px", "y2_px")})
    for matcher, rows in table.groupby(table["method"].str.split("_").str[0]):
        path = layout.CORRESPONDENCE_MATCHES.format(matcher=matcher)
        _store(rows[rows["transformation"] != FOLLOW_UP], path)
    follow_up = table[table["transformation"] == FOLLOW_UP].assign(unmatched_mm=4.0)
    _store(follow_up, layout.CORRESPONDENCE_FOLLOW_UP)
    store_slices(stack, stack, layout.CORRESPONDENCE_FOLLOW_UP_SLICES)


def _store(table: pd.DataFrame, path: str) -> None:
    store_table(pa.Table.from_pandas(table, preserve_index=False), path)
