"""Views that cannot be meant are refused; those of every data set that we ship are not."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raymark import cli
from raymark.config.dataset import Dataset
from raymark.config.project import read_dataset
from raymark.config.subjects import Subject
from raymark.core.errors import InputError
from raymark.ct import Volume
from raymark.views.plan import plan_views
from raymark.views.sight import check_on_image, check_source_outside
from tests.workflow.conftest import DATASET, ROOT, make_project

SHEET = {"a": Subject("a", "A", "ct", "points", "", "train")}
# As far apart as a pelvis's landmarks are.
POINTS_MM = np.array([[x, y, z] for x in (-120, 120) for y in (-50, 50) for z in (-90, 90)], float)
VOLUME = Volume(np.zeros((80, 60, 70), np.int16), np.diag([4.0, 4.0, 4.0, 1.0]))


def planned(detector=(), **view_set) -> tuple[pd.DataFrame, Dataset]:
    views = {"of": "train", "role": "train", "sampling": {"kind": "sphere", "count": 30}}
    values = {
        "name": "hip",
        "title": "Hip",
        "subjects": ["a"],
        "landmarks": "l.yaml",
        "detector": {"height_px": 120, "width_px": 154, "pixel_mm": 2.4} | dict(detector),
        "view_sets": {"train": views | view_set},
    }
    dataset = Dataset.model_validate(values)
    return plan_views(dataset, SHEET, {"a": np.zeros(3)}, 0), dataset


@pytest.mark.parametrize(
    ("view_set", "detector", "field"),
    [
        (
            {},
            {"pixel_mm": 0.24},
            r"view_sets\.train: only .* % of the landmarks.*pixel_mm \(0\.24\)",
        ),
        ({}, {"pixel_mm": 24.0}, r"detector\.pixel_mm: 24 mm a pixel make a detector of 3\.7 m"),
        (
            {"source_to_detector_mm": (12000, 12000)},
            {},
            r"view_sets\.train: only .*source_to_detector_mm \(12000 to 12000\)",
        ),
    ],
)
def test_sizes_in_another_unit_are_refused(view_set, detector, field):
    table, dataset = planned(detector, **view_set)
    with pytest.raises(InputError, match=f"data set hip, {field}"):
        check_on_image(table, dataset, {"a": POINTS_MM})


def test_a_narrow_collimator_is_not_refused():
    table, dataset = planned(field_of_view_share=0.5, translation_mm=(60, 60, 60))
    check_on_image(table, dataset, {"a": POINTS_MM})


def test_a_source_inside_the_ct_is_refused():
    """Centimetres: 75 mm from the middle of a CT of 320 × 240 × 280 mm."""
    middle = {"a": np.array([158.0, 118.0, 138.0])}
    for distances_mm, refused in (((75, 75), True), ((750, 750), False)):
        _, dataset = planned(source_to_isocentre_mm=distances_mm)
        table = plan_views(dataset, SHEET, middle, 0)
        if refused:
            with pytest.raises(
                InputError, match=r"source_to_isocentre_mm: at 75 mm .* inside the CT"
            ):
                check_source_outside(table, dataset, VOLUME)
        else:
            check_source_outside(table, dataset, VOLUME)


def test_the_steps_tell_it_before_they_write(tmp_path, monkeypatch, capsys):
    project = make_project(tmp_path / "project")
    monkeypatch.chdir(project.folder)

    def step(name: str, *place: str, **changes) -> int:
        project.write("balls.yaml", DATASET | {"cohort": {"count": 0}} | changes)
        return cli.main([name, "--config", "config.yaml", "balls", *place])

    assert step("ingest", "ball_patient") == step("landmarks", "ball_patient") == 0
    assert step("views", detector=DATASET["detector"] | {"pixel_mm": 0.032}) == 1
    assert "pixel_mm (0.032)" in capsys.readouterr().err
    assert not Path("results/views").exists()
    centimetres = {"source_to_isocentre_mm": [40, 40], "source_to_detector_mm": [120, 120]}
    view_sets = DATASET["view_sets"] | {"novel": DATASET["view_sets"]["novel"] | centimetres}
    assert step("views", view_sets=view_sets) == 0
    assert step("render", "novel", "ball_patient", "0", view_sets=view_sets) == 1
    assert "at 40 mm the X-ray source of the view novel-ball" in capsys.readouterr().err
    assert not Path("results/shards").exists()


@pytest.mark.parametrize("preset", ["demo", "full"])
@pytest.mark.parametrize(
    "path", sorted((ROOT / "config/datasets").glob("*.yaml")), ids=lambda p: p.stem
)
def test_no_data_set_that_we_ship_is_refused(path, preset):
    """Their real landmarks need a CT: here it is the corners of a pelvis, about the isocentre."""
    dataset = read_dataset(path, preset)
    dataset = dataset.model_copy(update={"cohort": dataset.cohort.model_copy(update={"count": 0})})
    splits = {view_set.of for view_set in dataset.view_sets.values()}
    sheet = {split: Subject(split, split, "ct", "points", "", split) for split in splits}
    dataset = dataset.model_copy(update={"subjects": list(sheet)})
    table = plan_views(dataset, sheet, dict.fromkeys(dataset.subjects, np.zeros(3)), 0)
    assert len(table)
    check_on_image(table, dataset, dict.fromkeys(dataset.subjects, POINTS_MM))
