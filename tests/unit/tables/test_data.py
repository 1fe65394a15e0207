"""The table of CTs calls data sets as every other table does."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd

from raymark import layout
from raymark.tables.data import SPACING, VOXELS, read_cts


def test_cts_are_listed_under_their_data_sets_title(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path(layout.QUALITY.format(dataset="hip", subject="ann"))
    path.parent.mkdir(parents=True)
    grids = [f"{grid}_{name}" for grid in ("original", "volume") for name in (*VOXELS, *SPACING)]
    numbers = ["hu_min", "hu_max", "padding_share", "metal_mm3", "bone_share"]
    quality = pd.DataFrame([{"subject": "ann", "warnings": ""} | dict.fromkeys(grids + numbers, 1)])
    quality.to_csv(path, index=False)
    dataset = SimpleNamespace(subjects=["ann"], title="Hips of our own")
    table = read_cts(SimpleNamespace(datasets={"hip": dataset}, scale=""))
    assert table.columns[0].key == "dataset_title"
    assert table.frame["dataset_title"].tolist() == ["Hips of our own"]
