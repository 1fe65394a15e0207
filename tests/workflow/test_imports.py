"""Imported X-rays through the whole workflow, and an import whose data is not there beside them."""

import csv

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.unit.imports.examples import NAMES, blobs
from tests.workflow.conftest import CONFIG, make_project

XRAYS = {
    "name": "xrays",
    "title": "Blobs",
    "images": "data/images",
    "annotations": {"layout": "csv", "file": "data/points.csv"},
    "height_px": 48,
    "width_px": 48,
    "scale": {"kind": "pixel", "pixel_mm": 0.5},
    "split": {"kind": "folds", "folds": 3},
    "beliefs": {"stride": 8, "sigma_px": 6},
    "images_per_shard": 4,
}
EXPERIMENTS = [
    {"dataset": "xrays", "method": "narrow", "evaluate": ["test"]},
    {"dataset": "elsewhere", "method": "narrow", "evaluate": ["test"]},
]
TARGETS = [
    *(f"results/tables/{name}.html" for name in ("methods", "landmarks", "data")),
    *(
        f"results/figures/{name}.png"
        for name in (
            "dataset_samples-xrays",
            "training_curves-xrays",
            "error_distribution-xrays-test",
            "overlays-xrays-narrow-test",
            "belief_error-xrays-narrow-test",
        )
    ),
]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = make_project(tmp_path_factory.mktemp("imports") / "project")
    images = project.folder / "data/images"
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    with open(project.folder / "data/points.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "landmark", "x_px", "y_px"])
        for number in range(18):
            points = np.array([[40, 30], [20, 30], [30, 50]]) + rng.uniform(-8, 8, 2)
            Image.fromarray(blobs(points, (72, 64))).save(images / f"{number:02d}.png")
            table.writerows([f"{number:02d}", n, *p] for n, p in zip(NAMES, points, strict=True))
    project.write("xrays.yaml", XRAYS)
    project.write("elsewhere.yaml", XRAYS | {"name": "elsewhere", "images": "data/elsewhere"})
    imports = {"imports": ["xrays.yaml", "elsewhere.yaml"], "experiments": EXPERIMENTS}
    project.write("config.yaml", CONFIG | imports)
    return project


def test_an_import_is_trained_on_and_an_absent_one_is_told(project):
    told = "elsewhere, test: data not present: data/elsewhere is not there"
    done = project.snakemake(*TARGETS)
    assert (done.stdout + done.stderr).count(told) == 1
    for target in TARGETS:
        assert (project.folder / target).stat().st_size > 0
    rows = pd.read_csv(project.folder / "results/tables/methods.csv").set_index(
        ["dataset", "method"]
    )
    assert list(rows.index) == [
        ("xrays", "narrow"), ("xrays", "mean_position"), ("elsewhere", "narrow"),
    ]  # fmt: skip
    assert rows.loc[("xrays", "narrow"), ["patients", "views", "visible_landmarks"]].tolist() == [
        6,
        6,
        18,
    ]
    assert rows.loc["xrays", "mre_detector_mm"].gt(0).all()
    assert rows.loc[("elsewhere", "narrow"), ["mre_detector_mm", "patients", "views"]].isna().all()
    page = (project.folder / "results/tables/methods.html").read_text()
    assert "Data not present: Blobs, test: data/elsewhere is not there" in page


def test_changed_settings_import_again_and_a_title_does_not(project):
    assert "import_2d" not in project.planned()
    for change, again in (({"title": "Other"}, False), ({"height_px": 40}, True)):
        project.write("xrays.yaml", XRAYS | change)
        planned = project.planned()
        project.write("xrays.yaml", XRAYS)
        assert ("import_2d" in planned) == again
        assert ("train" in planned) == again


def test_a_changed_image_is_imported_again(project):
    Image.fromarray(blobs([[10, 10]], (72, 64))).save(project.folder / "data/images/00.png")
    assert "import_2d" in project.planned()
