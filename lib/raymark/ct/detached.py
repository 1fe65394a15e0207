"""Headers whose voxels lie in another file: that file must lie beside them.

A NRRD or MetaImage header may name any file of the machine, which would then be read as an image. The
libraries that read them take more for a header line than the formats' documents say (other line ends,
a colon for an equals sign, headers of any length), so everything that could be such a line counts.
"""

import mmap
import os
import re
from pathlib import Path

from raymark.core.errors import InputError

LONGEST_NRRD_HEADER = 2**20
IN_NRRD = re.compile(rb"data ?file[ \t]*:[ \t]*([^\n]*)", re.IGNORECASE)
IN_METAIMAGE = re.compile(rb"ElementDataFile\s*[=:][ \t]*([^\r\n]*)")
NUMBERED = re.compile(rb"%0?\d*d")  # in the pattern of a series of files: slice%03d.raw 1 20 1


def check_data_file(path: Path) -> int:
    """Refuse (InputError) a NRRD or MetaImage header that names a file in another folder.

    A link beside the header that leads to another folder is such a file. Returns how many bytes the
    header and the files that it names have together.
    """
    beside: set[Path] = set()
    with (
        open(path, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        text: bytes | mmap.mmap
        if content[:4] == b"NRRD":
            text, line = _nrrd_header(path, content), IN_NRRD
        else:  # where a MetaImage header ends, only its reader knows
            text, line = content, IN_METAIMAGE
        for found in line.finditer(text):
            is_list = found[1].strip().upper().startswith(b"LIST")
            names = text[found.start(1) :] if is_list else found[1]
            # A pattern of file names is C's: it could spell a slash by its number.
            if b"/" in names or b"\\" in names or b"%" in NUMBERED.sub(b"", names, count=1):
                raise _elsewhere(path)
            beside |= {
                file
                for file in path.parent.iterdir()
                if b"%" in names or os.fsencode(file.name) in names
            }
    folders = {path.parent.resolve(), path.resolve().parent}  # the header may be a link itself
    if any(file.is_symlink() and file.resolve().parent not in folders for file in beside - {path}):
        raise _elsewhere(path)
    return sum(file.stat().st_size for file in beside | {path} if file.is_file())


def _elsewhere(path: Path) -> InputError:
    return InputError(
        path,
        "names a data file in another folder",
        "Put the data file beside its header, or save the image as one file",
    )


def _nrrd_header(path: Path, content: mmap.mmap) -> bytes:
    """Return a NRRD file's header, which ends with an empty line or the file, its lines with \\n."""
    start = content[:LONGEST_NRRD_HEADER].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    header, end, _ = start.partition(b"\n\n")
    if not end and len(content) > LONGEST_NRRD_HEADER:
        problem = f"has a header of more than {LONGEST_NRRD_HEADER >> 20} MiB"
        raise InputError(path, problem, "Save the image again, without its comments")
    return header
