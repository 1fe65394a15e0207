"""Tables of papers 3 and 4: shares within a distance against plain pandas, angles against known tilts."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from raymark.config.papers import Paper
from raymark.evaluation.results import SEEN, Results
from raymark.metrics.cobb import CORNERS, corner_names
from raymark.tables import cobb, instances, members, pck, sdr
from tests.unit.evaluation.examples import LANDMARKS, METHODS, errors_of, project_of_examples
from tests.unit.metrics.test_cobb import spine

SPINE = corner_names(["t1", "t2", "t3"])


def results_of(values, errors=None, names=LANDMARKS, compared=(), table=None):
    """Results of which the pose machine is compared with a paper of these values."""
    row = {"method": "cpm", "title": "-", "evaluated_on": SEEN, "source": "Table 9", "table": table}
    paper = Paper.model_validate(
        {"name": "bier2018", "short": "P", "citation": "-", "compared_landmarks": list(compared),
         "rows": [row | {"values": values}]}
    )  # fmt: skip
    if errors is None:
        errors = pd.concat([errors_of(method) for method in METHODS], ignore_index=True)
    return Results(
        project_of_examples(), errors, {"pelvis": names}, frozenset(),
        {"bier2018": paper, "pel": replace_rows(paper)},
    )  # fmt: skip


def replace_rows(paper):
    return paper.model_copy(update={"name": "pel", "rows": []})


def test_pck_is_told_for_all_and_for_the_compared_landmarks():
    published = {"pck_8_paper_px": 0.9895, "mre_paper_px": 0.98}
    frame = pck.table(results_of(published, compared=["sacrum"])).frame
    rows = frame[frame["method"] == "cpm"].set_index("which_landmarks")
    table = errors_of("cpm")
    for what, part in (("all", table), ("sacrum", table[table["landmark"] == "sacrum"])):
        seen = part[part["visible"]]
        for px in (4, 6, 8, 10, 12):
            right = seen["detected"] & (seen["error_px"] <= px)
            assert rows.loc[what, f"pck_{px}_paper_px"] == pytest.approx(right.mean())
        assert rows.loc[what, "mre_paper_px"] == pytest.approx(seen["error_px"].mean())
    assert rows.loc["sacrum", "published_pck_8_paper_px"] == 0.9895
    assert np.isnan(rows.loc["all", "published_pck_8_paper_px"])


def test_types_stand_beside_what_was_published_in_the_papers_pixels():
    """Both hips are one type; the paper's images are twice as wide, so 4 px of ours are its 8."""
    results = results_of({"pck_image_8_paper_px": 0.9})
    row = {"method": "cpm", "title": "-", "evaluated_on": SEEN, "source": "Table 2"}
    row |= {"dataset": "pelvis", "landmark": "asis", "values": {"pck_image_8_paper_px": 0.9}}
    paper = Paper.model_validate(
        {"name": "bier2018", "short": "P", "citation": "-", "image_width_px": 1230, "rows": [row]}
    )
    types = {"pelvis": {"asis": ["left_asis", "right_asis"]}}
    results = replace(results, papers={"bier2018": paper}, types=types)
    table = instances.table(results)
    ours = table.frame.set_index("method").loc["cpm"]
    seen = errors_of("cpm").query("visible and landmark in ['left_asis', 'right_asis']")
    right = seen["detected"] & (seen["error_px"] <= 4)
    assert ours["pck_8_paper_px"] == pytest.approx(right.mean())
    assert ours["pck_image_8_paper_px"] == pytest.approx(right.groupby(seen["view"]).any().mean())
    found = seen[seen["detected"]]
    assert ours["mre_found_paper_px"] == pytest.approx(2 * found["error_px"].mean())
    assert ours["found"] > ours["shown"] * 0.3
    assert ours["published_pck_image_8_paper_px"] == 0.9
    assert set(table.frame["method"]) == {"cpm", "mean_position"}
    assert "each 2 px here" in " ".join(table.notes)


def test_a_row_about_one_landmark_is_not_that_of_all():
    rows = results_of({"pck_8_paper_px": 0.9}).papers["bier2018"].rows
    one = rows[0].model_copy(update={"landmark": "sacrum"})
    other = rows[0].model_copy(update={"dataset": "chest"})
    paper = results_of({}).papers["bier2018"].model_copy(update={"rows": [one, other]})
    assert paper.row("cpm", SEEN, "pelvis") is None
    assert paper.row("cpm", SEEN, "chest") == other


def test_sdr_counts_mm_of_the_patient_and_shows_what_was_published():
    table = sdr.table(
        results_of({"sdr_2_isocentre_mm": 0.392, "sdr_4_isocentre_mm": 0.739}, table="sdr")
    )
    ours, published = (table.frame[table.frame["method_title"] == t] for t in ("Pose machine", "-"))
    seen = errors_of("cpm").query("visible")
    for mm in (2, 3, 4, 6):
        expected = (seen["error_isocentre_mm"] <= mm).mean()
        assert ours[f"sdr_{mm}_isocentre_mm"].item() == pytest.approx(expected)
    assert published["sdr_4_isocentre_mm"].item() == 0.739
    assert table.frame.index[-1] == published.index.item()


def spine_errors(tilts_deg, found_deg):
    """The pose machine sees spines of `found_deg` where they are `tilts_deg`."""
    table = errors_of("cpm", landmarks=SPINE)
    views = table["view"].nunique()
    for columns, tilts in ((("x_true_px", "y_true_px"), tilts_deg), (("x_px", "y_px"), found_deg)):
        table[list(columns)] = np.tile(spine(tilts).reshape(-1, 2), (views, 1))
    return table.assign(visible=True)


def test_cobb_angles_of_known_spines():
    true, found = (-10, 0, 20), (-10, 0, 10)  # 30 and 20 degrees; no second curve
    frame = cobb.table(
        results_of({"smape": 0.1585}, spine_errors(true, found), SPINE, table="cobb")
    ).frame
    row = frame[frame["method_title"] == "Pose machine"].iloc[0]
    assert (row["subjects"], row["ci_over"]) == (1, "views (one patient)")
    assert row["smape"] == pytest.approx(10 / 50)
    assert row["mt_deg_error"] == pytest.approx(10)
    assert row["largest_deg"] == pytest.approx(30)
    assert frame["smape"].iloc[-1] == 0.1585


def test_cobb_errors_have_intervals_over_the_spines():
    """Two spines of one patient, off by 10 and 20 degrees, in many views: two clusters, not many."""
    first, second = (spine_errors((-10, 0, 20), (-10, 0, found)) for found in (10, 0))
    first["subject"], second["subject"] = "pelvis", "pelvis-v001"
    second["view"] += "-v001"
    results = results_of({"smape": 0.1585}, pd.concat([first, second]), SPINE, table="cobb")
    table = cobb.table(results)
    row = table.frame[table.frame["method_title"] == "Pose machine"].iloc[0]
    assert row["mt_deg_error"] == pytest.approx(15)
    assert (row["mt_deg_error_low"], row["mt_deg_error_high"]) == pytest.approx((10, 20))
    assert (row["subjects"], row["ci_over"]) == (2, "subjects of one patient (2)")
    cells = dict(zip([c.key for c in table.columns], table.cells()[0], strict=True))
    assert (cells["mt_deg_error"], cells["subjects"]) == ("15.0 [10.0, 20.0]", "2")
    assert any("all of these spines, copies too, were trained on" in note for note in table.notes)


def test_members_taken_for_their_neighbours_are_told_from_those_that_are_off():
    """T2 and T3 one vertebra too high in half of the images; all that are right are off to the side."""
    levels = ("t1", "t2", "t3")
    errors = spine_errors((0, 0, 0), (0, 0, 0))
    errors["x_px"] += 3.0
    shifted = errors["view"].isin(errors["view"].unique()[::2])
    up = errors["y_true_px"].groupby([errors["view"], errors["landmark"]]).first()
    for lower, upper in (("t3", "t2"), ("t2", "t1")):
        for corner in CORNERS:
            here = shifted & (errors["landmark"] == f"{lower}_{corner}")
            errors.loc[here, "y_px"] = up.xs(f"{upper}_{corner}", level=1).iloc[0]
    errors["error_px"] = np.hypot(
        errors["x_px"] - errors["x_true_px"], errors["y_px"] - errors["y_true_px"]
    )
    errors["error_isocentre_mm"] = errors["error_px"]
    results = results_of({}, errors, SPINE, table="cobb")
    types = {corner: [f"{level}_{corner}" for level in levels] for corner in CORNERS}
    frame = members.table(replace(results, types={"pelvis": types})).frame
    rows = frame[frame["method"] == "cpm"].set_index("member")
    assert list(rows.index) == ["all", "T1", "T2", "T3"]
    share = errors[shifted]["view"].nunique() / errors["view"].nunique()
    assert rows.loc["T1", "right"] == 1
    for level in ("T2", "T3"):
        assert rows.loc[level, "one_off"] == pytest.approx(share)
        assert rows.loc[level, "right"] == pytest.approx(1 - share)
    assert (rows["farther_off"] == 0).all()
    assert rows["mre_right_isocentre_mm"].to_numpy() == pytest.approx(3.0)
    assert rows.loc["all", "mre_isocentre_mm"] > 3.0
