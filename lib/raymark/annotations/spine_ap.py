"""The public AP spine data: two tables whose lines belong together."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from raymark.annotations.base import Annotation, AnnotationLayout, csv_rows, number
from raymark.core.errors import InputError
from raymark.metrics.cobb import CORNERS, VERTEBRAE, corner_names


class SpineAp(AnnotationLayout):
    """The public AP spine data: per image one line of all x, then all y, as shares of its size."""

    layout: Literal["spine-ap"]
    landmarks: str = Field(description="the file of positions, landmarks.csv")
    filenames: str = Field(description="the file of image names in the same order, filenames.csv")

    own_names = tuple(corner_names())
    own_types: ClassVar = {
        corner: [f"{level}_{corner}" for level in VERTEBRAE] for corner in CORNERS
    }

    @property
    def files(self) -> list[str]:
        return [self.landmarks, self.filenames]

    def annotated_images(self, names: list[str]) -> Iterator[Annotation]:
        images = [row[0].strip() for _, row in csv_rows(self.filenames)]
        lines = list(csv_rows(self.landmarks))
        if len(images) != len(lines):
            raise InputError(
                self.landmarks,
                f"has {len(lines)} lines, but {self.filenames} names {len(images)} images",
                "Both files list the same images in the same order",
            )
        count = len(names)
        for image, (line, row) in zip(images, lines, strict=True):
            place = f"{self.landmarks}, line {line}"
            if len(row) != 2 * count:
                problem = f"has {len(row)} columns instead of {2 * count}"
                raise InputError(
                    place, problem, f"{count} landmarks need all their x, then all their y"
                )
            values = [number(cell, f"{place}, column {c}") for c, cell in enumerate(row, start=1)]
            points = zip(values[:count], values[count:], strict=True)
            yield Annotation(image, place, dict(zip(names, points, strict=True)), relative=True)


Layout = SpineAp
