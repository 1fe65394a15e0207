"""docs/adding-a-table.md keeps its word: its file, as printed, is a table like the others."""

import re
import sys
from pathlib import Path

import pandas as pd
import pytest

from raymark import layout, tables
from raymark.core import digests
from raymark.tables._columns import COLUMNS
from tests.unit.imports.examples import ROOT
from tests.unit.tables.examples import project_of_everything, write_everything

NAME = "sureness"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A finished run, and the page's module, found like those of the package."""
    (tmp_path / "tables").mkdir()
    page = (ROOT / "docs/adding-a-table.md").read_text(encoding="utf-8")
    module = tmp_path / f"tables/{NAME}.py"
    module.write_text(re.search(r"```python\n(.*?)```", page, re.S)[1])
    monkeypatch.setattr(tables, "__path__", [*tables.__path__, str(tmp_path / "tables")])
    ours, name = digests._path, f"raymark.tables.{NAME}"
    monkeypatch.setattr(digests, "_path", lambda n: module if n == name else ours(n))
    monkeypatch.chdir(tmp_path)
    write_everything(project_of_everything())
    yield project_of_everything()
    sys.modules.pop(name, None)


def test_the_pages_table_is_listed_made_and_written(project):
    assert NAME in tables.table_names(project)
    assert tables.chapter_of(NAME, project) == "Tables"
    assert tables.record(NAME).needs(project) == tables.record("methods").needs(project)
    assert digests.code_digest(f"raymark.tables.{NAME}")
    stem = layout.TABLE.removesuffix(".{format}").format(table=NAME)
    table = tables.make_table(NAME, project)
    tables.write_table(table, stem)
    rows = pd.read_csv(f"{stem}.csv").set_index(["dataset", "method"])
    errors = pd.read_parquet("results/errors/pelvis/cpm/0/grid.parquet").query("visible")
    near = errors[errors["error_px"] <= 8]
    row = rows.loc[("pelvis", "cpm")]
    assert row["near"] == pytest.approx(near["confidence"].mean())
    assert row["near_low"] < row["near"] < row["near_high"]
    assert row["far"] == pytest.approx(errors.drop(near.index)["confidence"].mean())
    for suffix in ("md", "tex", "html"):
        assert "How sure methods are" in Path(f"{stem}.{suffix}").read_text()
    assert any("bootstrap interval" in note for note in table.notes)


def test_the_page_of_tables_lists_every_table_and_every_shared_heading():
    lines = (ROOT / "docs/tables.md").read_text(encoding="utf-8").splitlines()
    listed = [line for line in lines if re.match(r"\| `\w+` \|", line)]
    assert listed == [f"| `{name}` | {tables.record(name).about} |" for name in tables.names()]
    for column in COLUMNS.values():
        line = f"| {column.heading} | `{column.key}` | {column.meaning} |"
        assert line.replace("{t}", "t") in lines
