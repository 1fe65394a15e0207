from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from raymark.config.papers import Paper
from raymark.evaluation.results import UNSEEN, Results
from raymark.figures.keypoint_accuracy import Measured, keypoint_accuracy, of_methods, of_types
from tests.unit.evaluation.examples import LANDMARKS, errors_of, project_of_examples


def figure_results(*tables):
    """Results of two methods of one paper, which states 90 and 80 % for them, and 70 % for a type."""
    row = {"title": "-", "evaluated_on": UNSEEN, "source": "Table 9", "dataset": "pelvis"}
    rows = [
        row | {"method": m, "values": {"pck_8_paper_px": v}}
        for m, v in (("cpm", 0.9), ("unet", 0.8))
    ]
    rows.append(row | {"method": "cpm", "landmark": "asis", "values": {"pck_8_paper_px": 0.7}})
    paper = Paper.model_validate({"name": "bier2018", "short": "P", "citation": "-", "rows": rows})
    project = project_of_examples()
    experiments = [
        e.model_copy(update={"paper": "bier2018", "evaluate": ["grid", "other"]})
        for e in project.config.experiments
    ]
    sets = project.datasets["pelvis"].view_sets
    dataset = project.datasets["pelvis"].model_copy(
        update={"view_sets": sets | {"other": sets["grid"]}}
    )
    config = project.config.model_copy(update={"experiments": experiments})
    project = replace(project, config=config, datasets={"pelvis": dataset})
    types = {"pelvis": {"asis": ["left_asis", "right_asis"]}}
    errors = pd.concat(tables, ignore_index=True)
    papers = {"bier2018": paper}
    return Results(project, errors, {"pelvis": LANDMARKS}, papers=papers, types=types)


def test_curves_are_of_unseen_patients_where_there_are_any():
    seen = errors_of("cpm")
    unseen = errors_of("cpm", seed=1, patients=("P2",), seen=False)
    for tables, wanted in (((seen, unseen), unseen), ((seen,), seen)):
        found = of_types(figure_results(*tables), "bier2018")
        assert list(found) == ["Asis, Pelvis"]
        measured = found["Asis, Pelvis"]
        assert measured.published == 0.7
        wanted = wanted[wanted["landmark"].isin(["left_asis", "right_asis"])]
        assert sorted(measured.errors["error_px"]) == pytest.approx(sorted(wanted["error_px"]))


def test_methods_are_compared_on_the_view_sets_that_all_have():
    grid, other = errors_of("cpm"), errors_of("cpm", view_set="other")
    of_unet = [errors_of("unet"), errors_of("unet", view_set="other")]
    for tables, wanted in (
        ((grid, other, *of_unet), pd.concat([grid, other])),
        ((grid, other, of_unet[0]), grid),
    ):
        found = of_methods(figure_results(*tables), "bier2018", "sacrum")
        assert {name: each.published for name, each in found.items()} == {
            "Pose machine": 0.9,
            "U-Net": 0.8,
        }
        errors = wanted[wanted["landmark"] == "sacrum"]["error_px"]
        ours = found["Pose machine"].errors["error_px"]
        assert sorted(ours) == pytest.approx(sorted(errors))


def test_published_shares_stand_beyond_the_axis_of_distances_and_apart(errors, pages):
    measured = {name: Measured(errors, 0.9) for name in "abc"}
    keypoint_accuracy(measured, {"A": Measured(errors)}, "carina", [4, 6, 8], "stem")
    hollow = [line for line in pages[0].axes[0].lines if line.get_markerfacecolor() == "none"]
    places = sorted(float(line.get_xdata()[0]) for line in hollow)
    assert places[0] > 8
    assert np.diff(places).min() > 0.1
    assert [line.get_ydata()[0] for line in hollow] == [90] * 3
    assert pages[0].axes[1].get_xlim()[1] < 9  # nothing is published there: no strip
