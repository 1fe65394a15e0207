"""Tables: one module each, which is the table's name and defines `TABLE`, its record.

Nothing is registered anywhere: the workflow, the command line and the report find a table by its
module. See docs/adding-a-table.md.
"""

import json
import sys
from dataclasses import replace
from importlib import import_module

from raymark.config.project import Project
from raymark.core.errors import InputError
from raymark.core.registry import names_in
from raymark.datasets.taking_part import told
from raymark.tables._chosen import chosen
from raymark.tables._formats import write_table
from raymark.tables.base import Column, Table, TableRecord, chapter_of_paper

__all__ = [
    "Column",
    "Table",
    "TableRecord",
    "chapter_of",
    "check_choices",
    "labels_of",
    "make_table",
    "names",
    "printed",
    "record",
    "settings_of",
    "table_names",
    "write_table",
]


def names() -> list[str]:
    """Return the names of all tables."""
    return names_in(sys.modules[__name__])


def record(name: str) -> TableRecord:
    """Return what is known of a table; InputError where there is none of that name."""
    if name not in names():
        raise InputError(f"table {name!r}", "is not known", f"Known: {', '.join(names())}")
    return import_module(f"{__name__}.{name}").TABLE


def table_names(project: Project) -> list[str]:
    """List the tables that a configuration calls for: those of a paper only where it is compared."""
    tables = {name: record(name) for name in names()}
    return [
        name
        for name, table in tables.items()
        if table.asked(project) and (table.publishes is None or table.paper(project))
    ]


def chapter_of(name: str, project: Project) -> str:
    """Name the report's chapter of a table."""
    table = record(name)
    return table.chapter(project) if table.chapter else chapter_of_paper(table.paper(project))


def labels_of(name: str) -> dict[str, str]:
    """Return the report's label of a table."""
    return {"table": name}


def make_table(name: str, project: Project) -> Table:
    """Make a table from what the workflow wrote below the working folder; its notes say who is left out."""
    table = record(name).make(project)
    return replace(table, notes=[*table.notes, *map("{}.".format, told(project.left_out))])


def printed(name: str, table: Table, project: Project) -> Table:
    """Return what the configuration chooses of a table to print."""
    choice = project.config.tables.get(name)
    return chosen(table, choice, f"{project.source}, tables.{name}") if choice else table


def settings_of(name: str, project: Project) -> str:
    """Return, as JSON, what of the configuration a table prints, and what is printed of it."""
    choice = project.config.tables.get(name)
    return json.dumps([record(name).settings(project), choice and choice.model_dump()])


def check_choices(project: Project) -> None:
    """Refuse a choice of what a table prints where there is no such table."""
    for name in project.config.tables:
        if name not in names():
            problem = f"names the table {name!r}, which there is not"
            raise InputError(f"{project.source}, tables", problem, f"Known: {', '.join(names())}")
