"""What the tables say, against plain pandas and the published figures."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raymark import layout
from raymark.config.papers import Paper, read_paper
from raymark.core.errors import InputError
from raymark.evaluation.errors import MEAN_POSITION, write_errors
from raymark.evaluation.results import SEEN, UNSEEN, Results, read_results
from raymark.tables import accuracy as accuracy_tables
from raymark.tables import landmarks as landmark_tables
from raymark.tables import make_table, table_names, write_table
from raymark.tables.data import data
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
                      "values": {"mre_px": 9.1, "sd_px": 7.4, "mre_mm": 5.6, "sd_mm": 4.5}}],
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


def results_of(*tables, preset="demo", diverged=()):
    errors = pd.concat(tables or [errors_of(method) for method in METHODS], ignore_index=True)
    project = project_of_examples(preset)
    return Results(project, errors, {"pelvis": LANDMARKS}, frozenset(diverged), PAPERS)


def printed(table):
    """The printed cells as a frame; repeated headings get their unit, then a number."""
    return pd.DataFrame(table.cells(), columns=[c.key for c in table.columns])


def test_same_table_gives_same_bytes(tmp_path):
    for name in ("one", "two"):
        write_table(accuracy_tables.methods(results_of()), tmp_path / name)
    for suffix in ("csv", "md", "tex", "html"):
        assert (tmp_path / f"one.{suffix}").read_bytes() == (
            tmp_path / f"two.{suffix}"
        ).read_bytes()


def test_methods_agree_with_plain_pandas():
    table = accuracy_tables.methods(results_of())
    row = table.frame.set_index("method").loc["cpm"]
    seen = errors_of("cpm").query("visible")
    assert row["mre_px"] == pytest.approx(seen["error_px"].mean())
    assert row["sd_mm"] == pytest.approx(seen["error_detector_mm"].std(ddof=0))
    assert row["sdr_3_mm"] == pytest.approx((seen["error_detector_mm"] <= 3).mean())
    assert row["pck_8_px"] == pytest.approx(((seen["error_px"] <= 8) & seen["detected"]).mean())
    assert row["detection_rate"] == pytest.approx(seen["detected"].mean())
    assert row["mre_px_low"] < row["mre_px"] < row["mre_px_high"]
    cells = printed(table).set_index("method_title").loc["Pose machine"]
    for key in ("mre_px", "sdr_3_mm", "pck_8_px"):
        assert re.fullmatch(r"[\d.]+ \[[\d.]+, [\d.]+\]", cells[key]), key


def test_landmarks_without_a_point_are_told():
    errors = errors_of("cpm")
    errors.loc[errors.index[errors["visible"]][:2], ["error_px", "error_detector_mm"]] = np.nan
    told = f"(Pose machine, Pelvis, grid: 2 of {errors['visible'].sum()}) have no error"
    for make in (accuracy_tables.methods, landmark_tables.landmarks):
        assert any(told in note for note in make(results_of(errors)).notes)
        assert not any("have no error" in note for note in make(results_of()).notes)


def test_of_one_patient_deformed_copies_are_drawn_and_counted():
    errors = errors_of("cpm")
    errors["subject"] = np.where(errors.groupby("view").ngroup() % 2, "pelvis", "pelvis-v001")
    for make in (accuracy_tables.methods, accuracy_tables.detected):
        row = make(results_of(errors)).frame.iloc[0]
        assert row["ci_over"] == "subjects of one patient (2)"
        assert (row["patients"], row["subjects"]) == (1, 2)


def test_every_table_has_the_baseline_and_the_label():
    results = results_of()
    for make in (accuracy_tables.methods, accuracy_tables.detected):
        table = make(results)
        assert table.label == "demo scale"
        assert MEAN_POSITION in set(table.frame["method"])
    assert f"{MEAN_POSITION}_px" in landmark_tables.rmse(results).frame
    assert accuracy_tables.methods(results_of(preset="paper")).label == ""


def test_evaluation_kind_and_interval_kind_are_said():
    one = accuracy_tables.methods(results_of()).frame
    assert set(one["evaluated_on"]) == {SEEN}
    assert set(one["ci_over"]) == {"views (one patient)"}
    several = errors_of("cpm", patients=("A", "B", "C"), seen=False)
    row = accuracy_tables.methods(results_of(several)).frame.iloc[0]
    assert (row["evaluated_on"], row["ci_over"], row["patients"]) == (UNSEEN, "patients", 3)


def test_seen_and_unseen_patients_of_one_view_set_are_never_mixed():
    tables = [errors_of("cpm"), errors_of("cpm", patients=("B",), seen=False)]
    frame = accuracy_tables.methods(results_of(*tables)).frame
    assert frame["evaluated_on"].tolist() == [SEEN, UNSEEN]


def test_detection_counts_detected_visible_landmarks_and_shows_the_paper():
    table = accuracy_tables.detected(results_of())
    row = table.frame.set_index("method").loc["cpm"]
    found = errors_of("cpm").query("visible and detected")
    assert row["mre_px"] == pytest.approx(found["error_px"].mean())
    assert row["sd_px"] == pytest.approx(found["error_px"].std(ddof=0))
    cells = printed(table).iloc[0]
    assert cells["published_mre_px"] == "9.1 ± 7.4"
    assert cells["published_mre_mm"] == "5.6 ± 4.5"
    assert cells["source"] == "Bier 2018, Section 3.1: unseen patients"
    assert "unet" not in set(table.frame["method"])  # it is compared with another paper


def test_accuracy_is_averaged_over_views():
    table = accuracy_tables.detected(results_of())
    found = errors_of("cpm").query("detected")
    right = (found["error_px"] < 15) & found["visible"]
    expected = right.groupby(found["view"]).mean().mean()
    assert table.frame["accuracy"][0] == pytest.approx(expected)


def test_accuracy_is_told_at_the_papers_distance_too():
    """15 px of its 0.5 mm are 7.5 mm, whatever the pitch of ours."""
    table = accuracy_tables.detected(results_of())
    found = errors_of("cpm").query("detected")
    right = (found["error_detector_mm"] < 7.5) & found["visible"]
    expected = right.groupby(found["view"]).mean().mean()
    assert table.frame["accuracy_mm"][0] == pytest.approx(expected)
    assert table.frame["accuracy_mm"][0] != pytest.approx(table.frame["accuracy"][0])
    assert "Accuracy 7.5 mm" in [column.title for column in table.columns]
    best = dict(zip([c.key for c in table.columns], table.bold()[0], strict=True))
    assert all(best[key] for key in ("mre_px", "mre_mm", "accuracy", "accuracy_mm"))


def test_rmse_has_published_cells_beside_ours():
    frame = landmark_tables.rmse(results_of()).frame.set_index("landmark")
    assert frame.index.tolist() == [landmark_tables.MEAN, *LANDMARKS, "not_ours"]
    published = frame["unet_published_px"].dropna().to_dict()
    assert published == {landmark_tables.MEAN: 8.58, "left_asis": 11.49, "not_ours": 4.71}
    assert frame[["unet_px", "visible"]].loc["not_ours"].isna().all()
    seen = errors_of("unet").query("visible")
    squares = (seen["error_px"] ** 2).groupby(seen["landmark"]).mean() ** 0.5
    assert frame["unet_px"]["sacrum"] == pytest.approx(squares["sacrum"])
    assert frame["unet_px"].iloc[0] == pytest.approx(squares.mean())


def test_published_row_of_the_same_kind_of_patients_is_chosen():
    tables = [errors_of("unet", patients=("A", "B"), seen=False)]
    frame = landmark_tables.rmse(results_of(*tables)).frame
    assert frame["unet_published_px"][0] == 5.58


def test_a_diverged_run_prints_div_and_keeps_its_numbers():
    table = landmark_tables.rmse(results_of(diverged=[("pelvis", "unet", 0)]))
    assert set(printed(table)["unet_px"]) == {"DIV"}
    assert table.frame["unet_px"].iloc[: 1 + len(LANDMARKS)].notna().all()
    methods = printed(accuracy_tables.methods(results_of(diverged=[("pelvis", "unet", 0)])))
    assert methods.set_index("method_title").loc["U-Net", "mre_px"] == "DIV"


def test_one_diverged_seed_of_two_is_left_out_and_told():
    tables = [errors_of("cpm"), errors_of("cpm", seed=1)]
    frame = accuracy_tables.methods(results_of(*tables, diverged=[("pelvis", "cpm", 1)])).frame
    alone = accuracy_tables.methods(results_of(tables[0])).frame
    assert frame["seeds_text"][0] == "2 (1 DIV)"
    assert frame["mre_px"][0] == alone["mre_px"][0]


def test_landmarks_are_rows_however_many_there_are():
    names = [f"t{i}_{side}" for i in range(33) for side in ("left", "right")]
    errors = errors_of("cpm", landmarks=names)
    results = Results(project_of_examples(), errors, {"pelvis": names}, frozenset(), PAPERS)
    table = landmark_tables.landmarks(results)
    assert table.frame["landmark"].tolist() == names
    assert printed(table)["landmark_title"][1] == "T0 right"


def test_methods_stand_below_each_other_for_every_landmark():
    table = landmark_tables.landmarks(results_of())
    rows = table.frame.set_index(["landmark", "method"])
    assert rows.index.tolist() == [(name, m) for name in LANDMARKS for m in ("cpm", "unet")]
    for method in ("cpm", "unet"):
        seen = errors_of(method).query("visible and landmark == 'sacrum'")
        row = rows.loc["sacrum", method]
        assert row["mm"] == pytest.approx(seen["error_detector_mm"].mean())
        assert row["sd_mm"] == pytest.approx(seen["error_detector_mm"].std(ddof=0))
        assert row["mm_low"] < row["mm"] < row["mm_high"]
        assert row["detected"] == pytest.approx(seen["detected"].mean())
        assert row["visible"] == len(seen)
    baseline = errors_of(MEAN_POSITION).query("visible and landmark == 'sacrum'")
    expected = baseline["error_detector_mm"].mean()
    assert rows.loc[("sacrum", "cpm"), "mean_position_mm"] == pytest.approx(expected)
    best = table.bold()[:, [c.key for c in table.columns].index("mm")]
    assert best.tolist() == (table.frame["method"] == "cpm").tolist()


def test_landmarks_have_the_papers_numbers_and_intervals():
    table = landmark_tables.rmse(results_of())
    cells = printed(table).set_index("landmark_title")
    assert cells.index[:2].tolist() == [landmark_tables.MEAN, "left ASIS (L1)"]
    rows = table.frame.set_index("landmark")
    assert (
        rows["unet_px_low"]["sacrum"] < rows["unet_px"]["sacrum"] < rows["unet_px_high"]["sacrum"]
    )
    assert "[" in cells["unet_px"]["sacrum"]


def test_order_of_rows_changes_no_table():
    results = results_of()
    shuffled = Results(
        results.project, results.errors.sample(frac=1, random_state=1), results.landmarks,
        results.diverged, results.papers,
    )  # fmt: skip
    makers = accuracy_tables.methods, accuracy_tables.detected
    for make in (*makers, landmark_tables.landmarks, landmark_tables.rmse):
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
    frame = data(project, {"pelvis": views}, {"pelvis": 4}).frame.set_index("view_set")
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
    assert read_paper("bier2018").rows[0].values["mre_px"] * 0.616 == pytest.approx(5.6, abs=0.05)


def test_tables_of_a_paper_are_made_only_where_it_is_compared():
    project = project_of_examples()
    assert {"detection", "rmse", "methods"} <= set(table_names(project))
    without = project.config.model_copy(
        update={
            "experiments": [
                e.model_copy(update={"paper": None, "poses": []})
                for e in project.config.experiments
            ]
        }
    )
    names = table_names(type(project)(without, project.datasets, project.methods))
    always = ["data", "cts", "matrix", "comparisons", "methods", "landmarks", "decoder_bias"]
    assert names == always


def test_unknown_tables_are_refused():
    with pytest.raises(InputError, match="Known: data"):
        make_table("detections", project_of_examples())


def test_results_are_read_from_where_the_workflow_writes_them(tmp_path, monkeypatch):
    """Errors, baselines, losses with the flag of divergence, and published figures."""
    folder = Path(__file__).parents[3] / "config" / "papers"
    monkeypatch.chdir(tmp_path)
    project = project_of_examples()
    sheet = "subject\tpatient\tct\tlandmarks\tlabels\tsplit\npelvis\tp\tct.nii\tp.csv\t\ttrain\n"
    Path("config").mkdir()
    Path("config/subjects.tsv").write_text(sheet)
    names = "".join(f"  - {{name: {name}}}\n" for name in LANDMARKS)
    Path(project.datasets["pelvis"].landmarks).write_text(f"landmarks:\n{names}")
    for method in METHODS:
        place = {"dataset": "pelvis", "method": method, "seed": 0, "view_set": "grid"}
        write_errors(errors_of(method), layout.ERRORS.format(**place))
    for method, diverged in (("cpm", False), ("unet", True)):
        path = Path(layout.LOSSES.format(dataset="pelvis", method=method, seed=0))
        path.parent.mkdir(parents=True)
        rows = pd.DataFrame({"epoch": [1, 2], "views": 4, "diverged": [False, diverged]})
        numbers = ["train_loss", "validation_loss", "validation_rmse_px"]
        rows = rows.assign(**dict.fromkeys(numbers, 1.0))
        rows.to_csv(path, index=False)
    results = read_results(project, folder)
    assert results.diverged == {("pelvis", "unet", 0)}
    methods = printed(accuracy_tables.methods(results)).set_index("method_title")
    assert methods.loc["U-Net", "mre_px"] == "DIV"
    assert methods.loc["Pose machine", "mre_px"] != "DIV"
    assert "8.58" in set(printed(landmark_tables.rmse(results))["unet_published_px"])
