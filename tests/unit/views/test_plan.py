import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from raymark.config.dataset import Dataset
from raymark.config.subjects import Subject
from raymark.core.errors import InputError
from raymark.geometry.camera import carm_rotation, inside
from raymark.views.plan import (
    POSE,
    camera_of,
    check_leaks,
    detector_of,
    evenly,
    isocentre_among,
    plan_view,
    plan_views,
    read_views,
    shards_of_view_set,
    subjects_of,
    view_count,
    views_per_subject,
    with_seen_in_training,
    write_views,
)

SHEET = {
    name: Subject(name, patient, "ct.nii.gz", "landmarks.csv", "", split)
    for name, patient, split in [
        ("a", "A", "train"),
        ("b", "B", "train"),
        ("c", "C", "validation"),
        ("d", "D", "test"),
    ]
}
PAPER_GRID = {"kind": "grid"}
SPHERE = {"kind": "sphere", "count": 10}


def view_set(sampling, of="train", role="train", **settings):
    return {"of": of, "role": role, "sampling": sampling, **settings}


def dataset(view_sets, count=0, subjects="abcd", **settings):
    values = {"name": "demo", "title": "Demo", "subjects": list(subjects), "landmarks": "l.yaml"}
    return Dataset.model_validate(
        values | {"cohort": {"count": count}, "view_sets": view_sets} | settings
    )


def isocentres(count=3):
    names = [
        name
        for real in SHEET
        for name in (real, *(f"{real}-v{i:03d}" for i in range(1, count + 1)))
    ]
    return {name: np.array([10.0 * i, -5.0, 2.5 * i]) for i, name in enumerate(names)}


def plan(view_sets, base_seed=0, **settings):
    return plan_views(dataset(view_sets, **settings), SHEET, isocentres(), base_seed)


def test_the_papers_grid_has_475_views_with_the_corners():
    table = plan({"grid": view_set(PAPER_GRID)}, subjects="a")
    assert len(table) == 475
    angles = set(zip(table.primary_deg, table.secondary_deg, strict=True))
    assert len(angles) == 475
    assert {(p, s) for p in (-60.0, 60.0) for s in (-45.0, 45.0)} <= angles
    assert all(p % 5 == 0 and s % 5 == 0 for p, s in angles)


def test_a_sphere_is_uniform_by_solid_angle():
    limits = {"primary_deg": (-60.0, 60.0), "secondary_deg": (-20.0, 70.0)}
    table = plan({"s": view_set(SPHERE | {"count": 4000} | limits)}, subjects="a")
    low, high = np.sin(np.deg2rad(limits["secondary_deg"]))
    sine = np.sin(np.deg2rad(table.secondary_deg))
    assert kstest(sine, "uniform", (low, high - low)).pvalue > 0.01
    assert kstest(table.primary_deg, "uniform", (-60.0, 120.0)).pvalue > 0.01
    # The mean direction of a spherical segment, integrated over its solid angle by hand.
    directions = np.array(
        [
            carm_rotation(p, s)[2]
            for p, s in zip(table.primary_deg, table.secondary_deg, strict=True)
        ]
    )
    primary, (b0, b1) = np.deg2rad(60), np.deg2rad(limits["secondary_deg"])
    radius = ((b1 - b0) / 2 + (np.sin(2 * b1) - np.sin(2 * b0)) / 4) / (high - low)
    mean = [0, radius * np.sin(primary) / primary, (low + high) / 2]
    np.testing.assert_allclose(directions.mean(0), mean, atol=4 * 0.6 / np.sqrt(4000))
    # Uniform angles would fail the same test: the oracle tells the two apart.
    uniform_angles = np.sin(np.deg2rad(np.linspace(-20.0, 70.0, 4000)))
    assert kstest(uniform_angles, "uniform", (low, high - low)).pvalue < 1e-6


def test_a_box_is_uniform_in_each_coordinate():
    box = {"kind": "box", "count": 2000, "roll_deg": (-30.0, 45.0)}
    settings = {
        "translation_mm": (20.0, 10.0, 0.0),
        "source_to_isocentre_mm": (700.0, 800.0),
        "source_to_detector_mm": (1000.0, 1300.0),
        "flip_probability": 0.3,
    }
    table = plan({"box": view_set(box, **settings)}, subjects="a")
    centre = isocentres()["a"]
    expected = {
        "primary_deg": (-45, 45),
        "secondary_deg": (-45, 45),
        "roll_deg": (-30, 45),
        "isocentre_x_mm": (centre[0] - 20, centre[0] + 20),
        "isocentre_y_mm": (centre[1] - 10, centre[1] + 10),
        "source_to_isocentre_mm": (700, 800),
        "source_to_detector_mm": (1000, 1300),
    }
    for column, (low, high) in expected.items():
        assert kstest(table[column], "uniform", (low, high - low)).pvalue > 0.005, column
    assert (table.isocentre_z_mm == centre[2]).all()
    assert abs(table.flip.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 2000)
    correlation = np.corrcoef(table[[*expected, "flip"]].to_numpy(float), rowvar=False)
    assert np.abs(correlation - np.eye(len(correlation))).max() < 4.5 / np.sqrt(2000)


def test_an_orbit_steps_evenly_and_does_not_repeat_its_start():
    closed = plan({"o": view_set({"kind": "orbit", "count": 8, "secondary_deg": 10})}, subjects="a")
    assert closed.primary_deg.tolist() == [45.0 * i for i in range(8)]
    assert set(closed.secondary_deg) == {10.0}
    half = {"kind": "orbit", "count": 5, "primary_deg": (-90, 90)}
    assert plan({"o": view_set(half)}, subjects="a").primary_deg.tolist() == [-90, -45, 0, 45, 90]
    single = half | {"count": 1}
    assert plan({"o": view_set(single)}, subjects="a").primary_deg.tolist() == [-90]


def test_any_view_can_be_made_alone_and_settings_of_others_do_not_move_it():
    sets = {
        "train": view_set(SPHERE | {"count": 7}, translation_mm=(5, 5, 5)),
        "test": view_set(SPHERE, "test", "evaluate"),
    }
    table = plan(sets, count=1)
    for row in table.sample(12, random_state=1).itertuples(index=False):
        index = int(row.view.rsplit("-", 1)[1])
        alone = plan_view(
            dataset(sets, count=1),
            row.view_set,
            SHEET,
            row.subject,
            index,
            isocentres()[row.subject],
            0,
        )
        assert alone == row._asdict()
    alone = plan({"test": sets["test"]}, count=3, subjects="dc", views_per_shard=3)
    both = alone.merge(table, on="view", suffixes=("", "_2"))
    assert len(both) == 20
    assert (both.seed == both.seed_2).all()
    assert (both.primary_deg == both.primary_deg_2).all()


def test_flipping_more_views_moves_none():
    few, many = (plan({"s": view_set(SPHERE, flip_probability=p)}) for p in (0.2, 0.9))
    assert few[list(POSE)].equals(many[list(POSE)])
    assert (few.flip <= many.flip).all()


def test_seeds_differ_by_view_and_by_base_seed():
    sets = {"s": view_set(SPHERE), "s2": view_set(SPHERE)}
    tables = [plan(sets, base_seed=base_seed, count=2) for base_seed in (0, 1)]
    seeds = np.concatenate([table.seed for table in tables])
    assert len(set(seeds)) == len(seeds) == 240
    assert tables[0].view.is_unique


@settings(max_examples=30, deadline=None)
@given(
    views=st.integers(1, 40),
    per_shard=st.integers(1, 50),
    virtual=st.integers(0, 2),
    show=st.booleans(),
)
def test_shards_known_beforehand_are_those_of_the_table(views, per_shard, virtual, show):
    sets = {"s": view_set(SPHERE | {"count": views}, virtual_patients=show)}
    data = dataset(sets, count=virtual, views_per_shard=per_shard)
    table = plan_views(data, SHEET, isocentres(), 0)
    shards = shards_of_view_set(data, "s", SHEET)
    assert list(dict.fromkeys(zip(table.subject, table.shard, strict=True))) == shards
    assert len(table) == view_count(data, "s", SHEET) == 2 * (1 + virtual * show) * views
    sizes = table.groupby(["subject", "shard"]).size()
    assert sizes.max() <= per_shard
    assert (sizes < per_shard).groupby("subject").sum().max() <= 1
    assert views_per_subject(data.view_sets["s"]) == views


def test_virtual_patients_follow_their_parent():
    data = dataset({"s": view_set(SPHERE), "d": view_set(SPHERE, "test", "evaluate")}, count=1)
    assert subjects_of(data, "s", SHEET) == ["a", "a-v001", "b", "b-v001"]
    table = plan_views(data, SHEET, isocentres(), 0)
    virtual = table[table.subject == "d-v001"]
    assert set(virtual.patient) == {"D"}
    assert set(virtual.split) == {"test"}


def test_unknown_subjects_and_empty_splits_are_refused():
    with pytest.raises(InputError, match="'x' is not in the subject sheet"):
        plan({"s": view_set(SPHERE)}, subjects="ax")
    with pytest.raises(InputError, match=r"view_sets\.s\.of.*no subject.*'train'.*subject sheet"):
        plan({"s": view_set(SPHERE, "train", "train")}, subjects="d")


def test_a_set_to_evaluate_on_may_show_nobody():
    sets = {"s": view_set(SPHERE), "novel": view_set(SPHERE, "test", "evaluate")}
    assert subjects_of(dataset(sets, subjects="ab"), "novel", SHEET) == []
    assert set(plan(sets, subjects="ab").view_set) == {"s"}


@pytest.mark.parametrize("role", ["train", "validation"])
def test_learning_from_the_test_split_is_refused(role):
    with pytest.raises(InputError, match=r"view_sets\.s: the test split"):
        plan({"s": view_set(SPHERE, "test", role)})


def test_a_patient_or_a_family_in_two_splits_is_refused():
    sets = {"s": view_set(SPHERE), "t": view_set(SPHERE, "test", "evaluate")}
    table, data = plan(sets, count=1), dataset(sets, count=1)
    with pytest.raises(InputError, match="patient 'A' is in two splits"):
        check_leaks(table.assign(patient=table.patient.replace("D", "A")), data)
    moved = table.assign(
        patient=table.subject, split=table.split.mask(table.subject == "a-v001", "test")
    )
    with pytest.raises(InputError, match="subject 'a' is in two splits"):
        check_leaks(moved, data)


def test_one_view_in_two_roles_is_refused_mirrored_or_not():
    grid = PAPER_GRID | {"step_deg": 15.0}
    orbit = {"kind": "orbit", "count": 4, "primary_deg": (-60, 60), "secondary_deg": 15}
    sets = {"grid": view_set(grid), "orbit": view_set(orbit, role="evaluate", flip_probability=1)}
    with pytest.raises(InputError, match=r"view_sets grid, orbit: the views grid-a-.* show 'a'"):
        plan(sets)
    plan({"grid": sets["grid"], "orbit": view_set(orbit, role="train")})
    plan({"grid": sets["grid"], "orbit": view_set(orbit, "test", "evaluate")})
    plan({"grid": sets["grid"], "orbit": view_set(orbit | {"secondary_deg": 14}, role="evaluate")})


def test_seen_in_training_tells_new_views_from_new_patients():
    sets = {
        "train": view_set(SPHERE),
        "watch": view_set(SPHERE, "validation", "validation"),
        "new_views": view_set(SPHERE, role="evaluate"),
        "new_patients": view_set(SPHERE, "test", "evaluate"),
    }
    seen = with_seen_in_training(plan(sets), dataset(sets).view_sets)["seen_in_training"]
    by_set = seen.groupby(plan(sets).view_set).unique().map(list)
    assert by_set.to_dict() == {
        "train": [True], "watch": [False], "new_views": [True], "new_patients": [False]
    }  # fmt: skip


def test_the_camera_looks_where_the_row_says():
    sets = {"s": view_set(SPHERE, translation_mm=(30, 30, 30), flip_probability=0.5)}
    offset = (7.0, -3.0)
    data = dataset(
        sets, detector={"principal_point_offset_px": offset, "height_px": 100, "width_px": 120}
    )
    detector = detector_of(data.detector)
    flips = set()
    for row in plan_views(data, SHEET, isocentres(), 0).itertuples():
        camera = camera_of(row, detector)
        isocentre = np.array([row.isocentre_x_mm, row.isocentre_y_mm, row.isocentre_z_mm])
        along_x = -offset[0] if row.flip else offset[0]
        expected = (59.5 + along_x, 49.5 + offset[1])
        np.testing.assert_allclose(camera.project(isocentre), expected, atol=1e-9)
        assert np.linalg.norm(camera.source_world_mm - isocentre) == pytest.approx(750)
        assert inside(camera.project(isocentre), camera.shape_yx)
        flips.add(row.flip)
    assert flips == {True, False}


def test_the_file_returns_the_table_and_its_bytes_repeat(tmp_path):
    table = plan({"s": view_set(SPHERE, flip_probability=0.5)}, count=1)
    for name in ("one.parquet", "two.parquet"):
        write_views(tmp_path / name, table)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    again = read_views(tmp_path / "one.parquet")
    assert again.to_dict("records") == table.to_dict("records")
    assert again.seed.dtype == np.int64
    assert again.flip.dtype == bool


def test_a_file_that_is_no_table_of_views_is_an_input_error(tmp_path):
    (tmp_path / "views.parquet").write_bytes(b"PAR1 not really")
    plan({"s": view_set(SPHERE)}).drop(columns="flip").to_parquet(tmp_path / "less.parquet")
    for name in ("views.parquet", "none.parquet", "less.parquet"):
        with pytest.raises(InputError, match=name):
            read_views(tmp_path / name)


def test_views_are_about_a_landmark_or_about_the_mean_of_all():
    names, points_mm = ["a", "b"], np.array([[0.0, 0, 0], [2, 4, 6]])
    settings = dataset({"views": view_set({"kind": "sphere", "count": 1})})
    np.testing.assert_array_equal(isocentre_among(names, points_mm, settings), [1, 2, 3])
    about_b = settings.model_copy(update={"isocentre": "b"})
    np.testing.assert_array_equal(isocentre_among(names, points_mm, about_b), [2, 4, 6])
    with pytest.raises(InputError, match="'c' is not among the landmarks it uses"):
        isocentre_among(names, points_mm, settings.model_copy(update={"isocentre": "c"}))


def test_items_are_chosen_evenly_with_both_ends_and_never_twice():
    assert evenly(list("abcdefg"), 3) == ["a", "d", "g"]
    assert evenly(list("ab"), 5) == ["a", "b"]
    assert evenly([], 3) == []
