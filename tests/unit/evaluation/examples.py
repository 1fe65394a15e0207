"""Made-up results in the shape of the real ones, for the tests of tables and figures."""

import numpy as np
import pandas as pd

from raymark.config.dataset import Dataset
from raymark.config.method import Method
from raymark.config.project import Config, Project
from raymark.evaluation.errors import ERROR_COLUMNS, MEAN_POSITION

LANDMARKS = ["left_asis", "right_asis", "sacrum", "coccyx"]
METHODS = {"cpm": 4.0, "unet": 6.0, MEAN_POSITION: 20.0}


def grid_of_views(step_deg=15):
    primary, secondary = np.meshgrid(
        np.arange(-60, 61, step_deg), np.arange(-45, 46, step_deg), indexing="ij"
    )
    return pd.DataFrame(
        {
            "view": [f"grid-pelvis-{i:06d}" for i in range(primary.size)],
            "primary_deg": primary.ravel().astype(float),
            "secondary_deg": secondary.ravel().astype(float),
        }
    )


def errors_of(method, *, view_set="grid", seed=0, patients=("P1",), seen=True, landmarks=LANDMARKS):
    """An errors table: the method's error grows to the sides, its confidence falls with it."""
    rng = np.random.default_rng([seed, len(method), len(view_set)])
    table = grid_of_views().merge(pd.DataFrame({"landmark": landmarks}), how="cross")
    side = np.hypot(table["primary_deg"] / 60, table["secondary_deg"] / 45)
    scale = METHODS[method] * (0.7 + 0.5 * side)
    offset = rng.normal(0, 1, (len(table), 2)) * scale.to_numpy()[:, None]
    true = rng.uniform(20, 100, (len(table), 2))
    error = np.hypot(*offset.T)
    confidence = np.clip(np.exp(-error / 14) + rng.normal(0, 0.07, len(table)), 0, 1)
    table = table.assign(
        dataset="pelvis",
        method=method,
        seed=seed,
        view_set=view_set,
        subject="pelvis",
        patient=np.array(patients)[np.arange(len(table)) // len(landmarks) % len(patients)],
        instance=0,
        x_true_px=true[:, 0],
        y_true_px=true[:, 1],
        x_px=true[:, 0] + offset[:, 0],
        y_px=true[:, 1] + offset[:, 1],
        confidence=confidence,
        detected=confidence >= 0.4,
        visible=rng.uniform(size=len(table)) > 0.1,
        error_px=error,
        error_detector_mm=error * 0.6,
        error_isocentre_mm=error * 0.375,
        seen_in_training=seen,
    )
    if method == MEAN_POSITION:
        table = table.assign(confidence=1.0, detected=True)
    return table[ERROR_COLUMNS]


def project_of_examples(preset="demo"):
    """Two methods on one pelvis, each compared with a paper."""
    views = {
        "train": {"of": "train", "role": "train", "sampling": {"kind": "sphere", "count": 4}},
        "grid": {"of": "train", "role": "evaluate", "sampling": {"kind": "grid"}},
    }
    dataset = Dataset(
        name="pelvis", title="Pelvis", subjects=["pelvis"], landmarks="none", view_sets=views,
        use_landmarks=LANDMARKS,
    )  # fmt: skip
    methods = {
        "cpm": Method(name="cpm", title="Pose machine", module="cpm"),
        "unet": Method(name="unet", title="U-Net", module="unet"),
    }
    config = Config.model_validate(
        {
            "preset": preset,
            "datasets": ["pelvis.yaml"],
            "methods": ["cpm.yaml", "unet.yaml"],
            "experiments": [
                {
                    "dataset": "pelvis",
                    "method": "cpm",
                    "evaluate": ["grid"],
                    "paper": "bier2018",
                    "poses": ["grid"],
                },
                {"dataset": "pelvis", "method": "unet", "evaluate": ["grid"], "paper": "pel"},
            ],
            "evaluation": {"bootstrap": 200},
        }
    )
    return Project(config, {"pelvis": dataset}, methods)
