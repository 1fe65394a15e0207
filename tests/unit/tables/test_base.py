"""What a table is: its cells, and the files it is written to."""

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from raymark.tables import Column, Table, write_table


@pytest.fixture
def small():
    frame = pd.DataFrame(
        {
            "group": ["a", "a", "b", "b"],
            "name": ["x_1", "y|2", "z&3", "<w>"],
            "mre": [1.04, 0.96, 3.0, np.nan],
            "mre_low": [0.9, np.nan, 2.0, np.nan],
            "mre_high": [1.2, np.nan, 4.0, np.nan],
            "sd": [0.5, 0.25, np.nan, 1.0],
            "share": [0.5, 0.49951, 0.25, 0.75],
            "bad": [False, False, False, True],
        }
    )
    columns = [
        Column("name", "Name"),
        Column("mre", "MRE", "px", 1, spread="sd", interval=True, best="min", diverged="bad"),
        Column("share", "Share", "%", 1, 100, best="max"),
    ]
    return Table("A title", frame, columns, "demo scale", ["A note."], ("group",))


def test_cells(small):
    assert small.cells() == [
        ["x_1", "1.0 ± 0.5 [0.9, 1.2]", "50.0"],
        ["y|2", "1.0 ± 0.2", "50.0"],
        ["z&3", "3.0 [2.0, 4.0]", "25.0"],
        ["<w>", "DIV", "75.0"],
    ]


def test_best_is_bold_within_its_group_as_printed(small):
    """1.04 and 0.96 print alike, so neither is better; DIV and a row without rival never are best."""
    assert small.bold().tolist() == [
        [False, False, False],
        [False, False, False],
        [False, False, False],
        [False, False, True],
    ]


def test_ties_are_all_best_where_something_is_worse():
    frame = pd.DataFrame({"share": [0.5, 0.50001, 0.25]})
    table = Table("t", frame, [Column("share", "Share", "%", 1, 100, best="max")])
    assert table.bold().tolist() == [[True], [True], [False]]


def test_nothing_is_best_on_too_few_observations():
    frame = pd.DataFrame({"mm": [1.0, 2.0, 3.0], "few": [True, False, np.nan]})
    table = Table("t", frame, [Column("mm", "Error", "mm", 1, best="min")], few="few")
    assert table.bold().tolist() == [[False], [True], [False]]


def test_across_compares_columns_of_a_row():
    frame = pd.DataFrame(
        {"a": [1.0, 5.0, np.nan], "b": [2.0, 4.0, 3.0], "published": [0.1, 0.1, 0.1]}
    )
    columns = [Column(k, k, "px", 1, best="min") for k in ("a", "b")]
    table = Table("t", frame, [*columns, Column("published", "p", "px", 1)], across=True)
    assert table.bold().tolist() == [[True, False, False], [False, True, False], [False] * 3]


def test_csv_holds_raw_numbers(small, tmp_path):
    write_table(small, tmp_path / "t")
    assert pd.read_csv(tmp_path / "t.csv")["share"].tolist() == [0.5, 0.49951, 0.25, 0.75]


def test_markdown_has_as_many_cells_in_every_row(small, tmp_path):
    write_table(small, tmp_path / "t")
    text = (tmp_path / "t.md").read_text()
    rows = [re.split(r"(?<!\\)\|", line) for line in text.splitlines() if line.startswith("|")]
    assert {len(row) for row in rows} == {5}
    assert "**A title** (demo scale)" in text
    assert "**75.0**" in text


class Cells(HTMLParser):
    def __init__(self):
        super().__init__()
        self.rows, self.open, self.text = [], [], ""

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta",):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, "tags must close in order"

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def test_html_is_well_formed_and_needs_nothing_else(small, tmp_path):
    write_table(small, tmp_path / "t")
    text = (tmp_path / "t.html").read_text()
    parser = Cells()
    parser.feed(text)
    assert parser.open == []
    assert parser.rows[1:] == small.cells()
    assert "demo scale" in text
    assert not re.search(r"(src|href)=|url\(|@import", text)
