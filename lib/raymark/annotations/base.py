"""The contract of a layout of annotations, and what layouts share.

Whatever cannot be used is an InputError that names file, line and remedy.
"""

import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from raymark.core.errors import InputError
from raymark.core.sections import Section

DECIMAL_COMMA = re.compile(r"^([+-]?\d+),(\d+)$")
MISSING_CELLS = ("", "nan", "na", "none", "null")


@dataclass(frozen=True)
class Annotation:
    """One image's landmarks by name, each (x, y) in px or, if `relative`, in shares of width, height.

    Pixel (0, 0) is the centre of the first pixel; a share of 0 is the image's border. `image` names
    the image: its file's name, with or without ending, or its path below the folder of images.
    `place` is the file, and line, of the annotation; `patient` is whose image it is, where known, and
    `pixel_mm` the pitch of its pixels. A landmark that the image lacks is left out, or NaN. `size_px`
    is (width, height) where the annotation tells it, `frame` the image's number in a stack, from 1.
    """

    image: str
    place: str
    points: dict[str, tuple[float, float]]
    relative: bool = False
    patient: str | None = None
    pixel_mm: float | None = None
    size_px: tuple[float, float] | None = None
    frame: int | None = None


class AnnotationLayout(Section):
    """What the `Layout` of every module here offers, beside keys of its own.

    `layout`, a Literal in every subclass, is what the configuration calls it. `own_names` are the
    landmarks' names that it knows by itself; empty where the data has them. `own_types` are the landmark
    types among these.
    """

    layout: str
    own_names: ClassVar[tuple[str, ...]] = ()
    own_types: ClassVar[dict[str, list[str]]] = {}

    @property
    def files(self) -> list[str]:
        """The files and folders that are read; the last one tells which images there are."""
        raise NotImplementedError

    def annotated_images(self, names: list[str]) -> Iterator[Annotation]:
        """Yield every image's annotation, in the files' order.

        `names` are the landmarks' names, the configuration's or else the layout's own; empty where
        only the data has them.
        """
        raise NotImplementedError

    def read(self, names: list[str] | None) -> tuple[list[str], list[Annotation]]:
        """Return the landmarks' names and all annotations, none of other landmarks.

        Without `names` they are the layout's own, or else those of the data as they first come.
        """
        names = names or list(self.own_names)
        annotations = list(self.annotated_images(names))
        if not annotations:
            raise InputError(self.files[-1], "lists no image", "Add the annotations")
        if not names:
            names = list(dict.fromkeys(name for a in annotations for name in a.points))
            _check_not_once(names, annotations)
        before: dict[str, str] = {}
        for annotation in annotations:
            _check_landmarks(annotation, names)
            image = annotation.image + f", frame {annotation.frame}" * bool(annotation.frame)
            if image in before:
                raise InputError(
                    annotation.place,
                    f"the image {image!r} is annotated twice, before in {before[image]}",
                    "Keep one of the two lines",
                )
            before[image] = annotation.place
        _check_somewhere(names, annotations, self.files[-1])
        return names, annotations


def _check_landmarks(annotation: Annotation, names: list[str]) -> None:
    if unknown := [name for name in annotation.points if name not in names]:
        problem = f"the image {annotation.image!r} has an unknown {unknown[0]!r}"
        raise InputError(annotation.place, problem, f"The landmarks are {', '.join(names)}")


def _check_not_once(names: list[str], annotations: list[Annotation]) -> None:
    """Refuse a name, known from the data alone, that one image of many has: it is misspelt."""
    for name in names:
        having = [a for a in annotations if name in a.points]
        if len(having) == 1 and len(annotations) > 2:
            problem = f"only the image {having[0].image!r} has the landmark {name!r}"
            remedy = "Mend its name, or list all names under `landmarks`"
            raise InputError(having[0].place, problem, remedy)


def _check_somewhere(names: list[str], annotations: list[Annotation], source: str) -> None:
    """Refuse a landmark that no image has: a name misspelt, rather than a point that is missing."""
    for name in names:
        if not any(math.isfinite(a.points.get(name, (math.nan,))[0]) for a in annotations):
            problem = f"no image has the landmark {name!r}"
            raise InputError(source, problem, "Mend its name, or leave it out of `landmarks`")


def csv_rows(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of every line that is not blank.

    Columns are separated by commas, semicolons or tabs; with the latter two a number may have a decimal
    comma.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        lines = text.splitlines()
        first = next((line for line in lines if line.strip()), "")
        delimiter = max(",;\t", key=first.count)
        rows = list(csv.reader(lines, delimiter=delimiter))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        remedy = "Check the path; the file is text with commas between the columns"
        raise InputError(path, f"cannot be read ({error})", remedy) from None
    for line, row in enumerate(rows, start=1):
        if any(cell.strip() for cell in row):
            if delimiter != ",":
                row = [DECIMAL_COMMA.sub(r"\1.\2", cell.strip()) for cell in row]
            yield line, row


def csv_table(
    path: str | Path, remedy: str
) -> tuple[list[str], Iterator[tuple[str, dict[str, str]]]]:
    """Return a table's header and, of each line below it, its place and its cells by column.

    `remedy` is for a line that has not as many cells as the header.
    """
    lines = csv_rows(path)
    _, header = next(lines, (1, []))
    header = [cell.strip() for cell in header]

    def rows() -> Iterator[tuple[str, dict[str, str]]]:
        for line, row in lines:
            place = f"{path}, line {line}"
            if len(row) != len(header):
                problem = f"has {len(row)} columns instead of {len(header)}"
                raise InputError(place, problem, remedy)
            yield place, dict(zip(header, (cell.strip() for cell in row), strict=True))

    return header, rows()


def coordinates(x_cell: str, y_cell: str, x_place: str, y_place: str) -> tuple[float, float]:
    """Return the point that two cells hold, NaN where both say that it is missing."""
    if all(cell.strip().lower() in MISSING_CELLS for cell in (x_cell, y_cell)):
        return math.nan, math.nan
    return number(x_cell, x_place), number(y_cell, y_place)


def number(cell: str, place: str) -> float:
    """Return the coordinate that a cell holds; InputError names `place`."""
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        remedy = "Every landmark needs a position: mark it, or leave the image out"
        raise InputError(place, f"{cell.strip()!r} is not a number", remedy)
    return value
