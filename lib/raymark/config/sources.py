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
    """Declared data, one file a row: out of which package, with which checksum and licence.

    The columns are separated by tabs; a cell that is not required may be empty.
    """

    id: Name = Field(description="what the subject sheet calls it: `source:<id>`")
    kind: Literal["installed", "archive"] = Field(
        description="a file of the installed package, or of the package's source archive on PyPI"
    )
    package: str = Field(description="the Python package")
    version: str = Field(description="the package's version")
    member: str = Field(description="the file's path inside the package or archive")
    sha256: Sha256 = Field(description="checksum of the file")
    archive_sha256: Sha256 | None = Field(
        None, description="checksum of the archive, for the kind archive"
    )
    licence: str = Field(description="what the file may be used under")
    description: str = Field(description="what the file holds, for the reader of the table")


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
