"""Headers whose voxels lie in another file: that file must lie beside them.

A NRRD or MetaImage header may name any file of the machine, which would then be read as an image.
"""

import re
from pathlib import Path

from raymark.errors import InputError

LONGEST_HEADER = 2**20
NAMED = re.compile(
    rb"^[ \t]*(?:data ?file[ \t]*:|ElementDataFile[ \t]*=)[ \t]*(.*)$", re.IGNORECASE | re.MULTILINE
)


def check_data_file(path: Path) -> None:
    """Refuse (InputError) a NRRD or MetaImage header that names a file in another folder."""
    with open(path, "rb") as file:
        start = file.read(LONGEST_HEADER)
    if start.startswith(b"NRRD"):  # its header ends with an empty line
        start = re.split(rb"\r?\n\r?\n", start, maxsplit=1)[0]
    found = NAMED.search(start)
    if found is None:
        return
    value = found[1].strip()
    names = start[found.end() :] if value.upper().startswith(b"LIST") else value
    if b"/" in names or b"\\" in names:
        raise InputError(
            path,
            "names a data file in another folder",
            "Put the data file beside its header, or save the image as one file",
        )
