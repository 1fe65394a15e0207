"""The contract of a layout of annotations, and what layouts share.

Whatever cannot be used is an InputError that names file, line and remedy.
"""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from raymark.core.errors import InputError
from raymark.core.sections import Section


@dataclass(frozen=True)
class Annotation:
    """One image's landmarks by name, each (x, y) in px or, if `relative`, in shares of width, height.

    Pixel (0, 0) is the centre of the first pixel; a share of 0 is the image's border. `image` names
    the image: its file's name, with or without ending, or its path below the folder of images.
    `place` is the file, and line, of the annotation; `patient` is whose image it is, where known.
    """

    image: str
    place: str
    points: dict[str, tuple[float, float]]
    relative: bool = False
    patient: str | None = None


class AnnotationLayout(Section):
    """What the `Layout` of every module here offers, beside keys of its own.

    `layout`, a Literal in every subclass, is what the configuration calls it. `own_names` are the
    landmarks' names that it knows by itself; empty where the data has them.
    """

    layout: str
    own_names: ClassVar[tuple[str, ...]] = ()

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
        """Return the landmarks' names and all annotations, each of exactly these landmarks.

        Without `names` they are the layout's own, or else those of the data as they first come.
        """
        names = names or list(self.own_names)
        annotations = list(self.annotated_images(names))
        if not annotations:
            raise InputError(self.files[-1], "lists no image", "Add the annotations")
        names = names or list(dict.fromkeys(name for a in annotations for name in a.points))
        before: dict[str, str] = {}
        for annotation in annotations:
            _check_landmarks(annotation, names)
            if annotation.image in before:
                raise InputError(
                    annotation.place,
                    f"the image {annotation.image!r} is annotated twice, before in "
                    f"{before[annotation.image]}",
                    "Keep one of the two lines",
                )
            before[annotation.image] = annotation.place
        return names, annotations


def _check_landmarks(annotation: Annotation, names: list[str]) -> None:
    for what, wrong in (
        ("has no", [name for name in names if name not in annotation.points]),
        ("has an unknown", [name for name in annotation.points if name not in names]),
    ):
        if wrong:
            problem = f"the image {annotation.image!r} {what} {wrong[0]!r}"
            remedy = f"Every image has each of these once: {', '.join(names)}"
            raise InputError(annotation.place, problem, remedy)


def csv_rows(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of every line that is not blank."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        rows = list(csv.reader(text.splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        remedy = "Check the path; the file is text with commas between the columns"
        raise InputError(path, f"cannot be read ({error})", remedy) from None
    for line, row in enumerate(rows, start=1):
        if any(cell.strip() for cell in row):
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
