import numpy as np
import pandas as pd
import pytest

from raymark.config.dataset import Dataset
from raymark.config.subjects import Subject
from raymark.core.errors import InputError
from raymark.datasets.shards import Shards, write_shard
from raymark.evaluation.errors import (
    ERROR_COLUMNS,
    errors_table,
    evaluate,
    evaluate_mean_position,
    mean_position_predictions,
    read_errors,
    truth_of,
    write_errors,
)
from raymark.views.plan import plan_views, read_views, with_seen_in_training, write_views


@pytest.fixture
def views():
    return pd.DataFrame(
        {
            "dataset": "pelvis",
            "view_set": "grid",
            "view": ["v0", "v1"],
            "subject": ["a", "b"],
            "patient": ["A", "B"],
            "primary_deg": [0.0, 30.0],
            "secondary_deg": [0.0, -10.0],
            "source_to_isocentre_mm": [750.0, 600.0],
            "source_to_detector_mm": [1200.0, 1200.0],
            "seen_in_training": [True, False],
        }
    )


@pytest.fixture
def truth():
    return pd.DataFrame(
        {
            "view": ["v0", "v0", "v1", "v1"],
            "landmark": ["asis", "crest", "asis", "crest"],
            "x_true_px": [10.0, 20.0, 11.0, 500.0],
            "y_true_px": [10.0, 20.0, 11.0, 20.0],
            "visible": [True, True, True, False],
        }
    )


@pytest.fixture
def predictions(truth, views):
    table = truth[["view", "landmark"]].merge(views[["view", "dataset", "view_set", "subject"]])
    return table.assign(
        method="cpm",
        seed=0,
        instance=0,
        x_px=[13.0, np.nan, 11.0, 20.0],
        y_px=[14.0, np.nan, 11.0, 20.0],
        confidence=[0.9, 0.1, 0.8, 0.2],
        detected=[True, False, True, False],
    )


def test_errors_in_px_and_in_both_millimetres(predictions, truth, views):
    table = errors_table(predictions, truth, views, pixel_mm=0.5)
    assert list(table.columns) == ERROR_COLUMNS
    first = table.iloc[0]
    assert (first["error_px"], first["error_detector_mm"]) == (5.0, 2.5)
    assert first["error_isocentre_mm"] == pytest.approx(2.5 * 750 / 1200)
    assert first["patient"] == "A"
    assert table["seen_in_training"].tolist() == [True, True, False, False]


def test_every_row_is_kept(predictions, truth, views):
    table = errors_table(predictions, truth, views, pixel_mm=0.5)
    assert len(table) == 4
    assert np.isnan(table["error_px"][1])  # no point: no error
    assert table["error_px"][3] == 480.0  # not visible: the point is measured all the same
    assert not table["visible"][3]


def test_order_of_rows_changes_nothing(predictions, truth, views):
    shuffled = predictions.sample(frac=1, random_state=1)
    expected = errors_table(predictions, truth, views, 0.5)
    pd.testing.assert_frame_equal(
        errors_table(shuffled, truth[::-1], views[::-1], 0.5), expected, check_exact=True
    )


def test_several_instances_of_one_landmark_are_measured_each(predictions, truth, views):
    second = predictions.iloc[:1].assign(instance=1, x_px=10.0, y_px=10.0)
    table = errors_table(pd.concat([predictions, second]), truth, views, 0.5)
    assert table["error_px"].tolist()[:2] == [5.0, 0.0]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda t: t.iloc[1:], "no prediction for landmark 'asis' of view 'v0'"),
        (lambda t: t.assign(view=["v0", "v0", "v1", "v9"]), "no prediction for"),
        (lambda t: pd.concat([t, t.iloc[:1].assign(view="v9")]), "do not hold: landmark 'asis'"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "twice"),
        (lambda t: t.drop(columns="confidence"), "lacks the columns confidence"),
    ],
)
def test_predictions_of_other_views_or_landmarks_are_refused(
    predictions, truth, views, change, problem
):
    with pytest.raises(InputError, match=problem) as caught:
        errors_table(change(predictions), truth, views, 0.5, "some.parquet")
    assert caught.value.source == "some.parquet"


def test_mean_position_is_of_visible_training_landmarks(truth, views):
    training = pd.DataFrame(
        {
            "view": ["t0", "t1", "t2", "t0"],
            "landmark": ["asis", "asis", "asis", "crest"],
            "x_true_px": [10.0, 20.0, 900.0, 5.0],
            "y_true_px": [0.0, 10.0, 900.0, 5.0],
            "visible": [True, True, False, False],
        }
    )
    table = mean_position_predictions(training, truth, views)
    asis = table[table["landmark"] == "asis"]
    assert (asis["x_px"] == 15.0).all()
    assert (asis["y_px"] == 5.0).all()
    crest = table[table["landmark"] == "crest"]  # never seen: no guess, not detected
    assert crest["x_px"].isna().all()
    assert not crest["detected"].any()
    assert errors_table(table, truth, views, 0.5)["error_px"][0] == pytest.approx(np.sqrt(50))


def test_errors_files_have_the_same_bytes_and_read_back(predictions, truth, views, tmp_path):
    table = errors_table(predictions, truth, views, 0.5)
    for name in ("one", "two"):
        write_errors(table, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    pd.testing.assert_frame_equal(read_errors([tmp_path / "one"]), table)


def test_what_is_no_errors_table_is_refused(tmp_path, truth):
    (tmp_path / "text").write_text("no table")
    truth.to_parquet(tmp_path / "other")
    with pytest.raises(InputError, match="is not a table of errors"):
        read_errors([tmp_path / "text"])
    with pytest.raises(InputError, match="lacks the columns"):
        read_errors([tmp_path / "other"])


# from files to files


@pytest.fixture
def written(tmp_path):
    """A training and an evaluated shard of one patient, their views and perfect predictions."""
    dataset = Dataset.model_validate(
        {
            "name": "pelvis",
            "title": "-",
            "subjects": ["p"],
            "landmarks": "-",
            "view_sets": {
                "train": {
                    "of": "train",
                    "role": "train",
                    "sampling": {"kind": "sphere", "count": 2},
                },
                "new": {
                    "of": "train",
                    "role": "evaluate",
                    "sampling": {"kind": "sphere", "count": 2},
                },
            },
        }
    )
    sheet = {"p": Subject("p", "P", "-", "-", "", "train")}
    views = plan_views(dataset, sheet, {"p": np.zeros(3)}, 0)
    write_views(tmp_path / "views.parquet", views)
    for view_set in ("train", "new"):
        names = views.loc[views["view_set"] == view_set, "view"].tolist()
        rows = [
            {
                "image": np.zeros((8, 8)),
                "landmarks": np.array([[2.0 + i, 4.0], [6.0, 6.0]]),
                "visible": np.array([True, view_set == "new"]),
                "beliefs": np.zeros((2, 1, 1)),
                "landmarks_world": np.zeros((2, 3)),
                "K": np.eye(3),
                "world_to_camera": np.eye(4),
            }
            for i in range(2)
        ]
        about = {"view": names, "landmarks": ["asis", "crest"], "flip_pairs": [], "stride": 8}
        about |= {"pixel_mm": 0.5, "digest": view_set, "dataset": "pelvis", "subject": ["p", "p"]}
        about |= {"sigma_px": 8.0, "physics": {}, "projector": "shearwarp"}
        write_shard(tmp_path / f"{view_set}.zarr.zip", rows, 2, about)
    truth = truth_of(Shards([tmp_path / "new.zarr.zip"]))
    predictions = truth[["view", "landmark"]].assign(
        dataset="pelvis", method="cpm", seed=0, view_set="new", subject="p", instance=0,
        x_px=truth["x_true_px"] + 3.0, y_px=truth["y_true_px"], confidence=1.0, detected=True,
    )  # fmt: skip
    predictions.to_parquet(tmp_path / "predictions.parquet")
    return tmp_path, dataset


def seen(folder, dataset) -> pd.DataFrame:
    return with_seen_in_training(read_views(folder / "views.parquet"), dataset.view_sets)


def test_files_are_evaluated(written):
    folder, dataset = written
    evaluate(
        folder / "predictions.parquet",
        [folder / "new.zarr.zip"],
        seen(folder, dataset),
        dataset,
        folder / "errors.parquet",
    )
    table = read_errors([folder / "errors.parquet"])
    assert table["error_px"].tolist() == [3.0] * 4
    assert table["error_detector_mm"].tolist() == [1.5] * 4
    assert table["error_isocentre_mm"].tolist() == [1.5 * 750 / 1200] * 4
    assert table["seen_in_training"].all()
    assert set(table["patient"]) == {"P"}


def test_mean_position_is_evaluated_like_a_method(written):
    folder, dataset = written
    evaluate_mean_position(
        [folder / "train.zarr.zip"],
        [folder / "new.zarr.zip"],
        seen(folder, dataset),
        dataset,
        folder / "errors.parquet",
    )
    table = read_errors([folder / "errors.parquet"]).set_index("landmark")
    assert table.loc["asis", "error_px"].tolist() == [0.5, 0.5]  # between 2 and 3
    assert table.loc["crest", "error_px"].isna().all()  # on no training image
    assert set(table["method"]) == {"mean_position"}


def test_a_file_that_is_no_table_of_predictions_is_refused(written):
    folder, dataset = written
    (folder / "predictions.parquet").write_text("broken")
    with pytest.raises(InputError, match=r"predictions\.parquet: is not a table of predictions"):
        evaluate(
            folder / "predictions.parquet",
            [folder / "new.zarr.zip"],
            seen(folder, dataset),
            dataset,
            folder / "errors.parquet",
        )
