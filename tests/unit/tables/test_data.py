"""The table of CTs calls data sets as every other table does."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from raymark import layout
from raymark.tables.cts import SPACING, TABLE, VOXELS
from tests.unit.evaluation.examples import project_of_examples


def test_cts_are_listed_under_their_data_sets_title(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path(layout.QUALITY.format(dataset="hip", subject="ann"))
    path.parent.mkdir(parents=True)
    grids = [f"{grid}_{name}" for grid in ("original", "volume") for name in (*VOXELS, *SPACING)]
    numbers = ["hu_min", "hu_max", "padding_share", "metal_mm3", "bone_share"]
    quality = pd.DataFrame([{"subject": "ann", "warnings": ""} | dict.fromkeys(grids + numbers, 1)])
    quality.to_csv(path, index=False)
    own = project_of_examples()
    dataset = own.datasets["pelvis"].model_copy(update={"subjects": ["ann"], "title": "Our hips"})
    table = TABLE.make(replace(own, datasets={"hip": dataset}))
    assert table.columns[0].key == "dataset_title"
    assert table.frame["dataset_title"].tolist() == ["Our hips"]
