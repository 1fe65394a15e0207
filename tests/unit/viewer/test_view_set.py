"""What the page gives as YAML is a view set of a data set file, and plans the views that it draws."""

import numpy as np
import pytest
import yaml

from raymark.config.dataset import Dataset
from raymark.core.errors import InputError
from raymark.viewer.view_set import Around, as_yaml, planned
from raymark.views.plan import camera_of, detector_of, plan_views
from tests.unit.viewer.examples import asked, points_mm, shown

BEADS = shown()
VIEW = asked(BEADS, primary_deg=-42.5, secondary_deg=12.0, roll_deg=5.0, field_of_view_share=0.8)


def dataset_with(text: str) -> Dataset:
    values = {"name": "own", "title": "own", "subjects": ["own"], "landmarks": "x.yaml"}
    return Dataset.model_validate(values | yaml.safe_load(text))


def test_one_view_pasted_into_a_data_set_is_the_view_shown():
    from raymark.config.subjects import Subject
    from raymark.viewer.frames import Frames

    dataset = dataset_with(as_yaml(VIEW, Around()))
    sheet = {"own": Subject("own", "own", "", "", "", "test")}
    (row,) = plan_views(dataset, sheet, {"own": points_mm().mean(axis=0)}, 0).itertuples()
    share = dataset.view_sets["from_page"].field_of_view_share
    pasted, seen = camera_of(row, detector_of(dataset.detector, share)), Frames(BEADS).camera(VIEW)
    np.testing.assert_allclose(pasted.projection, seen.projection, rtol=1e-9)
    assert pasted.shape_yx == seen.shape_yx
    assert dataset.physics.model_dump() == VIEW.physics.model_dump()


def test_views_around_stay_within_the_ranges_and_are_those_of_the_yaml():
    around = Around(primary_deg=20, secondary_deg=10, count=50)
    told = planned(BEADS, VIEW, around)
    angles = np.array(told["views"])
    assert len(angles) == 50
    assert (np.abs(angles - (-42.5, 12.0)) <= (20.01, 10.01)).all()
    assert np.ptp(angles, axis=0) == pytest.approx((40, 20), rel=0.2)
    sampling = yaml.safe_load(told["yaml"])["view_sets"]["from_page"]["sampling"]
    assert sampling["primary_deg"] == [-62.5, -22.5]
    assert sampling["count"] == 50


def test_a_mirrored_view_and_an_isocentre_are_in_the_yaml():
    flipped = VIEW.model_copy(update={"flip": True})
    dataset = dataset_with(as_yaml(flipped, Around(isocentre="left_hip")))
    assert dataset.isocentre == "left_hip"
    assert dataset.view_sets["from_page"].flip_probability == 1


def test_a_segment_ends_at_the_poles():
    told = planned(BEADS, asked(BEADS, secondary_deg=80.0), Around(secondary_deg=30))
    assert yaml.safe_load(told["yaml"])["view_sets"]["from_page"]["sampling"]["secondary_deg"] == [
        50,
        90,
    ]


def test_distances_that_no_view_set_can_have_are_refused():
    with pytest.raises(InputError, match="source_to_detector_mm must be above"):
        as_yaml(asked(BEADS, source_to_detector_mm=500.0), Around())
