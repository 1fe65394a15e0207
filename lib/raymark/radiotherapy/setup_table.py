"""Tables of set-up errors: their columns, and how they are written and read."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pyarrow as pa

from raymark.core.stored_tables import store_table, stored_table

LANDMARKS, INTENSITY, NOTHING = "landmarks", "mutual_information", "none"
REGISTRATIONS = (LANDMARKS, INTENSITY, NOTHING)
SCHEMA = pa.schema(
    {
        **dict.fromkeys(["dataset", "method"], pa.string()),
        "seed": pa.int64(),
        **dict.fromkeys(["view_set", "view", "subject", "patient"], pa.string()),
        "seen_in_training": pa.bool_(),
        "registration": pa.string(),
        "landmarks": pa.int64(),
        "reason": pa.string(),
        **dict.fromkeys(["true_x_mm", "true_y_mm", "x_mm", "y_mm"], pa.float64()),
        **dict.fromkeys(["error_x_mm", "error_y_mm", "error_mm"], pa.float64()),
    }
)


def write_setup(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table of set-up errors as Parquet; the same table gives the same bytes."""
    arrow = pa.Table.from_pandas(table[SCHEMA.names], SCHEMA, preserve_index=False)
    store_table(arrow, path)


def read_setup(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Read and stack tables of set-up errors; InputError where a file is none."""
    again = "Make it again with raymark setup-error"
    tables = [
        stored_table(path, "a table of set-up errors", again, schema=SCHEMA) for path in paths
    ]
    return pd.concat(tables, ignore_index=True)
