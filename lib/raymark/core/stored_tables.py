"""Tables below results/ as later steps read them: a damaged one is named, with how to make it again."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from raymark.core.errors import InputError
from raymark.core.files import atomic


def store_table(table: pa.Table, path: str | Path, row_group_size: int | None = None) -> None:
    """Write a table as Parquet with checksums; the same table gives the same bytes."""
    with atomic(path) as partial:
        pq.write_table(
            table.replace_schema_metadata(None),
            partial,
            compression="zstd",
            row_group_size=row_group_size,
            write_page_checksum=True,
        )


def check_table(path: str | Path) -> None:
    """Read every byte of a Parquet table; InputError if it is not what was written."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for _ in file.iter_batches():
                pass
    except Exception as error:  # as below
        again = "Delete it and run snakemake with its path"
        raise InputError(path, f"is damaged ({error})", again) from None


def stored_table(
    path: str | Path,
    kind: str,
    again: str,
    columns: Sequence[str] = (),
    numbers: Sequence[str] = (),
    schema: pa.Schema | None = None,
    filters: list[tuple] | None = None,
) -> pd.DataFrame:
    """Read a CSV or Parquet table that an earlier step wrote.

    It has at least `columns` and `numbers`, which hold numbers, or exactly the columns of `schema`; of
    a Parquet file, only the rows that `filters` (of pyarrow) keep are read. InputError says what kind
    of table it should be and, with `again`, how to make it.
    """
    try:
        if schema is not None and not pq.read_schema(path).equals(schema):
            raise InputError(path, f"has other columns than {kind}", again)
        if Path(path).suffix == ".csv":
            table = pd.read_csv(path)
        else:
            table = pq.read_table(path, filters=filters, page_checksum_verification=True)
            table = table.to_pandas(ignore_metadata=True)
    except InputError:
        raise
    except Exception as error:  # a damaged file has the libraries raise errors of many kinds
        raise InputError(path, f"is not {kind} ({error})", again) from None
    if missing := sorted({*columns, *numbers} - set(table.columns)):
        raise InputError(path, f"lacks the columns {', '.join(missing)}", again)
    for name in numbers:
        if not pd.api.types.is_numeric_dtype(table[name]):
            raise InputError(path, f"has no numbers in its column {name!r}", again)
    return table
