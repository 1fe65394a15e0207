"""The ISBI 2015 cephalometric challenge: folders of text files, one folder for each reader."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from raymark.annotations.base import Annotation, AnnotationLayout, csv_rows, number
from raymark.core.errors import InputError
from raymark.metrics.cephalometry import LANDMARKS


class Cephalometric2015(AnnotationLayout):
    """The ISBI 2015 challenge: one text file per image and reader, 19 lines of x,y in px."""

    layout: Literal["cephalometric-2015"]
    readers: list[str] = Field(
        min_length=1, description="folders of one reader each (400_senior, 400_junior), averaged"
    )

    own_names = LANDMARKS

    @property
    def files(self) -> list[str]:
        return self.readers

    def annotated_images(self, names: list[str]) -> Iterator[Annotation]:
        files = [{path.stem: path for path in _text_files(folder)} for folder in self.readers]
        for folder, found in zip(self.readers, files, strict=True):
            if differing := sorted(files[0].keys() ^ found.keys()):
                raise InputError(
                    folder,
                    f"and {self.readers[0]} do not annotate the same images, first {differing[0]!r}",
                    "Every reader has one file for each image",
                )
        for image in sorted(files[0]):
            points = np.mean([_points_of(found[image], len(names)) for found in files], axis=0)
            points = dict(zip(names, points.tolist(), strict=True))
            yield Annotation(image, str(files[0][image]), points)


def _text_files(folder: str) -> list[Path]:
    files = sorted(Path(folder).glob("*.txt"))
    if not files:
        remedy = "Name the folder with one .txt file for each image"
        raise InputError(folder, "has no annotations", remedy)
    return files


def _points_of(path: Path, count: int) -> list[list[float]]:
    """Read the first `count` lines, x,y in px; what follows are the challenge's own classes."""
    rows = list(csv_rows(path))[:count]
    if len(rows) < count:
        remedy = "Each landmark has a line x,y"
        raise InputError(path, f"has {len(rows)} lines instead of at least {count}", remedy)
    for line, row in rows:
        if len(row) != 2:
            remedy = "Write x,y with one comma"
            raise InputError(f"{path}, line {line}", f"has {len(row)} columns, not 2", remedy)
    return [[number(cell, f"{path}, line {line}") for cell in row] for line, row in rows]


Layout = Cephalometric2015
