"""What a configuration chooses to print of a table; what it cannot is refused."""

import json

import pandas as pd
import pytest

from raymark import tables
from raymark.config.project import Config, Project
from raymark.config.results import TableChoice
from raymark.core.errors import InputError
from raymark.core.sections import checked
from raymark.tables import Table, write_table
from raymark.tables._chosen import chosen
from raymark.tables._columns import DETECTOR_NOTE, PX_NOTE, column

WHERE = "main.yaml, tables.methods"
FRAME = pd.DataFrame(
    {
        "dataset": ["pelvis", "pelvis", "chest", "chest"],
        "method": ["cpm", "unet", "cpm", "unet"],
        "method_title": ["CPM", "U-Net", "CPM", "U-Net"],
        "mre_px": [1.234, 1.1, 3.0, 4.0],
        "mre_detector_mm": [2.0, 1.0, 3.5, 4.5],
        "threshold_mm": [2, 2.5, 2, 2.5],
        "diverged": [False, False, True, False],
    }
)
COLUMNS = [column("method_title"), column("mre_px"), column("mre_detector_mm")]
TABLE = Table("t", FRAME, COLUMNS, notes=["Ours.", DETECTOR_NOTE, PX_NOTE], groups=("dataset",))


def choose(**choice):
    return chosen(TABLE, TableChoice.model_validate(choice), WHERE)


def test_columns_are_those_chosen_in_their_order():
    shown = choose(columns=["mre_detector_mm", "method_title"])
    assert shown.cells()[0] == ["2.0", "CPM"]
    assert shown.notes == ["Ours.", DETECTOR_NOTE]  # none is in px


def test_digits_are_those_chosen_and_the_best_is_as_printed():
    shown = choose(digits={"mre_px": 0})
    assert [row[1] for row in shown.cells()] == ["1", "1", "DIV", "4"]
    assert shown.bold()[:2, 1].tolist() == [False, False]
    assert TABLE.bold()[:2, 1].tolist() == [False, True]


def test_rows_are_those_chosen_and_a_note_says_so():
    shown = choose(rows={"dataset": ["pelvis"], "method": ["unet", "cpm"]})
    assert [row[0] for row in shown.cells()] == ["CPM", "U-Net"]
    assert shown.notes[-1] == "2 of 4 rows, chosen by dataset (pelvis) and method (unet, cpm)."


@pytest.mark.parametrize(
    ("key", "value", "count"),
    [("threshold_mm", 2.5, 2), ("threshold_mm", 2, 2), ("diverged", True, 1)],
)
def test_rows_are_chosen_by_numbers_and_truth_as_yaml_has_them(key, value, count):
    assert len(choose(rows={key: [value]}).frame) == count


def test_nothing_chosen_is_the_whole_table():
    assert (choose().cells(), choose().notes) == (TABLE.cells(), TABLE.notes)


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (
            {"columns": ["mre"]},
            r"tables.methods.columns: 'mre' is no column of this table. Known: method_title, mre_px, "
            "mre_detector_mm$",
        ),
        ({"columns": ["mre_px", "mre_px"]}, "columns: names 'mre_px' twice"),
        ({"digits": {"method_title": 1}}, "digits: 'method_title' is no column of numbers"),
        ({"rows": {"patient": ["a"]}}, "rows: 'patient' is no column .* Known: dataset, method, "),
        ({"rows": {"method": ["scn"]}}, "rows.method: 'scn' is no value .* Known: cpm, unet$"),
        ({"rows": {"dataset": ["chest"], "mre_px": [1.1]}}, "rows: leaves no row of this table"),
    ],
)  # fmt: skip
def test_what_the_table_does_not_have_is_refused(choice, told):
    with pytest.raises(InputError, match=told):
        choose(**choice)


def test_the_csv_keeps_everything(tmp_path):
    write_table(TABLE, tmp_path / "whole")
    shown = choose(columns=["mre_px"], rows={"method": ["cpm"]})
    write_table(TABLE, tmp_path / "t", shown)
    assert (tmp_path / "t.csv").read_text() == (tmp_path / "whole.csv").read_text()
    for suffix in ("md", "tex", "html"):
        text = (tmp_path / f"t.{suffix}").read_text()
        assert "U-Net" not in text
        assert "MRE" in text


def project_with(**choices):
    config = checked(Config, {"datasets": [], "tables": choices}, "main.yaml")
    return Project(config, {}, {}, source="main.yaml")


def test_a_choice_of_another_table_changes_nothing_of_this_one():
    project = project_with(cobb={"columns": ["method_title"]})
    assert tables.printed("methods", TABLE, project) is TABLE
    before, after = (tables.settings_of("methods", p) for p in (project_with(), project))
    assert before == after
    assert tables.settings_of("cobb", project) != tables.settings_of("cobb", project_with())
    json.loads(after)


def test_names_of_tables_are_known():
    tables.check_choices(project_with(cobb={}))
    with pytest.raises(InputError, match=r"^main.yaml, tables: names the table 'cob', .*capture_r"):
        tables.check_choices(project_with(cob={}))


def test_unknown_keys_of_a_choice_are_refused():
    with pytest.raises(InputError, match=r"'tables.cobb.column' is unknown. Allowed here: columns"):
        project_with(cobb={"column": []})
    with pytest.raises(InputError, match=r"tables.cobb.digits.smape"):
        project_with(cobb={"digits": {"smape": -1}})
