"""COCO keypoints: `keypoints.json` and 16-bit PNG images, from which mmpose, CVAT and Roboflow start.

Positions are COCO's own: pixel (0, 0) is the centre of the first pixel, as in the shards. A landmark on
the image has the flag 2; one outside, or that nobody marked, has 0 and no position. Shards do not tell
what is hidden, so that no landmark has the flag 1. Each image has one box, the whole of it.
"""

from pathlib import Path

import numpy as np

from raymark.exports._pictures import Greys, greys_of, write_picture
from raymark.exports.base import Format, Source, View, rounded, write_json

CATEGORY = 1


def write(source: Source, folder: Path) -> int:
    """Write the images and `keypoints.json`."""
    greys, images, annotations = greys_of(source), [], []
    for number, view in enumerate(source.views(), start=1):
        file = f"images/{view.name}.png"
        write_picture(folder / file, greys.of(view.arrays["image"]))
        images.append(_image(number, file, view))
        annotations.append(_annotation(number, view))
    write_json(
        folder / "keypoints.json",
        {
            "info": _info(source, greys),
            "licenses": [],
            "images": images,
            "annotations": annotations,
            "categories": [
                {
                    "id": CATEGORY,
                    "name": source.dataset,
                    "supercategory": "xray",
                    "keypoints": source.shards.landmarks,
                    "skeleton": [],
                }
            ],
        },
    )
    return len(images)


def _info(source: Source, greys: Greys) -> dict:
    names = source.shards.landmarks
    return {
        "description": f"raymark, data set {source.dataset}, view set {source.view_set}",
        "coordinates": "pixel (0, 0) is the centre of the first pixel",
        "flip_pairs": [list(pair) for pair in source.shards.flip_pairs],
        "flip_indices": [[names.index(name) for name in pair] for pair in source.shards.flip_pairs],
        "greys": greys.told(source),
    }


def _image(number: int, file: str, view: View) -> dict:
    height, width = view.arrays["image"].shape
    return {
        "id": number,
        "file_name": file,
        "width": width,
        "height": height,
        "pixel_mm": view.pixel_mm,
        "subject": view.subject,
        "patient": view.row.patient,
    }


def _annotation(number: int, view: View) -> dict:
    height, width = view.arrays["image"].shape
    visible = view.arrays["visible"] & ~view.missing
    points = np.where(visible[:, None], view.arrays["landmarks"], 0)
    keypoints = [
        value
        for point, seen in zip(points, visible, strict=True)
        for value in (*rounded(point), 2 if seen else 0)
    ]
    return {
        "id": number,
        "image_id": number,
        "category_id": CATEGORY,
        "keypoints": keypoints,
        "num_keypoints": int(visible.sum()),
        "bbox": [0, 0, width, height],
        "area": width * height,
        "iscrowd": 0,
    }


FORMAT = Format(write)
