"""What of a table is printed where a configuration chooses columns, rows and digits."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from raymark.config.results import TableChoice
from raymark.core.errors import InputError
from raymark.tables._columns import notes_on_units
from raymark.tables.base import Column, Table


def chosen(table: Table, choice: TableChoice, source: str) -> Table:
    """Return the table with the columns, rows and digits of `choice`, which `source` names in errors.

    The best of a group is that of the rows that are left. A note says how many rows are not. Raises
    InputError for columns and values that the table does not have.
    """
    columns, frame = _columns(table, choice, source), _rows(table.frame, choice, source)
    needed = notes_on_units(columns)
    notes = [note for note in table.notes if needed.get(note, True)]
    if len(frame) < len(table.frame):
        notes.append(f"{len(frame)} of {len(table.frame)} rows, chosen by {_told(choice)}.")
    return replace(table, frame=frame, columns=columns, notes=notes)


def _columns(table: Table, choice: TableChoice, source: str) -> list[Column]:
    by_key = {column.key: column for column in table.columns}
    _check_known(choice.columns, by_key, f"{source}.columns")
    for key in choice.columns:
        if choice.columns.count(key) > 1:
            raise InputError(f"{source}.columns", f"names {key!r} twice", "Name each column once")
    numbers = [key for key, column in by_key.items() if column.digits is not None]
    _check_known(choice.digits, numbers, f"{source}.digits", "column of numbers")
    shown = [by_key[key] for key in choice.columns or by_key]
    return [replace(c, digits=choice.digits.get(c.key, c.digits)) for c in shown]


def _rows(frame: pd.DataFrame, choice: TableChoice, source: str) -> pd.DataFrame:
    _check_known(choice.rows, frame.columns, f"{source}.rows")
    for key, values in choice.rows.items():
        known = frame[key].map(_plain)
        _check_known(map(_plain, values), sorted(set(known)), f"{source}.rows.{key}", "value")
    for key, values in choice.rows.items():
        frame = frame[frame[key].map(_plain).isin(list(map(_plain, values)))]
    if frame.empty:
        remedy = "Leave one of them out: a row has to fulfil all"
        raise InputError(f"{source}.rows", "leaves no row of this table", remedy)
    return frame.reset_index(drop=True)


def _plain(value: Any) -> str:
    """Return a value as it is written in YAML and CSV, 2 and 2.0 alike."""
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return f"{value:g}" if is_number else str(value)


def _told(choice: TableChoice) -> str:
    return " and ".join(
        f"{key} ({', '.join(map(_plain, values))})" for key, values in choice.rows.items()
    )


def _check_known(
    keys: Iterable[str], known: Iterable[str], source: str, kind: str = "column"
) -> None:
    known = list(known)
    for key in keys:
        if key not in known:
            problem = f"{key!r} is no {kind} of this table"
            raise InputError(source, problem, f"Known: {', '.join(known)}")
