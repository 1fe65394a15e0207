"""What the tables say, against plain pandas and the published figures."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from raymark.config.papers import Paper, read_paper
from raymark.evaluation.errors import MEAN_POSITION
from raymark.evaluation.results import SEEN, UNSEEN, Results
from raymark.tables import (
    data,
    detection,
    landmarks,
    methods,
    rmse,
    write_table,
)
from raymark.tables._landmarks import MEAN
from tests.unit.evaluation.examples import (
    LANDMARKS,
    METHODS,
    errors_of,
    grid_of_views,
    project_of_examples,
)

PAPERS = {
    "bier2018": Paper.model_validate(
        {
            "name": "bier2018", "short": "Bier 2018", "citation": "-", "pixel_mm": 0.5,
            "rows": [{"method": "cpm", "title": "-", "evaluated_on": UNSEEN, "source": "Section 3.1",
                      "values": {"mre_found_px": 9.1, "sd_found_px": 7.4, "mre_found_detector_mm": 5.6,
                                "sd_found_detector_mm": 4.5}}],
        }
    ),
    "pel": Paper.model_validate(
        {
            "name": "pel", "short": "PEL", "citation": "-",
            "landmarks": {"L1": "left_asis", "L2": "not_ours"},
            "rows": [
                {"method": "unet", "title": "-", "evaluated_on": SEEN, "source": "Table 1",
                 "values": {"rmse_px": 8.58}, "landmark_rmse_px": {"L1": 11.49, "L2": 4.71}},
                {"method": "unet", "title": "-", "evaluated_on": UNSEEN, "source": "Table 1",
                 "values": {"rmse_px": 5.58}},
            ],
        }
    ),
}  # fmt: skip


def of_paper(results, name):
    """What a table beside one paper is made from: its experiments, with the mean position."""
    project = results.project
    experiments = project.experiments_with(name)
    methods = {MEAN_POSITION, *(e.method for e in experiments)}
    errors = results.errors[results.errors["method"].isin(methods)]
    shown = project.with_experiments(experiments)
    return replace(results, project=shown, errors=errors, papers={name: results.papers[name]})


def results_of(*tables, preset="demo", diverged=()):
    errors = pd.concat(tables or [errors_of(method) for method in METHODS], ignore_index=True)
    project = project_of_examples(preset)
    return Results(project, errors, {"pelvis": LANDMARKS}, frozenset(diverged), PAPERS)


def printed(table):
    """The printed cells as a frame; repeated headings get their unit, then a number."""
    return pd.DataFrame(table.cells(), columns=[c.key for c in table.columns])


def test_same_table_gives_same_bytes(tmp_path):
    for name in ("one", "two"):
        write_table(methods.table(results_of()), tmp_path / name / "methods")
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()
    assert len(list((tmp_path / "two").iterdir())) == 4


def test_methods_agree_with_plain_pandas():
    table = methods.table(results_of())
    row = table.frame.set_index("method").loc["cpm"]
    seen = errors_of("cpm").query("visible")
    assert row["mre_px"] == pytest.approx(seen["error_px"].mean())
    assert row["sd_detector_mm"] == pytest.approx(seen["error_detector_mm"].std(ddof=0))
    assert row["sdr_3_detector_mm"] == pytest.approx((seen["error_detector_mm"] <= 3).mean())
    assert row["pck_8_px"] == pytest.approx(((seen["error_px"] <= 8) & seen["detected"]).mean())
    assert row["detection_rate"] == pytest.approx(seen["detected"].mean())
    assert row["mre_px_low"] < row["mre_px"] < row["mre_px_high"]
    cells = printed(table).set_index("method_title").loc["Pose machine"]
    for key in ("mre_px", "sdr_3_detector_mm", "pck_8_px"):
        assert re.fullmatch(r"[\d.]+ \[[\d.]+, [\d.]+\]", cells[key]), key


def test_landmarks_without_a_point_are_told():
    errors = errors_of("cpm")
    errors.loc[errors.index[errors["visible"]][:2], ["error_px", "error_detector_mm"]] = np.nan
    told = f"(Pose machine, Pelvis, grid: 2 of {errors['visible'].sum()}) have no error"
    for make in (methods.table, landmarks.table):
        assert any(told in note for note in make(results_of(errors)).notes)
        assert not any("have no error" in note for note in make(results_of()).notes)


def test_of_one_patient_deformed_copies_are_drawn_and_counted():
    errors = errors_of("cpm")
    errors["subject"] = np.where(errors.groupby("view").ngroup() % 2, "pelvis", "pelvis-v001")
    for make in (methods.table, detection.table):
        row = make(results_of(errors)).frame.iloc[0]
        assert row["ci_over"] == "subjects of one patient (2)"
        assert (row["patients"], row["subjects"]) == (1, 2)


def test_every_table_has_the_baseline_and_the_label():
    results = results_of()
    for make in (methods.table, detection.table):
        table = make(results)
        assert table.label == "demo scale"
        assert MEAN_POSITION in set(table.frame["method"])
    assert f"{MEAN_POSITION}_rmse_px" in rmse.table(results).frame
    assert methods.table(results_of(preset="paper")).label == ""


def test_evaluation_kind_and_interval_kind_are_said():
    one = methods.table(results_of()).frame
    assert set(one["evaluated_on"]) == {SEEN}
    assert set(one["ci_over"]) == {"views (one patient)"}
    several = errors_of("cpm", patients=("A", "B", "C"), seen=False)
    row = methods.table(results_of(several)).frame.iloc[0]
    assert (row["evaluated_on"], row["ci_over"], row["patients"]) == (UNSEEN, "patients", 3)


def test_seen_and_unseen_patients_of_one_view_set_are_never_mixed():
    tables = [errors_of("cpm"), errors_of("cpm", patients=("B",), seen=False)]
    frame = methods.table(results_of(*tables)).frame
    assert frame["evaluated_on"].tolist() == [SEEN, UNSEEN]


def test_detection_counts_detected_visible_landmarks_and_shows_the_paper():
    table = detection.table(of_paper(results_of(), "bier2018"))
    row = table.frame.set_index("method").loc["cpm"]
    found = errors_of("cpm").query("visible and detected")
    assert row["mre_found_px"] == pytest.approx(found["error_px"].mean())
    assert row["sd_found_px"] == pytest.approx(found["error_px"].std(ddof=0))
    assert row["mre_found_detector_mm"] == pytest.approx(found["error_detector_mm"].mean())
    cells = printed(table).iloc[0]
    assert cells["published_mre_found_px"] == "9.1 ± 7.4"
    assert cells["published_mre_found_detector_mm"] == "5.6 ± 4.5"
    assert cells["source"] == "Bier 2018, Section 3.1: unseen patients"


def test_accuracy_is_averaged_over_views():
    table = detection.table(of_paper(results_of(), "bier2018"))
    found = errors_of("cpm").query("detected")
    right = (found["error_px"] < 15) & found["visible"]
    expected = right.groupby(found["view"]).mean().mean()
    assert table.frame["accuracy_px"][0] == pytest.approx(expected)


def test_accuracy_is_told_at_the_papers_distance_too():
    """15 px of its 0.5 mm are 7.5 mm, whatever the pitch of ours."""
    table = detection.table(of_paper(results_of(), "bier2018"))
    found = errors_of("cpm").query("detected")
    right = (found["error_detector_mm"] < 7.5) & found["visible"]
    expected = right.groupby(found["view"]).mean().mean()
    assert table.frame["accuracy_detector_mm"][0] == pytest.approx(expected)
    assert table.frame["accuracy_detector_mm"][0] != pytest.approx(table.frame["accuracy_px"][0])
    assert "Accuracy 7.5 mm at detector" in [column.title for column in table.columns]
    best = dict(zip([c.key for c in table.columns], table.bold()[0], strict=True))
    assert all(best[key] for key in ("mre_found_px", "mre_found_detector_mm"))


def test_rmse_has_published_cells_beside_ours():
    frame = rmse.table(of_paper(results_of(), "pel")).frame.set_index("landmark")
    assert frame.index.tolist() == [MEAN, *LANDMARKS, "not_ours"]
    published = frame["unet_published_rmse_px"].dropna().to_dict()
    assert published == {MEAN: 8.58, "left_asis": 11.49, "not_ours": 4.71}
    assert frame[["unet_rmse_px", "views_showing"]].loc["not_ours"].isna().all()
    seen = errors_of("unet").query("visible")
    squares = (seen["error_px"] ** 2).groupby(seen["landmark"]).mean() ** 0.5
    assert frame["unet_rmse_px"]["sacrum"] == pytest.approx(squares["sacrum"])
    assert frame["unet_rmse_px"].iloc[0] == pytest.approx(squares.mean())


def test_published_row_of_the_same_kind_of_patients_is_chosen():
    tables = [errors_of("unet", patients=("A", "B"), seen=False)]
    frame = rmse.table(of_paper(results_of(*tables), "pel")).frame
    assert frame["unet_published_rmse_px"][0] == 5.58


def test_a_diverged_run_prints_div_and_keeps_its_numbers():
    table = rmse.table(results_of(diverged=[("pelvis", "unet", 0)]))
    assert set(printed(table)["unet_rmse_px"]) == {"DIV"}
    assert table.frame["unet_rmse_px"].iloc[: 1 + len(LANDMARKS)].notna().all()
    rows = printed(methods.table(results_of(diverged=[("pelvis", "unet", 0)])))
    assert rows.set_index("method_title").loc["U-Net", "mre_px"] == "DIV"


def test_one_diverged_seed_of_two_is_left_out_and_told():
    tables = [errors_of("cpm"), errors_of("cpm", seed=1)]
    frame = methods.table(results_of(*tables, diverged=[("pelvis", "cpm", 1)])).frame
    alone = methods.table(results_of(tables[0])).frame
    assert frame["seeds_text"][0] == "2 (1 DIV)"
    assert frame["mre_px"][0] == alone["mre_px"][0]


def test_landmarks_are_rows_however_many_there_are():
    names = [f"t{i}_{side}" for i in range(33) for side in ("left", "right")]
    errors = errors_of("cpm", landmarks=names)
    results = Results(project_of_examples(), errors, {"pelvis": names}, frozenset(), PAPERS)
    table = landmarks.table(results)
    assert table.frame["landmark"].tolist() == names
    assert printed(table)["landmark_title"][1] == "T0 right"


def test_methods_stand_below_each_other_for_every_landmark():
    table = landmarks.table(results_of())
    rows = table.frame.set_index(["landmark", "method"])
    assert rows.index.tolist() == [(name, m) for name in LANDMARKS for m in ("cpm", "unet")]
    for method in ("cpm", "unet"):
        seen = errors_of(method).query("visible and landmark == 'sacrum'")
        row = rows.loc["sacrum", method]
        assert row["mre_detector_mm"] == pytest.approx(seen["error_detector_mm"].mean())
        assert row["sd_detector_mm"] == pytest.approx(seen["error_detector_mm"].std(ddof=0))
        assert row["mre_detector_mm_low"] < row["mre_detector_mm"] < row["mre_detector_mm_high"]
        assert row["detection_rate"] == pytest.approx(seen["detected"].mean())
        assert row["views_showing"] == len(seen)
    baseline = errors_of(MEAN_POSITION).query("visible and landmark == 'sacrum'")
    expected = baseline["error_detector_mm"].mean()
    assert rows.loc[("sacrum", "cpm"), "mean_position_mre_detector_mm"] == pytest.approx(expected)
    best = table.bold()[:, [c.key for c in table.columns].index("mre_detector_mm")]
    assert best.tolist() == (table.frame["method"] == "cpm").tolist()


def test_landmarks_have_the_papers_numbers_and_intervals():
    table = rmse.table(of_paper(results_of(), "pel"))
    cells = printed(table).set_index("landmark_title")
    assert cells.index[:2].tolist() == [MEAN, "left ASIS (L1)"]
    rows = table.frame.set_index("landmark")
    assert (
        rows["unet_rmse_px_low"]["sacrum"]
        < rows["unet_rmse_px"]["sacrum"]
        < rows["unet_rmse_px_high"]["sacrum"]
    )
    assert "[" in cells["unet_rmse_px"]["sacrum"]


def test_order_of_rows_changes_no_table():
    results = results_of()
    shuffled = Results(
        results.project, results.errors.sample(frac=1, random_state=1), results.landmarks,
        results.diverged, results.papers,
    )  # fmt: skip
    makers = methods.table, detection.table
    for make in (*makers, landmarks.table, rmse.table):
        pd.testing.assert_frame_equal(make(shuffled).frame, make(results).frame)


def test_data_says_what_is_seen():
    project = project_of_examples()
    view = grid_of_views()
    views = pd.concat(
        [
            view.assign(view_set="train", subject="pelvis", patient="P1"),
            view.assign(view_set="train", subject="pelvis-v001", patient="P1"),
            view.assign(view_set="grid", subject="pelvis", patient="P1"),
        ]
    )
    frame = data.table(project, {"pelvis": views}, {"pelvis": 4}).frame.set_index("view_set")
    assert frame["virtual_patients"].to_dict() == {"train": 1, "grid": 0}
    assert frame["evaluated_on"]["grid"] == SEEN
    assert frame["angles"]["grid"] == "-60 to 60 × -45 to 45"


# published figures


def test_published_files_are_whole_and_paper_2_averages_its_landmarks():
    for row in read_paper("pel").rows:
        if not row.diverged:
            cells = list(row.landmark_rmse_px.values())
            assert len(cells) == 8
            assert np.mean(cells) == pytest.approx(row.values["rmse_px"], abs=0.0051)
    assert read_paper("bier2018").rows[0].values["mre_found_px"] * 0.616 == pytest.approx(
        5.6, abs=0.05
    )
