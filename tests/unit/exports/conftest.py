"""A rendered data set of a small project, and what a model is said to have found on one of its view sets."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from raymark import cli, layout
from raymark.config.project import read_project
from raymark.core.stored_tables import store_table
from raymark.datasets.lookup import shards_of
from raymark.datasets.shards import Shards
from raymark.detection.on_views import SCHEMA
from tests.workflow.conftest import DATASET, make_project

# Shifts of found points from the true ones, px: nothing that rounding would hide.
SHIFT_PX = (0.37, -1.73)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Collimated views (novel) that miss landmarks, others from all around, and random, mirrored ones (train)."""
    project = make_project(tmp_path_factory.mktemp("exports") / "project")
    view_sets = {name: dict(settings) for name, settings in DATASET["view_sets"].items()}
    view_sets["train"] |= {"virtual_patients": False}
    view_sets["novel"] |= {
        "field_of_view_share": 0.5,
        "translation_mm": [30, 10, 20],
        "sampling": {
            "kind": "grid",
            "step_deg": 60,
            "primary_deg": [-60, 60],
            "secondary_deg": [-30, 30],
        },
    }
    view_sets["around"] = view_sets["novel"] | {
        "sampling": {"kind": "orbit", "primary_deg": [0, 360], "count": 12}
    }
    project.write("balls.yaml", DATASET | {"view_sets": view_sets})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.folder)
        subject = ["balls", "ball_patient"]
        steps = [["ingest", *subject], ["landmarks", *subject], ["views", "balls"]]
        for step in steps:
            assert cli.main([*step, "--config", "config.yaml"]) == 0
        views = pd.read_parquet(layout.VIEWS.format(dataset="balls"))
        for view_set, shard in sorted({(v.view_set, v.shard) for v in views.itertuples()}):
            place = ["balls", view_set, "ball_patient", str(shard)]
            assert cli.main(["render", *place, "--config", "config.yaml"]) == 0
        for view_set in ("novel", "train"):
            _predict(view_set)
    return project.folder


def _predict(view_set: str) -> None:
    """Write predictions a known way off the truth; what is not visible is not detected."""
    shards = Shards(shards_of(read_project("config.yaml"), "balls", view_set))
    small, count = shards.small, len(shards.landmarks)
    points = (small["landmarks"] + np.float32(SHIFT_PX)).reshape(-1, 2)
    table = pd.DataFrame(
        {
            "dataset": "balls",
            "method": "narrow",
            "seed": 0,
            "view_set": view_set,
            "view": np.repeat(shards.views, count),
            "subject": np.repeat(shards.subjects, count),
            "landmark": np.tile(shards.landmarks, len(shards)),
            "instance": 0,
            "x_px": points[:, 0],
            "y_px": points[:, 1],
            "confidence": np.float32(0.75),
            "detected": small["visible"].ravel(),
        }
    )
    place = {"dataset": "balls", "method": "narrow", "seed": 0, "view_set": view_set}
    table = pa.Table.from_pandas(table, SCHEMA, preserve_index=False)
    store_table(table, layout.PREDICTIONS.format(**place))


@pytest.fixture
def project(folder, monkeypatch):
    """The project, in its folder."""
    monkeypatch.chdir(folder)
    return read_project("config.yaml")


@pytest.fixture
def exported(folder, tmp_path, monkeypatch):
    """Export by the command line; return the folder that it wrote."""
    monkeypatch.chdir(folder)

    def export(format_name: str, view_set: str = "novel", *options: str, name: str = "out"):
        out = tmp_path / name
        asked = ["--dataset", "balls", "--view-set", view_set, "--format", format_name]
        config = ["--out", str(out), "--config", "config.yaml"]
        assert cli.main(["export-data", *asked, *config, *options]) == 0
        return out

    return export
