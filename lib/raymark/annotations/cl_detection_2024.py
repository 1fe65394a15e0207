"""Lateral cephalograms of the challenge CL-Detection 2024: a table with the points of each image in a line."""

import re
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from raymark.annotations.base import Annotation, AnnotationLayout, coordinates, csv_table, number
from raymark.core.errors import InputError

COUNT = 53


class ClDetection2024(AnnotationLayout):
    """CL-Detection 2024: `labels.csv` with image, spacing, p1x, p1y, p2x, ..."""

    layout: Literal["cl-detection-2024"]
    file: str = Field(description="labels.csv")

    own_names = tuple(f"p{number}" for number in range(1, COUNT + 1))

    @property
    def files(self) -> list[str]:
        return [self.file]

    def annotated_images(self, names: list[str]) -> Iterator[Annotation]:
        header, rows = csv_table(self.file, "Give every column a cell")
        image = _column(self.file, header, "image|file")
        spacing = _column(self.file, header, "spacing")
        columns = [
            (_column(self.file, header, f"p{n}x$"), _column(self.file, header, f"p{n}y$"))
            for n in range(1, len(names) + 1)
        ]
        for place, cells in rows:
            points = {
                name: coordinates(cells[x], cells[y], f"{place}, {x}", f"{place}, {y}")
                for name, (x, y) in zip(names, columns, strict=True)
            }
            pixel_mm = number(cells[spacing], f"{place}, column {spacing}")
            yield Annotation(cells[image], place, points, pixel_mm=pixel_mm)


def _column(file: str, header: list[str], pattern: str) -> str:
    for name in header:
        if re.match(pattern, name.lower().replace("_", "").strip()):
            return name
    remedy = "The columns are image, spacing, p1x, p1y, p2x, ..."
    raise InputError(f"{file}, line 1", f"has no column like {pattern.split('|')[0]!r}", remedy)


Layout = ClDetection2024
