"""The digital hand atlas with 37 landmarks: one table without header, a line for each image."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from raymark.annotations.base import Annotation, AnnotationLayout, csv_rows, number
from raymark.core.errors import InputError

COUNT = 37


class HandAtlas(AnnotationLayout):
    """The digital hand atlas: `all.csv`, the image's number and 37 pairs of x and y in a line."""

    layout: Literal["hand-atlas"]
    file: str = Field(description="all.csv")

    own_names = tuple(f"p{number}" for number in range(1, COUNT + 1))

    @property
    def files(self) -> list[str]:
        return [self.file]

    def annotated_images(self, names: list[str]) -> Iterator[Annotation]:
        for line, row in csv_rows(self.file):
            place = f"{self.file}, line {line}"
            if len(row) != 1 + 2 * len(names):
                problem = f"has {len(row)} cells instead of {1 + 2 * len(names)}"
                raise InputError(
                    place, problem, "A line is the image's number, then x and y of each"
                )
            values = [number(cell, f"{place}, cell {n}") for n, cell in enumerate(row[1:], start=2)]
            points = zip(values[::2], values[1::2], strict=True)
            yield Annotation(row[0].strip(), place, dict(zip(names, points, strict=True)))


Layout = HandAtlas
