"""A JSON file for each image beside a 16-bit PNG: camera, physics and points, for any program.

Matrices are those of docs/geometry.md, in world RAS and, for ITK's and DICOM's world, in LPS. Imported
images have no known geometry, and nothing of it is written.
"""

from pathlib import Path

import numpy as np

from raymark.exports._pictures import Greys, greys_of, write_picture
from raymark.exports.base import Format, Source, View, rounded, write_json

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
FROM_SHARD = ("physics", "projector", "scenario")
ANGLES = ("primary_deg", "secondary_deg", "roll_deg")
DISTANCES = ("source_to_isocentre_mm", "source_to_detector_mm")


def write(source: Source, folder: Path) -> int:
    """Write `<view>.json` and `images/<view>.png` of every view."""
    greys = greys_of(source)
    for view in source.views():
        write_picture(folder / f"images/{view.name}.png", greys.of(view.arrays["image"]))
        write_json(folder / f"{view.name}.json", _described(source, view, greys))
    return len(source.shards)


def _described(source: Source, view: View, greys: Greys) -> dict:
    height, width = view.arrays["image"].shape
    described = {
        "view": view.name,
        "dataset": source.dataset,
        "view_set": source.view_set,
        "subject": view.subject,
        "patient": view.row.patient,
        "image": f"images/{view.name}.png",
        "width_px": width,
        "height_px": height,
        "pixel_mm": view.pixel_mm,
        "greys": greys.told(source),
        "coordinates": "pixel (0, 0) is the centre of the first pixel, x to the right, y down",
    }
    if source.is_rendered:
        described |= _geometry(view)
        described |= {key: view.attributes[key] for key in FROM_SHARD if key in view.attributes}
    return described | {"landmarks": _landmarks(source, view)}


def _geometry(view: View) -> dict:
    row, world_to_camera = view.row, view.arrays["world_to_camera"]
    return {
        "K": view.arrays["K"].tolist(),
        "world_to_camera_ras_mm": world_to_camera.tolist(),
        "world_to_camera_lps_mm": (world_to_camera @ LPS_TO_RAS).tolist(),
        "mirrored": view.mirrored,
        "c_arm": {key: float(getattr(row, key)) for key in (*ANGLES, *DISTANCES)},
        "isocentre_ras_mm": [float(getattr(row, f"isocentre_{axis}_mm")) for axis in "xyz"],
    }


def _landmarks(source: Source, view: View) -> list[dict]:
    listed = []
    for number, name in enumerate(source.shards.landmarks):
        known = not view.missing[number]
        landmark = {
            "name": name,
            "px": rounded(view.arrays["landmarks"][number]) if known else None,
            "visible": bool(view.arrays["visible"][number] and known),
        }
        if source.is_rendered:
            world = view.arrays["landmarks_world"][number]
            landmark["ras_mm"] = rounded(world)
            landmark["lps_mm"] = rounded(world * (-1, -1, 1))
        listed.append(landmark)
    return listed


FORMAT = Format(write)
