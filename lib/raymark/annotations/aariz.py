"""Aariz (CEPHA29): lateral cephalograms of several machines, marked by two groups of readers."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import Field

from raymark.annotations._json import json_files, of_form, once, read_json
from raymark.annotations.base import Annotation, AnnotationLayout, csv_table, number
from raymark.core.errors import InputError


class Aariz(AnnotationLayout):
    """Aariz: a folder of JSON files for each group of readers, who are averaged."""

    layout: Literal["aariz"]
    readers: list[str] = Field(
        min_length=1, description="folders such as Senior Orthodontists and Junior Orthodontists"
    )
    machines: str | None = Field(
        None,
        description="cephalogram_machine_mappings.csv: the pixel size of each image (columns "
        "cephalogram_id and pixel_size); null where the files tell none",
    )

    @property
    def files(self) -> list[str]:
        return [*([self.machines] if self.machines else []), *self.readers]

    def annotated_images(self, names: list[str]) -> Iterator[Annotation]:
        pitches = _pitches(self.machines) if self.machines else {}
        by_reader = [{path.stem: path for path in json_files(folder)} for folder in self.readers]
        for folder, found in zip(self.readers, by_reader, strict=True):
            if differing := sorted(by_reader[0].keys() ^ found.keys()):
                problem = (
                    f"and {self.readers[0]} do not annotate the same images, first {differing[0]!r}"
                )
                raise InputError(folder, problem, "Every reader has one file for each image")
        for image, path in by_reader[0].items():
            read = [_points_of(str(found[image])) for found in by_reader]
            points = {
                name: _mean([points[name] for points in read if name in points])
                for name in dict.fromkeys(name for points in read for name in points)
            }
            if self.machines and image not in pitches:
                raise InputError(self.machines, f"has no row of {image!r}", "Add it")
            yield Annotation(image, str(path), points, pixel_mm=pitches.get(image))


def _mean(points: list[tuple[float, float]]) -> tuple[float, float]:
    x, y = np.mean(points, axis=0)
    return float(x), float(y)


def _points_of(path: str) -> dict[str, tuple[float, float]]:
    content = read_json(path)
    points: dict[str, tuple[float, float]] = {}
    with of_form(path, "file of Aariz"):
        for landmark in content["landmarks"]:
            once(points, landmark["symbol"], path)
            value = landmark["value"]
            points[landmark["symbol"]] = float(value["x"]), float(value["y"])
    return points


def _pitches(file: str) -> dict[str, float]:
    header, rows = csv_table(file, "Give every column a cell")
    for column in ("cephalogram_id", "pixel_size"):
        if column not in header:
            raise InputError(
                f"{file}, line 1", f"has no column {column!r}", "Give the data's own file"
            )
    return {
        cells["cephalogram_id"]: number(cells["pixel_size"], f"{place}, column pixel_size")
        for place, cells in rows
    }


Layout = Aariz
