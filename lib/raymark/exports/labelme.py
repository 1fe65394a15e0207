"""Found points for labelme to correct: for each image a JSON file beside an 8-bit PNG, all in one folder.

labelme counts from the image's corner, half a pixel from the centre of the first pixel. It keeps what it
does not know of a file (`pixel_mm`, `patient`).
"""

from pathlib import Path

from raymark.core.files import atomic
from raymark.detection.on_files import Found
from raymark.exports._to_correct import ToCorrect, of_image, of_views
from raymark.exports.base import Format, Source, write_json

VERSION = "5.5.0"  # of labelme, whose form of a file this is
NAMES = "labels.txt"


def write(source: Source, folder: Path) -> int:
    """Write `<view>.png`, `<view>.json` of every view, and the landmarks' names."""
    for image in of_views(source):
        _write(image, folder)
    _write_names(source.shards.landmarks, folder)
    return len(source.shards)


class Beside:
    """Writes what was found in a user's own images to the folder `labelme`."""

    def __init__(self, out_dir: Path):
        self.folder = out_dir / "labelme"

    def add(self, found: Found) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        image = of_image(found)
        _write(image, self.folder)
        _write_names(image.landmarks, self.folder)

    def end(self) -> None:
        pass


def _write(image: ToCorrect, folder: Path) -> None:
    with atomic(folder / image.file) as partial:
        image.write_picture(partial)
    with atomic(folder / f"{image.name}.json") as partial:
        write_json(partial, _content(image))


def _write_names(names: list[str], folder: Path) -> None:
    with atomic(folder / NAMES) as partial:
        partial.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def _content(image: ToCorrect) -> dict:
    height, width = image.image_yx.shape
    shapes = [
        {
            "label": point.landmark,
            "points": [[float(point.x_px) + 0.5, float(point.y_px) + 0.5]],
            "group_id": None,
            "description": f"confidence {point.confidence:.3f}",
            "shape_type": "point",
            "flags": {},
            "mask": None,
        }
        for point in image.points.itertuples()
    ]
    return {
        "version": VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": image.file,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
        **image.known,
    }


FORMAT = Format(write, of_predictions=True)
