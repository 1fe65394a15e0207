"""COCO's keypoints, as CVAT, Roboflow, mmpose and Label Studio write them."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from raymark.annotations._json import ABSENT, of_form, once, read_json
from raymark.annotations.base import Annotation, AnnotationLayout
from raymark.core.errors import InputError


class Coco(AnnotationLayout):
    """COCO's keypoints: one JSON file of all images."""

    layout: Literal["coco"]
    file: str = Field(description="the JSON file")
    from_corner: bool = Field(
        False,
        description="whether positions count from the image's corner, as programs with a canvas (CVAT) "
        "have it, and not from the centre of the first pixel, as COCO itself does",
    )

    @property
    def files(self) -> list[str]:
        return [self.file]

    def annotated_images(self, names: list[str]) -> Iterator[Annotation]:
        content = read_json(self.file)
        with of_form(self.file, "file of COCO keypoints"):
            images = {image["id"]: image for image in content["images"]}
            keypoints = {c["id"]: c["keypoints"] for c in content["categories"] if "keypoints" in c}
            marked = [a for a in content["annotations"] if any(a.get("keypoints") or [])]
            if not keypoints:
                problem = "has no category with keypoints"
                raise InputError(self.file, problem, "Export it as COCO keypoints")
            found: dict[object, Annotation] = {}
            for annotation in marked:
                image = images[annotation["image_id"]]
                place = f"{self.file}, annotation {annotation.get('id')}"
                if annotation["image_id"] in found:
                    problem = f"is a second one of the image {image['file_name']!r}"
                    raise InputError(place, problem, "Keep one annotation of keypoints an image")
                points = self._points(keypoints[annotation["category_id"]], annotation, place)
                size = (float(image["width"]), float(image["height"]))
                found[annotation["image_id"]] = Annotation(
                    str(image["file_name"]), place, points, size_px=size
                )
        yield from found.values()

    def _points(self, names: list[str], annotation: dict, place: str) -> dict:
        values = [float(value) for value in annotation["keypoints"]]
        if len(values) != 3 * len(names):
            problem = f"has {len(values)} numbers for {len(names)} keypoints instead of three each"
            raise InputError(place, problem, "Export it again")
        shift = 0.5 if self.from_corner else 0.0
        points: dict[str, tuple[float, float]] = {}
        for name, x, y, seen in zip(names, values[::3], values[1::3], values[2::3], strict=True):
            once(points, name, place)
            points[name] = (x - shift, y - shift) if seen > 0 else ABSENT
        return points


Layout = Coco
