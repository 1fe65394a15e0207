"""Declared data: which file, out of which package, with which checksum and licence.

``config/sources.tsv`` has one row per file. Kind `installed` is a file inside a package of the
environment; kind `archive` is a file inside a package's source archive.
"""

from typing import Annotated, Literal

import pandas as pd
from pydantic import Field

from raymark.core.errors import InputError
from raymark.core.sections import Name, Section, checked

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Source(Section):
    """One row of the table of sources."""

    id: Name
    kind: Literal["installed", "archive"]
    package: str
    version: str
    member: str
    sha256: Sha256
    archive_sha256: Sha256 | None = None
    licence: str
    description: str


def read_sources(path: str) -> dict[str, Source]:
    """Read the table of sources, keyed by id."""
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, comment="#")
    except (OSError, ValueError) as error:
        raise InputError(path, f"cannot be read ({error})", "Restore config/sources.tsv") from None
    rows = [
        {key: value for key, value in row.items() if isinstance(value, str)}
        for row in table.to_dict("records")
    ]
    sources = [checked(Source, row, f"{path}, row {n}") for n, row in enumerate(rows, start=2)]
    ids = [source.id for source in sources]
    for name in ids:
        if ids.count(name) > 1:
            raise InputError(path, f"the id {name!r} stands twice", "Give every row its own id")
    return {source.id: source for source in sources}
