"""Lateral cephalograms of the challenge CL-Detection 2023: all images in one stack, all points in one file."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from raymark.annotations._json import of_form, once, read_json
from raymark.annotations.base import Annotation, AnnotationLayout

COUNT = 38


class ClDetection2023(AnnotationLayout):
    """CL-Detection 2023: `train_stack.mha` below the folder of images, and the points of all."""

    layout: Literal["cl-detection-2023"]
    file: str = Field(description="train-gt.json")
    stack: str = Field("train_stack.mha", description="the stack's name below the folder of images")

    own_names = tuple(f"p{number}" for number in range(1, COUNT + 1))

    @property
    def files(self) -> list[str]:
        return [self.file]

    def annotated_images(self, names: list[str]) -> Iterator[Annotation]:
        content = read_json(self.file)
        found: dict[int, Annotation] = {}
        with of_form(self.file, "file of points of CL-Detection 2023"):
            for point in content["points"]:
                x, y, frame = point["point"]
                place = f"{self.file}, image {int(frame)}"
                made = Annotation(
                    self.stack,
                    place,
                    {},
                    patient=f"{int(frame):03d}",
                    pixel_mm=float(point["scale"]),
                    frame=int(frame),
                )
                points = found.setdefault(int(frame), made).points
                name = names[int(point["name"]) - 1]
                once(points, name, place)
                points[name] = (float(x), float(y))
        yield from (found[frame] for frame in sorted(found))


Layout = ClDetection2023
