"""Label Studio's own JSON export of keypoints: percent of the image's size."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import parse_qs

from pydantic import Field

from raymark.annotations._json import carried, of_form, once, read_json
from raymark.annotations.base import Annotation, AnnotationLayout
from raymark.core.errors import InputError

UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # what Label Studio puts before an uploaded file's name


class LabelStudio(AnnotationLayout):
    """Label Studio's JSON export: one file of all tasks."""

    layout: Literal["label-studio"]
    file: str = Field(description="the JSON file (not JSON-MIN)")

    @property
    def files(self) -> list[str]:
        return [self.file]

    def annotated_images(self, names: list[str]) -> Iterator[Annotation]:
        content = read_json(self.file)
        with of_form(self.file, "JSON export of Label Studio"):
            for task in content:
                place = f"{self.file}, task {task.get('id')}"
                done = [a for a in task["annotations"] if not a.get("was_cancelled")]
                if len(done) > 1:
                    problem = f"has {len(done)} annotations"
                    raise InputError(place, problem, "Keep one annotator's for each image")
                marks = [
                    mark
                    for annotation in done
                    for mark in annotation["result"]
                    if mark["type"] == "keypointlabels"
                ]
                if marks:
                    yield _annotation(task, marks, place)


def _annotation(task: dict, marks: list[dict], place: str) -> Annotation:
    points: dict[str, tuple[float, float]] = {}
    size_px = None
    for mark in marks:
        if mark.get("image_rotation"):
            problem = f"shows its image turned by {mark['image_rotation']}°"
            raise InputError(place, problem, "Annotate the image as it lies in its file")
        width, height = size_px = float(mark["original_width"]), float(mark["original_height"])
        (name,) = mark["value"]["keypointlabels"]
        once(points, name, place)
        x, y = (float(mark["value"][axis]) / 100 for axis in "xy")
        points[name] = (x * width - 0.5, y * height - 0.5)
    data = task["data"]
    (address,) = [v for k, v in data.items() if k in ("image", "img", "ocr")] or [
        next(v for v in data.values() if isinstance(v, str))
    ]
    file = _file_name(address)
    return Annotation(file, place, points, size_px=size_px, **carried(data, place))


def _file_name(address: str) -> str:
    """Return the name of an image's file from an address: a path, a URL, or one of a local file (?d=)."""
    path, _, query = address.partition("?")
    path = parse_qs(query).get("d", [path])[0].replace("\\", "/")
    return UPLOADED.sub("", PurePosixPath(path).name)


Layout = LabelStudio
