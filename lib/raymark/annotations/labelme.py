"""The files of the annotation tool LabelMe: one beside each image, positions from the image's corner."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Literal

from pydantic import Field

from raymark.annotations._json import carried, json_files, of_form, once, read_json
from raymark.annotations.base import Annotation, AnnotationLayout


class Labelme(AnnotationLayout):
    """LabelMe's files: one for each image, a point for each landmark."""

    layout: Literal["labelme"]
    folder: str = Field(description="the folder of the JSON files")

    @property
    def files(self) -> list[str]:
        return [self.folder]

    def annotated_images(self, names: list[str]) -> Iterator[Annotation]:
        for path in json_files(self.folder):
            content = read_json(path)
            with of_form(path, "file of LabelMe"):
                points: dict[str, tuple[float, float]] = {}
                for shape in content["shapes"]:
                    if shape.get("shape_type", "point") == "point":
                        once(points, shape["label"], path)
                        ((x, y),) = shape["points"]
                        points[shape["label"]] = (float(x) - 0.5, float(y) - 0.5)
                width, height = content.get("imageWidth"), content.get("imageHeight")
                size = (float(width), float(height)) if width and height else None
                image = PurePosixPath(content["imagePath"].replace("\\", "/")).name
                known = carried(content, path)
                yield Annotation(image, str(path), points, size_px=size, **known)


Layout = Labelme
