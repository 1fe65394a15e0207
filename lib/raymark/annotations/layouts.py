"""Annotated 2D images: the layouts that public data sets and spreadsheets have them in.

Every reader returns names of landmarks and one `Annotation` per image, in the file's order, or raises
InputError naming file, line and remedy.
"""

import csv
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from raymark.core.errors import InputError
from raymark.core.sections import Section
from raymark.imports.xray_file import stem_of
from raymark.metrics.cephalometry import LANDMARKS as CEPHALOMETRIC
from raymark.metrics.cobb import corner_names

CSV_COLUMNS = ("image", "landmark", "x_px", "y_px")


class SpineAp(Section):
    """The public AP spine data: per image one line of all x, then all y, as shares of its size."""

    layout: Literal["spine-ap"]
    landmarks: str = Field(description="the file of positions, landmarks.csv")
    filenames: str = Field(description="the file of image names in the same order, filenames.csv")

    @property
    def files(self) -> list[str]:
        return [self.landmarks, self.filenames]


class Cephalometric2015(Section):
    """The ISBI 2015 challenge: one text file per image and reader, 19 lines of x,y in px."""

    layout: Literal["cephalometric-2015"]
    readers: list[str] = Field(
        min_length=1, description="folders of one reader each (400_senior, 400_junior), averaged"
    )

    @property
    def files(self) -> list[str]:
        return self.readers


class PointTable(Section):
    """A spreadsheet: a line per image and landmark."""

    layout: Literal["csv"]
    file: str = Field(
        description="columns image, landmark, x_px, y_px and, where known, patient; pixel (0, 0) is "
        "the centre of the first pixel"
    )

    @property
    def files(self) -> list[str]:
        return [self.file]


Layout = Annotated[SpineAp | Cephalometric2015 | PointTable, Field(discriminator="layout")]


@dataclass(frozen=True)
class Annotation:
    """One image's landmarks (landmark, xy), in px or, if `relative`, in shares of width and height.

    `image` names the image, `place` the file and line of the annotation.
    """

    image: str
    place: str
    points: np.ndarray
    relative: bool = False
    patient: str | None = None


def own_names(layout: Layout) -> list[str] | None:
    """Return the landmarks' names that a layout knows by itself; a spreadsheet has its own."""
    match layout:
        case SpineAp():
            return corner_names()
        case Cephalometric2015():
            return list(CEPHALOMETRIC)
    return None


def read_annotations(layout: Layout, names: list[str] | None) -> tuple[list[str], list[Annotation]]:
    """Return the landmarks' names, the layout's own where `names` is None, and all annotations."""
    match layout:
        case SpineAp(filenames=source):
            names = names or own_names(layout)
            annotations = list(_spine_ap(layout, names))
        case Cephalometric2015(readers=[source, *_]):
            names = names or own_names(layout)
            annotations = list(_cephalometric(layout, names))
        case PointTable(file=source):
            names, annotations = _point_table(Path(source), names)
    seen: dict[str, str] = {}
    for annotation in annotations:
        if annotation.image in seen:
            raise InputError(
                annotation.place,
                f"the image {annotation.image!r} is annotated twice, before in "
                f"{seen[annotation.image]}",
                "Keep one of the two lines",
            )
        seen[annotation.image] = annotation.place
    if not annotations:
        raise InputError(source, "lists no image", "Add the annotations")
    return names, annotations


def _spine_ap(layout: SpineAp, names: list[str]) -> Iterator[Annotation]:
    images = [row[0].strip() for _, row in csv_rows(layout.filenames)]
    lines = list(csv_rows(layout.landmarks))
    if len(images) != len(lines):
        raise InputError(
            layout.landmarks,
            f"has {len(lines)} lines, but {layout.filenames} names {len(images)} images",
            "Both files list the same images in the same order",
        )
    for image, (line, row) in zip(images, lines, strict=True):
        place = f"{layout.landmarks}, line {line}"
        if len(row) != 2 * len(names):
            raise InputError(
                place,
                f"has {len(row)} columns instead of {2 * len(names)}",
                f"{len(names)} landmarks need all their x, then all their y",
            )
        values = [_number(cell, f"{place}, column {c}") for c, cell in enumerate(row, start=1)]
        yield Annotation(image, place, np.array(values).reshape(2, -1).T, relative=True)


def _cephalometric(layout: Cephalometric2015, names: list[str]) -> Iterator[Annotation]:
    files = [{path.stem: path for path in _text_files(folder)} for folder in layout.readers]
    for folder, found in zip(layout.readers, files, strict=True):
        if differing := sorted(files[0].keys() ^ found.keys()):
            raise InputError(
                folder,
                f"and {layout.readers[0]} do not annotate the same images, first {differing[0]!r}",
                "Every reader has one file for each image",
            )
    for image in sorted(files[0]):
        points = [_points_of(found[image], len(names)) for found in files]
        yield Annotation(image, str(files[0][image]), np.mean(points, axis=0))


def _text_files(folder: str) -> list[Path]:
    files = sorted(Path(folder).glob("*.txt"))
    if not files:
        remedy = "Name the folder with one .txt file for each image"
        raise InputError(folder, "has no annotations", remedy)
    return files


def _points_of(path: Path, count: int) -> np.ndarray:
    """Read the first `count` lines, x,y in px; what follows are the challenge's own classes."""
    rows = list(csv_rows(path))[:count]
    if len(rows) < count:
        remedy = "Each landmark has a line x,y"
        raise InputError(path, f"has {len(rows)} lines instead of at least {count}", remedy)
    for line, row in rows:
        if len(row) != 2:
            remedy = "Write x,y with one comma"
            raise InputError(f"{path}, line {line}", f"has {len(row)} columns, not 2", remedy)
    return np.array([[_number(cell, f"{path}, line {line}") for cell in row] for line, row in rows])


def _point_table(path: Path, names: list[str] | None) -> tuple[list[str], list[Annotation]]:
    lines = csv_rows(path)
    _, header = next(lines, (1, []))
    header = [cell.strip() for cell in header]
    if missing := [column for column in CSV_COLUMNS if column not in header]:
        remedy = f"The columns are {', '.join(CSV_COLUMNS)} and, where known, patient"
        raise InputError(f"{path}, line 1", f"has no column {missing[0]!r}", remedy)
    found: dict[str, dict[str, tuple[float, float]]] = {}
    first: dict[str, tuple[str, str | None]] = {}
    for line, row in lines:
        place = f"{path}, line {line}"
        if len(row) != len(header):
            remedy = "Give every column a value"
            raise InputError(place, f"has {len(row)} columns instead of {len(header)}", remedy)
        cells = dict(zip(header, (cell.strip() for cell in row), strict=True))
        image, landmark = cells["image"], cells["landmark"]
        _, patient = first.setdefault(image, (place, cells.get("patient")))
        if patient != cells.get("patient"):
            problem = (
                f"the image {image!r} has the patient {cells['patient']!r}, before {patient!r}"
            )
            raise InputError(f"{place}, column patient", problem, "An image shows one patient")
        if landmark in found.setdefault(image, {}):
            problem = f"the landmark {landmark!r} of {image!r} is there twice"
            raise InputError(place, problem, "Keep one of the two lines")
        xy = tuple(_number(cells[key], f"{place}, column {key}") for key in ("x_px", "y_px"))
        found[image][landmark] = xy
    names = names or list(dict.fromkeys(name for points in found.values() for name in points))
    annotations = []
    for image, points in found.items():
        place, patient = first[image]
        for problem, wrong in (
            ("has no", [name for name in names if name not in points]),
            ("has an unknown", [name for name in points if name not in names]),
        ):
            if wrong:
                remedy = f"Every image has each of these once: {', '.join(names)}"
                raise InputError(place, f"the image {image!r} {problem} {wrong[0]!r}", remedy)
        xy = np.array([points[name] for name in names])
        annotations.append(Annotation(image, place, xy, patient=patient or None))
    return names, annotations


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


def _number(cell: str, place: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        remedy = "Every landmark needs a position: mark it, or leave the image out"
        raise InputError(place, f"{cell.strip()!r} is not a number", remedy)
    return value


class ImageFolder:
    """The image files anywhere below a folder, found by path, by file name or by stem."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise InputError(folder, "is not a folder", "Give the folder of the images")
        self._paths: dict[str, set[Path]] = {}
        for path in sorted(self.folder.rglob("*")):
            for key in {path.relative_to(self.folder).as_posix(), path.name, stem_of(path)}:
                if path.is_file():
                    self._paths.setdefault(key, set()).add(path)

    def find(self, image: str, place: str) -> Path:
        """Return the one file of that name; InputError names `place` where there is none, or two.

        Annotations come from elsewhere: a name that leads out of the folder is refused.
        """
        exact = self.folder / image
        if PurePath(image).is_absolute() or ".." in PurePath(image).parts:
            problem = f"the image {image!r} lies outside {self.folder}"
            raise InputError(place, problem, "Give its path below the folder")
        # Of a name longer than any file's, Path.is_file would raise.
        paths = {exact} if os.path.isfile(exact) else self._paths.get(image, set())
        if len(paths) == 1:
            return next(iter(paths))
        listed = ", ".join(str(path) for path in sorted(paths))
        problem = f"could be any of {listed}" if paths else f"is not in {self.folder}"
        remedy = "Give its path below the folder" if paths else "Add the file, or drop its line"
        raise InputError(place, f"the image {image!r} {problem}", remedy)
