"""Found points for Label Studio to correct: `tasks.json`, 8-bit PNG images, and the labelling interface.

Positions are per cent of the image's size from its corner. Images are addressed as Label Studio's local
files, below the folder that holds `images`: see docs/annotating.md.
"""

from pathlib import Path
from xml.sax.saxutils import quoteattr

from raymark.core.digests import text_digest
from raymark.core.files import atomic
from raymark.detection.on_files import Found
from raymark.exports._to_correct import ToCorrect, of_image, of_views
from raymark.exports.base import Format, Source, write_json

CONTROL, IMAGE = "landmarks", "image"
DOT = 0.5  # size of a point, per cent of the image's width


def write(source: Source, folder: Path) -> int:
    """Write all views, their tasks and the interface."""
    tasks = []
    for image in of_views(source):
        image.write_picture(folder / "images" / image.file)
        tasks.append(_task(image))
    _write_tasks(tasks, source.shards.landmarks, folder)
    return len(tasks)


class Beside:
    """Writes what was found in a user's own images to the folder `labelstudio`."""

    def __init__(self, out_dir: Path):
        self.folder = out_dir / "labelstudio"
        self.tasks: list[dict] = []
        self.names: list[str] = []

    def add(self, found: Found) -> None:
        image = of_image(found)
        with atomic(self.folder / "images" / image.file) as partial:
            image.write_picture(partial)
        self.tasks.append(_task(image))
        self.names = image.landmarks

    def end(self) -> None:
        if self.tasks:
            _write_tasks(self.tasks, self.names, self.folder)


def _write_tasks(tasks: list[dict], names: list[str], folder: Path) -> None:
    with atomic(folder / "tasks.json") as partial:
        write_json(partial, tasks)
    labels = "".join(f"    <Label value={quoteattr(name)}/>\n" for name in names)
    interface = (
        f'<View>\n  <Image name="{IMAGE}" value="$image" zoom="true" zoomControl="true"/>\n'
        f'  <KeyPointLabels name="{CONTROL}" toName="{IMAGE}">\n{labels}  </KeyPointLabels>\n</View>\n'
    )
    with atomic(folder / "interface.xml") as partial:
        partial.write_text(interface, encoding="utf-8")


def _task(image: ToCorrect) -> dict:
    height, width = image.image_yx.shape
    results = [
        {
            "id": text_digest(image.name, point.landmark)[:10],
            "from_name": CONTROL,
            "to_name": IMAGE,
            "type": "keypointlabels",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {
                "x": (float(point.x_px) + 0.5) / width * 100,
                "y": (float(point.y_px) + 0.5) / height * 100,
                "width": DOT,
                "keypointlabels": [point.landmark],
            },
            "score": float(point.confidence),
        }
        for point in image.points.itertuples()
    ]
    data = {"image": f"/data/local-files/?d=images/{image.file}", **image.known}
    return {"data": data, "predictions": [{"model_version": image.model, "result": results}]}


FORMAT = Format(write, of_predictions=True)
