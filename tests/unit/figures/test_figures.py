import xml.etree.ElementTree as ElementTree
from contextlib import contextmanager
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
import pytest
from docutils.core import publish_doctree
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from raymark.config.project import read_project
from raymark.core.drawing import DPI
from raymark.core.errors import InputError
from raymark.figures import FIGURES, figure_names, make_images
from raymark.figures.beliefs import belief_error
from raymark.figures.cobb import cobb_agreement, main_angles
from raymark.figures.contrast import contrast
from raymark.figures.distribution import error_distribution
from raymark.figures.instances import Found, found_instances
from raymark.figures.keypoints import Measured, keypoint_accuracy
from raymark.figures.landmarks import dataset_samples, landmark_overview
from raymark.figures.make import MAKERS, make_figure
from raymark.figures.matrix import matrix as draw_matrix
from raymark.figures.overlays import one_view_each, overlays, pick_views
from raymark.figures.pose import Verified, edges_of, pose_verification
from raymark.figures.setup import Compared, setup_errors, setup_overlays
from raymark.figures.sphere import (
    belief_sphere,
    bin_edges,
    sphere_accuracy,
    steadiest_and_most_varied,
)
from raymark.figures.stages import Example, belief_stages
from raymark.figures.training import training_curves
from raymark.landmarks.names import readable, side_of
from raymark.metrics.cobb import ANGLES, true_columns
from raymark.radiotherapy.contrast_views import Paired
from raymark.rendering.physics import MATERIALS
from raymark.tables import TABLES
from tests.unit.evaluation.examples import errors_of, grid_of_views, project_of_examples


@pytest.fixture
def errors():
    return errors_of("cpm")


def xray(seed=0, shape=(60, 80)):
    return np.random.default_rng(seed).normal(3, 1, shape).astype(np.float16)


def losses(epochs=5, diverged=False):
    epoch = np.arange(1, epochs + 1)
    table = pd.DataFrame({"epoch": epoch, "train_loss": 1 / epoch, "validation_loss": 1.2 / epoch})
    table = table.assign(validation_rmse_px=9.0 / epoch, diverged=False)
    if diverged:
        table.loc[epochs - 1, ["train_loss", "validation_loss", "validation_rmse_px"]] = np.nan
        table.loc[epochs - 1, "diverged"] = True
    return table


def draw(kind, errors, stem):
    views = pick_views(errors)
    images = {view: xray() for view in views["view"]}
    points = errors[["view", "landmark", "x_true_px", "y_true_px", "visible"]]
    points = points.rename(columns={"x_true_px": "x_px", "y_true_px": "y_px"})
    if kind == "matrix":
        numbers = {f"mre_isocentre_mm{end}": n for end, n in (("", 2.0), ("_low", 1), ("_high", 3))}
        said = {"patients": 1, "subjects": 1, "views": 9, "points": 90, "diverged": False}
        said |= {"place_title": "Pelvis"}
        changes = pd.DataFrame({"method_title": ["A", "B"], "change": ["↓", "baseline"]})
        draw_matrix(changes.assign(**numbers, **said), ["A", "B"], stem)
    elif kind == "overlays":
        overlays(views, images, errors, stem)
    elif kind == "pose_verification":
        used_px = errors.loc[errors["detected"], ["x_px", "y_px"]].to_numpy()[:9]
        view = Verified("view", xray(), used_px, xray(1), xray(2), (12.0, 0.8))
        pose_verification([view, view], stem)
    elif kind == "belief_stages":
        maps = np.random.default_rng(0).uniform(0, 1, (3, 8, 10))
        example = Example("left_asis", "AP", xray(), maps, 8, np.full((3, 2), 30.0), None)
        belief_stages([example], np.array([9.0, 5, 4]), 50, stem)
    elif kind == "keypoint_accuracy":
        of_two = {"Process, kV": errors, "Carina, MV": errors.assign(error_px=2.0)}
        of_two = {name: Measured(table, 0.9) for name, table in of_two.items()}
        keypoint_accuracy(of_two, {"A": Measured(errors)}, "carina", [4, 6, 8], stem)
    elif kind == "cobb_agreement":
        true, found = np.array([[30.0, 10, 5], [50, 20, 0]]), [[28.0, 14, 5], [np.nan] * 3]
        columns = dict(zip(true_columns(), true.T, strict=True))
        angles = pd.DataFrame(found, columns=ANGLES).assign(view=["a", "b"], **columns)
        cobb_agreement({"A": angles, "B": angles}, stem)
    elif kind == "found_instances":
        points = np.array([[10.0, 20.0], [40.0, 50.0]])
        belief = np.random.default_rng(0).uniform(0, 1, (15, 20))
        one = Found("process", xray(), belief, 4, points, points + 2)
        found_instances([one, one], stem)
    elif kind == "dataset_samples":
        dataset_samples(views.assign(flip=True), images, points, stem)
    elif kind == "landmark_overview":
        one = points[points["view"] == points["view"][0]]
        landmark_overview({"AP": xray(), "Lateral": xray()}, {"AP": one, "Lateral": one}, stem)
    elif kind == "training_curves":
        training_curves({"A": losses(), "B": losses(3, True), "C": losses(1)}, stem)
    elif kind == "error_distribution":
        error_distribution({"A": errors["error_px"].to_numpy(), "B": np.array([1, np.nan])}, stem)
    elif kind == "setup_overlays":
        points = np.array([[10.0, 20.0], [40.0, 50.0]])
        one = Compared("displaced", xray(), xray(1), points, points + 3, np.array([True, False]),
                       {"a": np.full(2, 3.0), "b": np.full(2, np.nan)}, {"a": 0.5}, 1.0)  # fmt: skip
        setup_overlays([one, one], {"a": "By landmarks", "b": "By intensities"}, stem)
    elif kind == "setup_errors":
        setup_errors({"A": np.array([1.0, 2, np.nan]), "B": np.array([3.0, 4, 5])}, [2, 5], stem)
    elif kind == "contrast":
        densities = np.random.default_rng(0).uniform(0, 2, (len(MATERIALS), 60, 80))
        densities[MATERIALS.index("bone"), :, ::2] = 0
        images = {"kv": xray().astype(float), "mv": xray(1).astype(float)}
        bones = densities[MATERIALS.index("bone")]
        pair = Paired("AP", images, {k: i - 0.1 for k, i in images.items()}, densities, bones, 1.0)
        contrast(pair, {"kv": "kV", "mv": "6 MV"}, stem)
    elif kind == "sphere_accuracy":
        sphere_accuracy(errors, {"within 15 px": 15.0, "within 4 px": 4.0}, stem)
    elif kind == "belief_error":
        belief_error(errors, 0.4, stem)
    elif kind == "belief_sphere":
        belief_sphere(errors, steadiest_and_most_varied(errors), stem)


@pytest.mark.parametrize("kind", FIGURES)
def test_every_figure_is_a_whole_svg_and_a_png_for_print(kind, errors, tmp_path):
    draw(kind, errors, tmp_path / kind)
    assert ElementTree.parse(tmp_path / f"{kind}.svg").getroot().tag.endswith("svg")
    with Image.open(tmp_path / f"{kind}.png") as picture:
        assert picture.info["dpi"][0] == pytest.approx(DPI, abs=1)
        assert np.asarray(picture.convert("L")).std() > 5  # something is drawn
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".png", ".svg"]  # and nothing is left


@pytest.mark.parametrize("kind", ["sphere_accuracy", "training_curves"])
def test_same_data_give_same_bytes(kind, errors, tmp_path):
    for name in ("one", "two"):
        draw(kind, errors, tmp_path / name)
    for suffix in ("svg", "png"):
        assert (tmp_path / f"one.{suffix}").read_bytes() == (
            tmp_path / f"two.{suffix}"
        ).read_bytes()


@pytest.mark.parametrize("kind", ["sphere_accuracy", "belief_error", "overlays", "belief_sphere"])
def test_nothing_detected_is_drawn_too(kind, errors, tmp_path):
    draw(kind, errors.assign(detected=False, confidence=0.0), tmp_path / kind)
    assert (tmp_path / f"{kind}.png").stat().st_size > 1000


def test_scattered_and_few_views_are_drawn_too(errors, tmp_path):
    rng = np.random.default_rng(1)
    few = errors[errors["view"].isin(errors["view"].unique()[:7])].copy()
    place = {view: rng.uniform(-40, 40, 2) for view in few["view"].unique()}
    few["primary_deg"] = few["view"].map(lambda view: place[view][0])
    few["secondary_deg"] = few["view"].map(lambda view: place[view][1])
    for kind in ("overlays", "sphere_accuracy"):
        draw(kind, few, tmp_path / kind)
        assert (tmp_path / f"{kind}.png").stat().st_size > 1000


# cells of the sphere


def test_a_grid_gives_a_cell_for_each_step():
    edges = bin_edges(grid_of_views(15)["primary_deg"])
    assert edges.tolist() == list(np.arange(-67.5, 68, 15))
    with_a_gap = pd.Series([-30.0, -20.0, 0.0, 10.0])
    assert bin_edges(with_a_gap).tolist() == [-35, -25, -15, -5, 5, 15]


@given(st.lists(st.floats(-90, 90), min_size=1, max_size=200))
def test_cells_cover_all_angles_and_stay_few(angles):
    edges = bin_edges(pd.Series(angles))
    assert edges[0] <= min(angles) + 0.001
    assert edges[-1] >= max(angles) - 0.001
    assert (np.diff(edges) > 0).all()
    assert len(edges) <= 2 * len(set(angles)) + 4


def test_landmarks_of_the_sphere_are_chosen_by_confidence_where_they_are_seen():
    """One that leaves the image has little confidence there, which tells nothing of the method."""
    errors = errors_of("cpm").assign(visible=True, confidence=0.8)
    side = errors["primary_deg"] > 0
    errors.loc[(errors["landmark"] == "sacrum") & side, ["visible", "confidence"]] = [False, 0.0]
    errors.loc[(errors["landmark"] == "coccyx") & side, "confidence"] = 0.4
    assert steadiest_and_most_varied(errors)[1] == "coccyx"
    errors.loc[errors["landmark"] == "left_asis", "visible"] = errors["primary_deg"] > 55
    errors.loc[
        (errors["landmark"] == "left_asis") & (errors["secondary_deg"] > 0), "confidence"
    ] = 0
    assert steadiest_and_most_varied(errors)[1] == "coccyx"  # the other is seen from few sides


def test_edges_follow_a_step_and_leave_out_a_slope():
    """A disc on a broad slope with a little noise: the lines lie on its rim, and nowhere else."""
    y, x = np.mgrid[:128, :160]
    from_centre = np.hypot(x - 90, y - 60)
    noise = np.random.default_rng(0).normal(0, 0.01, (128, 160))
    lines = edges_of(0.02 * y + noise + (from_centre < 30))
    points = np.concatenate(lines)
    assert np.abs(np.hypot(*(points - [90, 60]).T) - 30).max() < 2
    assert len(points) > 100


# what stands where


@pytest.fixture
def pages(monkeypatch):
    """The pages that figures draw on, in the order of drawing."""
    drawn = []

    def kept(width_in, height_in, stem):
        @contextmanager
        def page():
            drawn.append(Figure(figsize=(width_in, height_in), layout="constrained"))
            yield drawn[-1]
            drawn[-1].draw_without_rendering()

        return page()

    for module in ("overlays", "keypoints", "cobb"):
        monkeypatch.setattr(f"raymark.figures.{module}.figure", kept)
    return drawn


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


def test_published_shares_stand_beyond_the_axis_of_distances_and_apart(errors, pages):
    measured = {name: Measured(errors, 0.9) for name in "abc"}
    keypoint_accuracy(measured, {"A": Measured(errors)}, "carina", [4, 6, 8], "stem")
    hollow = [line for line in pages[0].axes[0].lines if line.get_markerfacecolor() == "none"]
    places = sorted(float(line.get_xdata()[0]) for line in hollow)
    assert places[0] > 8
    assert np.diff(places).min() > 0.1
    assert [line.get_ydata()[0] for line in hollow] == [90] * 3
    assert pages[0].axes[1].get_xlim()[1] < 9  # nothing is published there: no strip


def test_angles_that_agree_lie_on_the_line_of_identity(pages):
    true = pd.DataFrame([[30.0, 10, 5], [50, 20, 0]], columns=true_columns())
    agree = true.set_axis(ANGLES, axis=1)
    cobb_agreement({"A": pd.concat([agree, true], axis=1).assign(view=["a", "b"])}, "stem")
    (axes,) = pages[0].axes
    for line in axes.lines:
        np.testing.assert_array_equal(line.get_xdata(), line.get_ydata())
    assert len(axes.lines) == 4
    assert axes.texts[0].get_text() == "n = 2 images\nSMAPE 0.0 %"


def test_main_angles_are_said_and_what_has_none():
    row = {"view": "a", "mt_deg": 19.6, "mt_true_deg": 30.2}
    angles = pd.DataFrame([row, row | {"view": "b", "mt_deg": np.nan}])
    said = {"a": "MT true 30°\npredicted 20°", "b": "MT true 30°\npredicted none"}
    assert main_angles(angles) == said


# choosing views and writing names


def test_overlays_show_each_of_several_subjects_once_and_a_grid_of_the_first(monkeypatch):
    """Bent copies of a spine are what its tables rest on: all of them are to be seen."""
    shown, project = [], project_of_examples()
    copies = [errors_of("cpm").assign(subject=f"pelvis{end}") for end in ("-v001", "", "-v002")]
    for copy in copies:
        copy["view"] += copy["subject"]
    errors = pd.concat(copies)
    monkeypatch.setattr(make_images, "errors_of", lambda *_, **__: errors)
    for name in ("Shards", "shards_of", "_images"):
        monkeypatch.setattr(make_images, name, lambda *_: None)
    monkeypatch.setattr(make_images, "overlays", lambda views, *_: shown.append(views))
    make_images.MAKERS["overlays"](project, "pelvis", "cpm", "grid", stem="stem")
    assert len(shown[0]) == 15
    assert shown[0]["view"].str.endswith("pelvis").all()
    view_sets = project.datasets["pelvis"].view_sets
    view_sets["grid"] = view_sets["train"]  # views all over the sphere
    make_images.MAKERS["overlays"](project, "pelvis", "cpm", "grid", stem="stem")
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


@pytest.mark.parametrize(
    ("name", "text", "side"),
    [
        ("left_asis", "left ASIS", "left"),
        ("t12_superior_right", "T12 superior right", "right"),
        ("coccyx_tip", "coccyx tip", ""),
        ("cleft_tip", "cleft tip", ""),
    ],
)
def test_names(name, text, side):
    assert readable(name) == text
    assert side_of(name) == side


# captions of the report


@pytest.mark.parametrize(
    ("template", "kinds"), [("figure.rst", list(FIGURES)), ("table.rst", list(TABLES))]
)
def test_every_kind_has_a_caption_of_its_own(template, kinds):
    text = (Path(__file__).parents[3] / "workflow" / "report" / template).read_text()
    captions = set()
    for kind in kinds:
        snakemake = {
            "wildcards": {"figure": f"{kind}-pelvis-cpm-grid", "table": kind},
            "params": {"shows": "no caption"},
        }
        caption = jinja2.Template(text).render(snakemake=snakemake)
        assert "no caption" not in caption
        assert not caption.startswith(f"{kind}\n")  # the bare name
        publish_doctree(caption, settings_overrides={"halt_level": 2})  # warnings are errors
        captions.add(caption)
    assert len(captions) == len(kinds)


# figures by name


def test_every_figure_of_a_project_can_be_made_and_is_named_once():
    names = figure_names(read_project("config/config.yaml"))
    assert len(names) == len(set(names))
    assert {name.split("-")[0] for name in names} == set(FIGURES) == set(MAKERS)
    agreement = [name for name in names if name.startswith("cobb_agreement")]
    assert "cobb_agreement-spine_drr-novel_view" in agreement  # and none of a chest or a pelvis
    assert all("-spine_" in name for name in agreement)


def test_no_pose_to_verify_is_drawn_too(tmp_path):
    pose_verification([], tmp_path / "none")
    assert (tmp_path / "none.png").stat().st_size > 1000


def test_unknown_figures_are_refused(tmp_path):
    with pytest.raises(InputError, match="Known: matrix, dataset_samples-pelvis"):
        make_figure("overlays-chest", project_of_examples(), tmp_path / "x")
