"""Tables as LaTeX: nothing is lost in the parts of a wide one, and all of it sets on a page."""

import re

import numpy as np
import pandas as pd
import pytest

from raymark.tables import Column, Table
from raymark.tables._latex import PAGE_WIDTH, _Layout, _parts, escaped, latex
from tests.unit.tables.tex import complaints, needs_tex

COMMANDS = r"50 % of a_b & c#d ~ {e} ^f $g$ \h < i | j"


def wide(rows=6, numbers=20, notes=("[low, high]: 95 % of a_b.",)):
    """A table of many numbers with intervals, in two groups of methods."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({f"n{n}": rng.uniform(1, 99, rows) for n in range(numbers)})
    for n in range(numbers):
        frame[f"n{n}_low"], frame[f"n{n}_high"] = frame[f"n{n}"] - 1, frame[f"n{n}"] + 1
    frame["place"] = np.where(np.arange(rows) < rows // 2, "Pelvis & hips", "Chest")
    frame["method"] = [f"method {n} with a name of several words" for n in range(rows)]
    frame["over"] = "views (one patient)"
    columns = [Column("place", "Data set"), Column("method", "Method")]
    columns += [
        Column(f"n{n}", f"Share {n} at detector", "%", 1, interval=True, best="max")
        for n in range(numbers)
    ]
    columns.append(Column("over", "Interval over"))
    return Table("A wide table", frame, columns, "demo scale", list(notes), ("place",))


def test_every_column_is_in_one_part_and_what_a_row_is_in_all():
    table = wide()
    parts = _parts(_Layout(table))
    assert len(parts) > 1
    assert {part.columns[0] for part in parts} == {1}  # the method; the place stands above
    others = [column for part in parts for column in part.columns[1:]]
    assert others == list(range(2, len(table.columns)))
    assert all(part.width <= PAGE_WIDTH for part in parts)


def test_a_narrow_table_is_one_part_with_every_cell():
    table = wide(numbers=2)
    text = latex(table, "narrow")
    assert text.count(r"\begin{table}") == 1
    for row in table.cells():
        for cell in row[1:]:
            assert cell in text
    assert text.count(r"\label{tab:narrow}") == 1
    assert "part 1" not in text


def test_what_a_group_has_in_common_stands_once_above_it():
    text = latex(wide(numbers=2), "t")
    assert len(re.findall(r"\\multicolumn\{4\}\{@\{\}l\}\{\\itshape ", text)) == 2
    assert text.count(r"Pelvis \& hips") == text.count("Chest") == 1
    assert "Data set" not in text


def test_parts_share_a_number_a_label_and_the_notes():
    text = latex(wide(), "t")
    count = text.count(r"\caption{")
    assert text.count(r"\addtocounter{table}{-1}") == count - 1
    assert f"part {count} of {count}" in text
    assert text.count(r"\label{tab:t}") == 1
    assert text.count(r"\item {}[low, high]: 95 \% of a\_b.") == 1


def test_the_best_is_bold():
    table = Table("t", pd.DataFrame({"n": [1.0, 2.0]}), [Column("n", "N", digits=1, best="min")])
    assert r"\textbf{1.0} \\" in latex(table, "t")
    assert r"\textbf{2.0}" not in latex(table, "t")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a_b & 5 %", r"a\_b \& 5 \%"),
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("1.0 ± 0.5", r"1.0 $\pm$ 0.5"),
        ("-0.5 [-1.0, 0.2]", "$-$0.5 [$-$1.0, 0.2]"),
        ("6-DoF, 2019-2020, kV–MV", "6-DoF, 2019-2020, kV--MV"),
    ],
)
def test_commands_are_escaped_and_signs_are_mathematics(text, written):
    assert escaped(text) == written


@needs_tex
@pytest.mark.parametrize(
    "table",
    [
        wide(),
        wide(numbers=1),
        wide(rows=120, numbers=6),
        wide(rows=2, numbers=3, notes=[COMMANDS, "All the same. " * 40]),
        Table("Empty", pd.DataFrame({"n": []}), [Column("n", COMMANDS, "mm³", 1)]),
    ],
    ids=["wide", "narrow", "long", "notes", "empty"],
)
def test_it_sets_without_complaint(table, tmp_path):
    assert complaints(latex(table, "t"), tmp_path) == []


@needs_tex
def test_tex_complains_of_what_is_wider_than_the_page(tmp_path):
    text = rf"\mbox{{{'wider ' * 40}}}"
    assert complaints(text, tmp_path)
    assert complaints(rf"\begin{{tabular*}}{{\linewidth}}{{l}}{text}\end{{tabular*}}", tmp_path)
    assert complaints(r"\undefined", tmp_path)
