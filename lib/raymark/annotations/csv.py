"""A spreadsheet of points, of whatever image and landmark."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from raymark.annotations.base import Annotation, AnnotationLayout, csv_table, number
from raymark.core.errors import InputError

COLUMNS = ("image", "landmark", "x_px", "y_px")


class PointTable(AnnotationLayout):
    """A spreadsheet: a line per image and landmark."""

    layout: Literal["csv"]
    file: str = Field(
        description="columns image, landmark, x_px, y_px and, where known, patient; pixel (0, 0) is "
        "the centre of the first pixel"
    )

    @property
    def files(self) -> list[str]:
        return [self.file]

    def annotated_images(self, names: list[str]) -> Iterator[Annotation]:
        header, rows = csv_table(self.file, "Give every column a value")
        if missing := [column for column in COLUMNS if column not in header]:
            remedy = f"The columns are {', '.join(COLUMNS)} and, where known, patient"
            raise InputError(f"{self.file}, line 1", f"has no column {missing[0]!r}", remedy)
        found: dict[str, Annotation] = {}
        for place, cells in rows:
            image, landmark, patient = cells["image"], cells["landmark"], cells.get("patient")
            first = found.setdefault(image, Annotation(image, place, {}, patient=patient))
            if first.patient != patient:
                problem = (
                    f"the image {image!r} has the patient {patient!r}, before {first.patient!r}"
                )
                raise InputError(f"{place}, column patient", problem, "An image shows one patient")
            if landmark in first.points:
                problem = f"the landmark {landmark!r} of {image!r} is there twice"
                raise InputError(place, problem, "Keep one of the two lines")
            x, y = (number(cells[key], f"{place}, column {key}") for key in ("x_px", "y_px"))
            first.points[landmark] = (x, y)
        yield from found.values()


Layout = PointTable
