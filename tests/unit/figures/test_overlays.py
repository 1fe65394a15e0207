import numpy as np
import pandas as pd
import pytest

from raymark.figures import overlays as figure
from raymark.figures.overlays import main_angles, one_view_each, overlays, pick_views
from tests.unit.evaluation.examples import (
    LANDMARKS,
    errors_of,
    grid_of_views,
    project_of_examples,
)
from tests.unit.figures.examples import xray


def test_nothing_is_written_on_the_landmarks(errors, pages):
    views = pick_views(errors[["view", "primary_deg", "secondary_deg"]])
    scattered = views.assign(primary_deg=np.arange(len(views)) * 3.0)
    images = {view: xray() for view in views["view"]}
    for shown in (views, scattered, scattered.assign(subject=[f"p{i}" for i in range(len(views))])):
        overlays(shown, images, errors, "stem", dict.fromkeys(views["view"], "below"))
        for axes in pages[-1].axes:
            for text in (text for text in axes.texts if text.get_text()):
                assert not text.get_window_extent().overlaps(axes.get_window_extent())
    titles = [axes.get_title() for axes in pages[-1].axes]
    assert titles[1] == "p1\nLAO 3°, CRAN 45°"
    assert [axes.get_title() for axes in pages[0].axes][4:6] == ["LAO 60°", ""]


def test_main_angles_are_said_and_what_has_none():
    row = {"view": "a", "mt_deg": 19.6, "mt_true_deg": 30.2}
    angles = pd.DataFrame([row, row | {"view": "b", "mt_deg": np.nan}])
    said = {"a": "MT true 30°\npredicted 20°", "b": "MT true 30°\npredicted none"}
    assert main_angles(angles) == said


def test_overlays_show_each_of_several_subjects_once_and_a_grid_of_the_first(monkeypatch):
    """Bent copies of a spine are what its tables rest on: all of them are to be seen."""
    shown, project = [], project_of_examples()
    copies = [errors_of("cpm").assign(subject=f"pelvis{end}") for end in ("-v001", "", "-v002")]
    for copy in copies:
        copy["view"] += copy["subject"]
    monkeypatch.setattr(figure, "first_instances", lambda _: pd.concat(copies))
    for name in ("Shards", "shards_of", "shard_files", "images_of"):
        monkeypatch.setattr(figure, name, lambda *_: [])
    monkeypatch.setattr(figure, "landmark_names", lambda _: LANDMARKS)
    monkeypatch.setattr(figure, "overlays", lambda views, *_: shown.append(views))
    figure.draw(project, "pelvis", "cpm", "grid", stem="stem")
    assert len(shown[0]) == 15
    assert shown[0]["view"].str.endswith("pelvis").all()
    view_sets = project.datasets["pelvis"].view_sets
    view_sets["grid"] = view_sets["train"]  # views all over the sphere
    figure.draw(project, "pelvis", "cpm", "grid", stem="stem")
    assert shown[1]["subject"].tolist() == ["pelvis", "pelvis-v001", "pelvis-v002"]


def test_of_many_subjects_some_are_shown():
    views = pd.DataFrame({"view": [f"{i:03d}" for i in range(100)], "subject": ""})
    views["subject"] = [f"p{i // 2:02d}" for i in range(100)]
    chosen = one_view_each(views)
    assert len(chosen) == chosen["subject"].nunique() == 15
    assert chosen["subject"].iloc[[0, -1]].tolist() == ["p00", "p49"]


def test_views_of_a_grid_are_its_evenly_spread_members():
    views = pick_views(grid_of_views(15))
    assert views["primary_deg"].tolist() == [-60, -30, 0, 30, 60] * 3
    assert views["secondary_deg"].tolist() == [45] * 5 + [0] * 5 + [-45] * 5


def test_no_view_is_picked_twice():
    views = pick_views(grid_of_views(15).iloc[:7])
    assert sorted(views["view"]) == sorted(grid_of_views(15)["view"][:7])


@pytest.mark.parametrize("scattered", [False, True])
def test_nothing_detected_and_few_scattered_views_are_drawn_too(errors, scattered, tmp_path):
    views = pick_views(errors)
    if scattered:
        rng = np.random.default_rng(1)
        views = views[:7].assign(primary_deg=rng.uniform(-40, 40, 7))
    images = dict.fromkeys(views["view"], xray())
    overlays(views, images, errors.assign(detected=False), tmp_path / "overlays")
    assert (tmp_path / "overlays.png").stat().st_size > 1000
