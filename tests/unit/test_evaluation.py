import numpy as np
import pandas as pd
import pytest

from raymark.errors import InputError
from raymark.evaluation import (
    ERROR_COLUMNS,
    errors_table,
    mean_position_predictions,
    read_errors,
    write_errors,
)


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
