"""The subject sheet: who takes part, whose anatomy that is, and which split it belongs to.

One tab-separated file with the columns subject, patient, ct, landmarks, labels, split and, where the
label maps need it, label_scheme. `ct`, `labels` and `landmarks` are a path or ``source:<id>`` naming a row of the table of sources;
`landmarks` may also be ``recipe:<path>``, landmarks computed from the label map, or ``atlas:<subject>``,
those of another subject, whose CT is laid on this one. A column `exclude` leaves a subject out, with the
reason.

A virtual patient is called after its parent: ``pelvis-v001`` is the first one made from ``pelvis``.
"""

import csv
import re
from collections.abc import Collection, Container
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from pydantic import Field

from raymark import layout
from raymark.core.errors import InputError

SPLITS = ("train", "validation", "test")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_VIRTUAL = re.compile(r"(?P<parent>.+)-v\d{3,}")


@dataclass(frozen=True)
class Subject:
    """Who takes part, one CT a row.

    The columns are separated by tabs, in any order; label_scheme and exclude may be left out.
    """

    subject: Annotated[
        str,
        Field(description="the CT's own id: letters, digits, `_` and `-`, a letter or digit first"),
    ]
    patient: Annotated[
        str, Field(description="whose anatomy it is, an id too; several CTs may be of one patient")
    ]
    ct: Annotated[
        str,
        Field(
            description="path of a file or folder (docs/ct.md), `source:<id>` of the table of sources, or "
            "`calibrated:<name>/<subject>/ct.nii.gz` of a calibrated data set (docs/imports.md)"
        ),
    ]
    landmarks: Annotated[
        str,
        Field(
            description="path of a file of points (docs/landmarks.md), `source:<id>`, or `recipe:<path>` "
            "of a landmark file, by which they are computed from the label map, or `atlas:<subject>`: "
            "those of another subject, carried over (docs/patients.md)"
        ),
    ]
    labels: Annotated[
        str, Field(description="the label map: a path or `source:<id>`; empty where there is none")
    ]
    split: Annotated[
        str,
        Field(
            description="what the patient is for, with all of its CTs",
            json_schema_extra={"enum": [*SPLITS]},
        ),
    ]
    label_scheme: Annotated[
        str,
        Field(
            description="what the ids of a label map without names mean: totalsegmentator_v1, _v2 or "
            "_v3, verse, ctpelvic1k, or the path of a table (CSV) with id and name; empty: "
            "totalsegmentator_v2"
        ),
    ] = ""
    exclude: Annotated[
        str,
        Field(
            description="why this CT is to take no part for now, in a few words that tables repeat; empty: it "
            "takes part"
        ),
    ] = ""


CALIBRATED = re.compile(r"calibrated:(?P<name>[^/]+)/(?P<subject>[^/]+)/(?P<file>[^/]+)")


COLUMNS = tuple(field.name for field in fields(Subject))
OPTIONAL = ("label_scheme", "exclude")
ATLAS = "atlas:"  # how a cell of `landmarks` begins that names another subject


def virtual_subjects(subject: str, count: int) -> list[str]:
    """Name the `count` virtual patients of a subject."""
    return [f"{subject}-v{index:03d}" for index in range(1, count + 1)]


def parent_of(subject: str) -> str:
    """Return the real subject a virtual one was made from; a real one is its own parent."""
    virtual = _VIRTUAL.fullmatch(subject)
    return virtual["parent"] if virtual else subject


def calibrated_of(reference: str) -> tuple[str, str] | None:
    """Return the calibrated data set and the subject there that a cell refers to; None where to neither."""
    found = CALIBRATED.fullmatch(reference)
    return (found["name"], found["subject"]) if found else None


def atlas_of(row: Subject) -> str | None:
    """Return the subject whose landmarks are carried over to this one; None where it has its own."""
    return row.landmarks.removeprefix(ATLAS) if row.landmarks.startswith(ATLAS) else None


def read_subjects(path: str | Path) -> dict[str, Subject]:
    """Read the subject sheet; the keys are the subject ids in the sheet's order.

    Raises InputError, naming file, line and column, for anything that cannot be used; among it a
    patient with subjects in two splits.
    """
    subjects: dict[str, Subject] = {}
    split_of: dict[str, str] = {}
    for line, row in _rows(path):
        _check_row(row, f"{path}, line {line}")
        if row.subject in subjects:
            raise InputError(
                f"{path}, line {line}, column subject",
                f"{row.subject!r} is there twice",
                "Give every CT its own subject id; `patient` tells which belong together",
            )
        if split_of.setdefault(row.patient, row.split) != row.split:
            raise InputError(
                f"{path}, line {line}, column split",
                f"patient {row.patient!r} is in {row.split!r} here and in "
                f"{split_of[row.patient]!r} above",
                "Keep all subjects of one patient in one split",
            )
        subjects[row.subject] = row
    if not subjects:
        raise InputError(path, "lists no subject", "Add one line for each CT")
    _check_atlases(path, subjects)
    return subjects


def _check_atlases(path: str | Path, subjects: dict[str, Subject]) -> None:
    """Refuse an atlas that is not in the sheet, or whose own landmarks are by atlas."""
    for row in subjects.values():
        atlas = atlas_of(row)
        if atlas is None:
            continue
        place = f"{path}, subject {row.subject}, column landmarks"
        if atlas not in subjects:
            remedy = f"Name one of the sheet's: {', '.join(subjects)}"
            raise InputError(place, f"the atlas {atlas!r} is not in the sheet", remedy)
        if atlas_of(subjects[atlas]) is not None:
            problem = f"the atlas {atlas!r} has no landmarks of its own"
            raise InputError(place, problem, "Name a subject with points or a recipe")
        if subjects[atlas].exclude:
            problem = f"the atlas {atlas!r} is excluded: {subjects[atlas].exclude}"
            raise InputError(place, problem, "Name another, or exclude this subject too")


def check_files(
    path: str | Path,
    used: Container[str],
    sources: Collection[str],
    calibrated: Collection[str] = (),
) -> None:
    """See that every file is there that the sheet's lines of the subjects `used` name.

    InputError names line and column. `sources` are the ids of the table of sources, `calibrated` the
    names of the calibrated data sets, whose files may lack. For the start of the workflow: later steps
    need only what was made from these files.
    """
    for line, row in _rows(path):
        if row.subject not in used:
            continue
        for column in ("ct", "landmarks", "labels"):
            reference, place = getattr(row, column), f"{path}, line {line}, column {column}"
            kind, _, name = reference.partition(":")
            if kind == "atlas" and column == "landmarks":
                continue
            if kind == "source":
                if name not in sources:
                    problem = f"{reference!r} is not in the table of sources"
                    raise InputError(place, problem, f"Known: {', '.join(sources)}")
                continue
            if kind == "calibrated":
                _check_calibrated(row, column, calibrated, place)
                continue
            file = name if kind == "recipe" else reference
            if file and not Path(file).exists():
                remedy = f"Mend the path; it counts from {Path.cwd()} or is absolute"
                raise InputError(place, f"{file!r} is not there", remedy)


def _check_calibrated(row: Subject, column: str, known: Collection[str], place: str) -> None:
    """Refuse a cell of a calibrated data set that there is not, of another file, or of another subject's."""
    reference, file = getattr(row, column), layout.CALIBRATED_FILES[column]
    name, subject = calibrated_of(reference) or ("", "")
    if name not in known:
        told = ", ".join(known) or "none; list its file under `calibrated`"
        raise InputError(place, f"{reference!r} is of no calibrated data set", f"Known: {told}")
    if not reference.endswith(f"/{file}"):
        raise InputError(
            place, f"{reference!r} is no {column}", f"Give calibrated:{name}/{subject}/{file}"
        )
    if calibrated_of(row.ct) not in (None, (name, subject)):
        remedy = "A CT, its labels and its landmarks are of one subject there"
        raise InputError(place, f"{reference!r} does not belong to {row.ct!r}", remedy)


def _rows(path: str | Path) -> list[tuple[int, Subject]]:
    """Return (line number, row) of every line that is not blank, columns checked."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        lines = list(csv.reader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        remedy = "Check the path; the sheet is UTF-8 text with tabs between the columns"
        raise InputError(path, f"cannot be read ({error})", remedy) from None
    header = [name.strip() for name in next(iter(lines), [])]
    if sorted({*header, *OPTIONAL}) != sorted(COLUMNS) or len(set(header)) < len(header):
        missing = [name for name in COLUMNS if name not in (*header, *OPTIONAL)]
        unknown = [name for name in header if name not in COLUMNS]
        repeated = sorted({name for name in header if header.count(name) > 1})
        faults = {"missing": missing, "unknown": unknown, "repeated": repeated}
        raise InputError(
            f"{path}, line 1",
            "; ".join(f"{kind} column {', '.join(n)}" for kind, n in faults.items() if n),
            f"The columns are {', '.join(COLUMNS)}, separated by tabs",
        )
    rows = []
    for line, values in enumerate(lines[1:], start=2):
        values = [value.strip() for value in values]
        if not any(values):
            continue
        if len(values) != len(header):
            raise InputError(
                f"{path}, line {line}",
                f"has {len(values)} fields instead of {len(header)}",
                "Separate the columns by single tabs; leave an unused one empty",
            )
        rows.append((line, Subject(**dict(zip(header, values, strict=True)))))
    return rows


def _check_row(row: Subject, place: str) -> None:
    """Refuse a row that nothing later could use."""
    for column in ("subject", "patient"):
        value = getattr(row, column)
        if not _ID.fullmatch(value):
            raise InputError(
                f"{place}, column {column}",
                f"{value!r} is not an id",
                "Use letters, digits, _ and - only, a letter or digit first",
            )
    if parent_of(row.subject) != row.subject:
        raise InputError(
            f"{place}, column subject",
            f"{row.subject!r} is a name for virtual patients",
            "Choose an id that does not end in -v and digits",
        )
    for column in ("ct", "landmarks"):
        if not getattr(row, column):
            raise InputError(
                f"{place}, column {column}",
                "is empty",
                "Give a path or source:<id>"
                + (" or recipe:<path> or atlas:<subject>" * (column == "landmarks")),
            )
    if row.landmarks.startswith("recipe:") and not row.labels:
        raise InputError(
            f"{place}, column labels",
            f"is empty, but {row.landmarks!r} computes landmarks from labels",
            "Name the CT's label map, or give a file of landmarks instead of the recipe",
        )
    if row.split not in SPLITS:
        raise InputError(
            f"{place}, column split",
            f"{row.split!r} is not a split",
            f"Use one of {', '.join(SPLITS)}",
        )
