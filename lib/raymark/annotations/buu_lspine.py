"""BUU-LSPINE: lumbar spines, a table beside each image with a line for each end plate."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from raymark.annotations.base import Annotation, AnnotationLayout, csv_rows, number
from raymark.core.errors import InputError

PLATES = ("superior", "inferior")
CELLS = 5  # x1, y1, x2, y2 and the label


class BuuLspine(AnnotationLayout):
    """BUU-LSPINE: `<id>.csv` beside `<id>.jpg`, each line the two ends of an end plate and its label."""

    layout: Literal["buu-lspine"]
    folder: str = Field(description="the folder of the CSV files")

    @property
    def files(self) -> list[str]:
        return [self.folder]

    def annotated_images(self, names: list[str]) -> Iterator[Annotation]:
        for path in sorted(Path(self.folder).glob("*.csv")):
            yield Annotation(path.stem, str(path), _points_of(path))


def _points_of(path: Path) -> dict[str, tuple[float, float]]:
    """Name the ends of the end plates, from the head down: a vertebra has two, its label in each."""
    rows = list(csv_rows(path))
    plates: Counter[str] = Counter()
    points = {}
    for line, row in rows:
        place = f"{path}, line {line}"
        if len(row) != CELLS:
            problem = f"has {len(row)} cells instead of {CELLS}"
            raise InputError(place, problem, "A line is x1, y1, x2, y2, label")
        x1, y1, x2, y2 = (number(cell, place) for cell in row[:4])
        label = row[4].strip().lower()
        if plates[label] == len(PLATES):
            problem = f"is a third end plate of {label!r}"
            raise InputError(place, problem, "Every vertebra has a superior and an inferior one")
        plate = PLATES[plates[label]]
        plates[label] += 1
        points[f"{label}_{plate}_1"], points[f"{label}_{plate}_2"] = (x1, y1), (x2, y2)
    return points


Layout = BuuLspine
