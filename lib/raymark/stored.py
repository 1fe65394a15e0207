"""Tables below results/ as later steps read them: a damaged one is named, with how to make it again."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from raymark.errors import InputError


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
            table = pq.read_table(path, filters=filters).to_pandas(ignore_metadata=True)
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
