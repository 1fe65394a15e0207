"""A spreadsheet of points, of whatever image and landmark."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from raymark.annotations.base import (
    MISSING_CELLS,
    Annotation,
    AnnotationLayout,
    coordinates,
    csv_table,
    number,
)
from raymark.core.errors import InputError

COLUMNS = ("image", "landmark", "x_px", "y_px")


class PointTable(AnnotationLayout):
    """A spreadsheet: a line per image and landmark."""

    layout: Literal["csv"]
    file: str = Field(
        description="columns image, landmark, x_px, y_px and, where known, patient and pixel_mm; "
        "pixel (0, 0) is the centre of the first pixel; a landmark that an image lacks is left out or "
        "has empty cells"
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
            pixel_mm = _pixel_mm(cells, place)
            made = Annotation(image, place, {}, patient=patient, pixel_mm=pixel_mm)
            first = found.setdefault(image, made)
            if first.pixel_mm != pixel_mm:
                problem = (
                    f"the image {image!r} has pixels of {pixel_mm} mm, before {first.pixel_mm}"
                )
                raise InputError(
                    f"{place}, column pixel_mm", problem, "An image has one pixel size"
                )
            if first.patient != patient:
                problem = (
                    f"the image {image!r} has the patient {patient!r}, before {first.patient!r}"
                )
                raise InputError(f"{place}, column patient", problem, "An image shows one patient")
            if landmark in first.points:
                problem = f"the landmark {landmark!r} of {image!r} is there twice"
                raise InputError(place, problem, "Keep one of the two lines")
            x_place, y_place = (f"{place}, column {key}" for key in ("x_px", "y_px"))
            point = coordinates(cells["x_px"], cells["y_px"], x_place, y_place)
            first.points[landmark] = point
        yield from found.values()


def _pixel_mm(cells: dict[str, str], place: str) -> float | None:
    cell = cells.get("pixel_mm", "")
    if cell.lower() in MISSING_CELLS:
        return None
    pixel_mm = number(cell, f"{place}, column pixel_mm")
    if not pixel_mm > 0:
        problem = f"{pixel_mm:g} is no size of a pixel"
        raise InputError(f"{place}, column pixel_mm", problem, "Give it in mm, e.g. 0.143")
    return pixel_mm


Layout = PointTable
