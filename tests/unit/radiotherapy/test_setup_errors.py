"""Set-up errors on rendered images: mutual information, signs, the table."""

import contextlib

import numpy as np
import pandas as pd
import pytest

from raymark import layout
from raymark.config.dataset import Dataset, Physics
from raymark.config.project import read_project
from raymark.config.results import SetupSettings
from raymark.core.errors import InputError
from raymark.ct import Volume
from raymark.ct.store import write_volume
from raymark.datasets.shards import Shards
from raymark.geometry.camera import Camera, Detector, carm_camera
from raymark.radiotherapy.by_intensity import mutual_information_shift
from raymark.radiotherapy.setup_errors import (
    displacement_mm,
    measure_setup,
    planned_landmarks,
    seen_after,
)
from raymark.radiotherapy.setup_table import SCHEMA, read_setup
from raymark.rendering.scene import Scene, noiseless_image, render_shard
from raymark.tables.setup import table as setup_table
from raymark.views.plan import plan_views, read_views, with_seen_in_training, write_views
from raymark.workflow.steps import experiments
from tests.unit.evaluation.examples import project_of_examples

# mutual information, on rendered images


DETECTOR = {"height_px": 96, "width_px": 112, "pixel_mm": 2.4}
PIXEL_AT_ISOCENTRE_MM = 2.4 * 1000 / 1500
LANDMARKS_MM = np.array([[0, -20, 25], [0, -20, 5], [0, -20, -15], [10, 10, 0], [-5, 30, 20.0]])
LANDMARK_NAMES = ["t3", "t4", "t5", "carina", "sternal_angle"]


def dataset(**update) -> Dataset:
    values = {
        "name": "body",
        "title": "Body, 6 MV",
        "subjects": ["body"],
        "landmarks": "none",
        "detector": DETECTOR,
        "physics": {"spectrum": "mv", "photons_per_px": 1e5},
        "view_sets": {
            "novel": {
                "of": "train",
                "role": "evaluate",
                "sampling": {
                    "kind": "sphere",
                    "count": 5,
                    "primary_deg": [-8, 8],
                    "secondary_deg": [-4, 4],
                },
                "translation_mm": [15, 15, 15],
                "source_to_isocentre_mm": [1000, 1000],
                "source_to_detector_mm": [1500, 1500],
            }
        },
    }
    return Dataset.model_validate(values | update)


def body() -> Volume:
    """An ellipsoid of water with cavities and bones, which leaves the image's sides free."""
    shape, mm = (60, 44, 52), 3.0
    world = np.stack(np.indices(shape), -1) * mm - mm * (np.array(shape) - 1) / 2
    rng = np.random.default_rng(3)
    hu = np.where((world**2 / np.array([80, 60, 70]) ** 2).sum(-1) < 1, 20.0, -1000.0)
    for number in range(14):
        place, size = rng.uniform([-55, -35, -45], [55, 35, 45]), rng.uniform(7, 16)
        hu[np.linalg.norm(world - place, axis=-1) < size] = 900 if number % 2 else -800
    affine = np.diag([mm, mm, mm, 1.0])
    affine[:3, 3] = -mm * (np.array(shape) - 1) / 2
    return Volume(hu.astype(np.int16), affine)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A rendered view set in a folder of its own, with perfect predictions beside it."""
    folder = tmp_path_factory.mktemp("setup")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        settings = dataset()
        subject = type("Row", (), {"subject": "body", "patient": "p1", "split": "train"})()
        isocentre = {"body": LANDMARKS_MM.mean(axis=0)}
        views = plan_views(settings, {"body": subject}, isocentre, base_seed=0)
        write_views(layout.VIEWS.format(dataset="body"), views)
        write_volume(layout.CT.format(dataset="body", subject="body"), body())
        shard = layout.SHARD.format(dataset="body", view_set="novel", subject="body", shard="00000")
        render_shard(body(), LANDMARKS_MM, LANDMARK_NAMES, [], views, settings, shard, "test")
    return folder, folder / shard, views


def predictions_of(shard, offset_px=(0, 0), found=5):
    shards = Shards([shard])
    rows = [
        {
            "dataset": "body", "method": "unet", "seed": 0, "view_set": "novel", "view": view,
            "subject": "body", "landmark": name, "instance": 0, "confidence": 0.9,
            "x_px": shards.small["landmarks"][v, k, 0] + offset_px[0],
            "y_px": shards.small["landmarks"][v, k, 1] + offset_px[1],
            "detected": k < found,
        }
        for v, view in enumerate(shards.views)
        for k, name in enumerate(LANDMARK_NAMES)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def measured(project, predictions, **settings) -> pd.DataFrame:
    folder, shard, _ = project
    kv = Physics(spectrum="kv", tube_kvp=110)
    with contextlib.chdir(folder):
        predictions.to_parquet("predictions.parquet")
        views = read_views(layout.VIEWS.format(dataset="body"))
        views = with_seen_in_training(views, dataset().view_sets)
        ct = layout.CT.format(dataset="body", subject="body")
        files = "predictions.parquet", [shard], views, {"body": ct}
        measure_setup(*files, dataset(), {}, kv, SetupSettings(**settings), "setup.parquet")
        return read_setup(["setup.parquet"])


@pytest.fixture(scope="module")
def perfect(project) -> pd.DataFrame:
    return measured(project, predictions_of(project[1]))


def test_every_view_has_every_registration_and_a_true_displacement(perfect):
    assert list(perfect.columns) == SCHEMA.names
    assert perfect.groupby("view")["registration"].nunique().eq(3).all()
    nothing = perfect[perfect["registration"] == "none"]
    true = np.hypot(nothing["true_x_mm"], nothing["true_y_mm"])
    np.testing.assert_allclose(nothing["error_mm"], true)
    assert true.max() > 8


def test_true_landmarks_are_off_by_the_depth_alone(perfect):
    """15 mm towards the source magnify what lies 35 mm off the axis by half a millimetre."""
    found = perfect[perfect["registration"] == "landmarks"]
    assert found["landmarks"].eq(5).all()
    assert found["error_mm"].max() < 0.8


def test_errors_are_estimated_minus_true_to_the_right_and_down(project, perfect):
    shift_px = np.array([3.0, -2.0])
    table = measured(project, predictions_of(project[1], shift_px))
    both = (
        frame.loc[frame["registration"] == "landmarks", ["error_x_mm", "error_y_mm"]].to_numpy()
        for frame in (table, perfect)
    )
    moved_mm = np.subtract(*both)
    np.testing.assert_allclose(moved_mm, [shift_px * PIXEL_AT_ISOCENTRE_MM] * 5, rtol=0.03)


def test_intensities_find_the_displacement_between_the_energies(perfect):
    found = perfect[perfect["registration"] == "mutual_information"]
    assert found["error_mm"].max() < 1.5  # the patient's depth takes part, as for landmarks


def test_too_few_landmarks_leave_a_view_unregistered_with_the_reason(project):
    table = measured(project, predictions_of(project[1], found=1))
    rows = table[table["registration"] == "landmarks"]
    assert rows["error_mm"].isna().all()
    assert rows["x_mm"].isna().all()
    assert (rows["reason"] == "1 landmarks agree, 2 needed").all()


def test_only_as_many_views_as_asked_are_registered(project):
    table = measured(project, predictions_of(project[1]), registered_views=2)
    assert table["view"].nunique() == 2


@pytest.mark.parametrize("shift_px", [(4.0, -3.0), (-6.5, 2.25)])
def test_mutual_information_recovers_a_known_shift_of_a_rendered_image(project, shift_px):
    """The kV image against the MV one of the same view, moved by the patient's in-plane shift."""
    settings = dataset()
    quiet = {"spectrum": "kv", "tube_kvp": 110, "photons_per_px": None}

    scenes = [Scene(body(), np.zeros((0, 3)), [], [], dataset(physics=p)) for p in (
        quiet, settings.physics.model_dump() | {"photons_per_px": None})]  # fmt: skip
    detector = Detector(96, 112, 2.4)
    camera = carm_camera(detector, primary_deg=0, secondary_deg=0, isocentre_world_mm=np.zeros(3),
                         source_to_isocentre_mm=1000, source_to_detector_mm=1500)  # fmt: skip
    K = camera.K.copy()
    K[:2, 2] += shift_px  # moves every pixel alike, whatever its depth
    moved = Camera(K, camera.world_to_camera, *camera.shape_yx)
    reference, image = noiseless_image(scenes[0], camera), noiseless_image(scenes[1], moved)
    found_px = mutual_information_shift(reference, image, PIXEL_AT_ISOCENTRE_MM)
    np.testing.assert_allclose(found_px / PIXEL_AT_ISOCENTRE_MM, shift_px, atol=0.5)
    again = mutual_information_shift(reference, image, PIXEL_AT_ISOCENTRE_MM)
    np.testing.assert_array_equal(found_px, again)


# signs


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("primary_deg", [0.0, 90.0, -37.0])
def test_the_displacement_is_that_of_the_isocentre_in_the_image(flip, primary_deg):
    camera = carm_camera(Detector(100, 120, 2.0), primary_deg=primary_deg, secondary_deg=5,
                         roll_deg=3, isocentre_world_mm=np.array([5.0, -7, 30]), flip=flip,
                         source_to_isocentre_mm=1000, source_to_detector_mm=1500)  # fmt: skip
    plan = Camera(camera.K, seen_after(camera.world_to_camera, np.array([4.0, -9, 6])), 100, 120)
    rotation = camera.world_to_camera[:3, :3]
    in_plane = rotation.T @ np.diag([1, 1, 0]) @ rotation @ np.array([-4.0, 9, -6])
    isocentre = np.array([5.0, -7, 30]) - np.array([4.0, -9, 6])  # the plan's
    before, after = plan.project(isocentre), plan.project(isocentre + in_plane)
    px_to_mm = 1000 / abs(plan.K[0, 0])
    found = displacement_mm(camera.world_to_camera, plan)
    np.testing.assert_allclose(found, (after - before) * px_to_mm, atol=1e-6)


def test_planned_landmarks_know_their_type_and_the_scale_at_their_depth():
    camera = carm_camera(Detector(100, 120, 2.0), primary_deg=0, secondary_deg=0,
                         isocentre_world_mm=np.zeros(3), source_to_isocentre_mm=1000,
                         source_to_detector_mm=1500)  # fmt: skip
    world = np.array([[0, 0, 0], [0, 100.0, 0], [np.nan] * 3])
    kinds = {"t3": "spinous_process"}
    plan = planned_landmarks(["t3", "carina", "lost"], kinds, world, camera)
    assert (list(plan.names), list(plan.kinds)) == (["t3", "carina"], ["spinous_process", ""])
    np.testing.assert_allclose(plan.mm_per_px, [2 / 1.5, 1.1 * 2 / 1.5])


def test_a_set_up_error_that_no_experiment_asks_for_is_refused_with_those_there_are():
    with pytest.raises(
        InputError, match=r"'pelvis cpm 0 grid': is not known\. .*chest_mv landmarknet"
    ):
        experiments.setup_error(read_project("config/config.yaml"), "pelvis", "cpm", 0, "grid")


def test_a_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "a.parquet").write_text("no table")
    with pytest.raises(InputError, match="not a table of set-up errors"):
        read_setup([tmp_path / "a.parquet"])
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(InputError, match="other columns"):
        read_setup([tmp_path / "b.parquet"])


# the table and the figures


def setup_rows(patients=("A", "B", "C"), missing=0):
    """Landmarks off by 1 or 3 mm in turn, mutual information by 2, of ten views a patient."""
    rows = []
    for patient in patients:
        for number in range(10):
            lost = number < missing
            for registration, error in (
                ("landmarks", np.nan if lost else (1.0, 3.0)[number % 2]),
                ("mutual_information", 2.0),
                ("none", 10.0),
            ):
                rows.append(
                    {
                        "dataset": "pelvis", "method": "cpm", "seed": 0, "view_set": "grid",
                        "view": f"{patient}-{number}", "subject": patient, "patient": patient,
                        "seen_in_training": False, "registration": registration, "landmarks": 4,
                        "reason": "", "true_x_mm": 6.0, "true_y_mm": 8.0, "x_mm": 0.0, "y_mm": 0.0,
                        "error_x_mm": error, "error_y_mm": 0.0, "error_mm": error,
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def test_the_table_says_what_it_should():
    table = setup_table(project_of_examples(), setup_rows())
    assert table.label == "demo scale"
    landmarks, intensity, nothing = (row for _, row in table.frame.iterrows())
    assert landmarks["registration_title"] == "Landmarks (Pose machine)"
    assert landmarks["setup_error_isocentre_mm"] == pytest.approx(2.0)
    assert landmarks["sd_setup_error_isocentre_mm"] == pytest.approx(1.0)
    assert landmarks["within_2_isocentre_mm"] == 0.5
    assert intensity["within_2_isocentre_mm"] == 1
    assert landmarks["p95_setup_error_isocentre_mm"] == pytest.approx(3.0)
    assert nothing["minus_mutual_information_isocentre_mm"] == pytest.approx(8.0)
    assert nothing["p"] == pytest.approx(0.25)  # 2 of the 8 ways to exchange three patients
    assert landmarks["p"] == 1.0
    assert np.isnan(intensity["p"])
    assert landmarks["ci_over"] == "patients"
    assert landmarks["views"] == 30
    bold = pd.DataFrame(table.bold(), columns=[c.key for c in table.columns])
    assert bold["within_2_isocentre_mm"].tolist() == [False, True, False]
    assert bold["setup_error_isocentre_mm"].tolist() == [True, True, False]


def test_views_that_were_not_registered_are_misses_without_an_error():
    table = setup_table(project_of_examples(), setup_rows(missing=4))
    landmarks = table.frame.iloc[0]
    assert landmarks["registered"] == pytest.approx(0.6)
    assert landmarks["within_5_isocentre_mm"] == pytest.approx(0.6)
    assert landmarks["setup_error_isocentre_mm"] == pytest.approx(2.0)
    every = setup_table(project_of_examples(), setup_rows(missing=10)).frame.iloc[0]
    assert np.isnan(every["setup_error_isocentre_mm"])
    assert every["within_5_isocentre_mm"] == 0
    assert np.isnan(every["minus_mutual_information_isocentre_mm"])


def test_one_patient_gives_intervals_over_views():
    frame = setup_table(project_of_examples(), setup_rows(patients=("A",))).frame
    assert frame["ci_over"].eq("views (one patient)").all()
    low, high = (frame.loc[0, f"setup_error_isocentre_mm_{end}"] for end in ("low", "high"))
    assert low < 2 < high


def test_deformed_copies_of_one_patient_are_exchanged_whole():
    """None is better than no registration on all of three copies: two of their eight ways."""
    rows = setup_rows(patients=("A", "A-v001", "A-v002")).assign(patient="A")
    frame = setup_table(project_of_examples(), rows).frame
    assert frame["ci_over"].eq("subjects of one patient (3)").all()
    assert frame.loc[2, "p"] == pytest.approx(2 / 8)


def test_many_patients_are_exchanged_as_often_as_the_configuration_says():
    project = project_of_examples()
    frame = setup_table(project, setup_rows(patients=[f"P{n}" for n in range(30)])).frame
    drawn = project.config.evaluation.permutations
    assert frame["p"].iloc[2] == pytest.approx(1 / (drawn + 1))  # none of them as large
