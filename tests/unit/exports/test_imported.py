"""Imported X-rays, exported: pixel sizes of their own, landmarks that are missing, no geometry; the pages."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pycocotools.coco
import pytest
import yaml

from raymark.config.imports import Import2d
from raymark.config.project import read_project
from raymark.core.errors import InputError
from raymark.datasets.imported import read_images
from raymark.exports import besides, export_view_set, formats
from raymark.exports.base import Source
from raymark.imports.write import import_2d
from tests.unit.imports.examples import settings, shards_of, write_images
from tests.workflow.conftest import make_project

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Twelve images of different sizes and so pixels; the first of them lacks the landmark `tip`."""
    monkeypatch.chdir(make_project(tmp_path / "project").folder)
    write_images()
    points = pd.read_csv("points.csv")
    missing = (points["image"] == "x00.png") & (points["landmark"] == "tip")
    points[~missing].to_csv("points.csv", index=False)
    import_2d(settings(split={"kind": "whole", "view_set": "test"}), "import.yaml")
    return Source(read_project("config.yaml"), "made", "test")


def test_coco_tells_each_images_pixel_size_and_leaves_out_what_is_missing(source):
    assert export_view_set(source, "coco", "out") == 12
    coco, images = pycocotools.coco.COCO("out/keypoints.json"), read_images("made")
    told = coco.loadImgs(coco.getImgIds())
    assert [image["pixel_mm"] for image in told] == pytest.approx(images["pixel_mm"].tolist())
    assert len({image["pixel_mm"] for image in told}) == 12
    assert [image["patient"] for image in told] == images["patient"].tolist()
    (first,) = coco.loadAnns(coco.getAnnIds(told[0]["id"]))
    assert first["keypoints"][6:] == [0, 0, 0]
    assert coco.dataset["info"]["greys"]["value"] == "grey, 0 to 1"


def test_json_has_no_geometry_that_nobody_knows(source):
    export_view_set(source, "json", "out")
    told = json.loads(Path("out/test-000000.json").read_text())
    assert not {"K", "world_to_camera_ras_mm", "c_arm", "physics", "mirrored"} & set(told)
    assert told["landmarks"][2] == {"name": "tip", "px": None, "visible": False}
    points = [landmark["px"] for landmark in told["landmarks"][:2]]
    np.testing.assert_allclose(points, shards_of("test").small["landmarks"][0, :2], atol=1e-6)


@pytest.mark.parametrize("name", ["dicom", "nnlandmark"])
def test_what_needs_a_ct_is_refused(source, name):
    with pytest.raises(InputError, match="made"):
        export_view_set(source, name, "out")
    assert not Path("out").exists()


def test_the_page_of_annotating_has_settings_that_an_import_takes():
    (block,) = re.findall(r"```yaml\n(.*?)```", (DOCS / "annotating.md").read_text(), re.S)
    Import2d.model_validate(yaml.safe_load(block))


def test_the_pages_tell_every_form():
    exports, annotating = ((DOCS / f"{name}.md").read_text() for name in ("exports", "annotating"))
    assert all(f"`{name}`" in exports for name in formats())
    assert all(f"--also {name}" in exports + annotating for name in besides())
