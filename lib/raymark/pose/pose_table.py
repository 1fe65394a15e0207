"""Tables of poses and of the capture range: their columns, and how they are written and read."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pyarrow as pa

from raymark.core.stored_tables import store_table, stored_table

MEASURES = ("rotation_deg", "translation_mm", "reprojection_px", "mtre_mm")
SCHEMA = pa.schema(
    {
        **dict.fromkeys(["dataset", "method"], pa.string()),
        "seed": pa.int64(),
        **dict.fromkeys(["view_set", "view", "subject", "patient"], pa.string()),
        "seen_in_training": pa.bool_(),
        "solution": pa.string(),
        "landmarks": pa.int64(),
        "reason": pa.string(),
        "world_to_camera": pa.list_(pa.float64()),
        **dict.fromkeys(MEASURES, pa.float64()),
    }
)
CAPTURE_SCHEMA = pa.schema(
    {
        **dict.fromkeys(["dataset", "view_set", "view", "subject"], pa.string()),
        **dict.fromkeys(["from_mm", "to_mm", "start_mtre_mm", "mtre_mm"], pa.float64()),
    }
)


def write_poses(table: pd.DataFrame, path: str | Path, schema: pa.Schema = SCHEMA) -> None:
    """Write a table of poses, or of the capture range, as Parquet; the same table gives the same bytes."""
    store_table(pa.Table.from_pandas(table[schema.names], schema, preserve_index=False), path)


def read_poses(paths: Iterable[str | Path], schema: pa.Schema = SCHEMA) -> pd.DataFrame:
    """Read and stack tables of poses, or of the capture range; InputError where a file is none."""
    again = "Make it again with raymark pose, or raymark capture-range"
    tables = [stored_table(path, "a table of poses", again, schema=schema) for path in paths]
    return pd.concat(tables or [schema.empty_table().to_pandas()], ignore_index=True)
