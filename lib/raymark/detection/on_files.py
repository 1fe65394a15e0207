"""One trained model on X-rays that the workflow never saw: points as CSV and for Slicer, a picture."""

import json
import os
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from raymark.core.errors import InputError
from raymark.core.files import atomic
from raymark.detection.on_views import found
from raymark.detection.overlay import draw_overlay
from raymark.geometry.belief_maps import cell_to_px
from raymark.imports.xray_file import FORMATS, ITK_FILES, NIFTI, PICTURES, Xray, read_xray, stem_of
from raymark.methods.base import LandmarkNetwork
from raymark.training.model_files import Model, load_model

SUFFIXES = (*PICTURES, *NIFTI, *ITK_FILES, ".dcm")
SMALLEST_PX = 16
FIELD_OF_VIEW = 8.0  # how much more, or less, than the training images an image may show
MARKUPS_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/"
    "Resources/Schema/markups-schema-v1.0.3.json#"
)


def predict_images(
    model_path: str | Path,
    image_paths: list[str],
    out_dir: str | Path,
    pixel_mm: float | None = None,
    invert: bool = False,
) -> None:
    """Write each image's landmarks to `out_dir` and say what was found.

    Per image: ``<name>_points.csv`` (columns of `find_landmarks`), ``<name>_points.mrk.json`` for
    Slicer, ``<name>_overlay.png``. A folder among `image_paths` stands for its images. `pixel_mm`
    overrides the pitch in the files; `invert` makes dark bone bright. One of several images that
    cannot be used does not keep the others from being done; InputError at the end counts them.
    """
    if pixel_mm is not None and not pixel_mm > 0:
        raise InputError("--pixel-mm", f"{pixel_mm:g} is no size", "Give it in mm, e.g. 0.143")
    image_paths = _images(image_paths)
    names = _names(image_paths)
    network, model = load_model(model_path)
    refused = 0
    for image_path, name in zip(image_paths, names, strict=True):
        try:
            xray = read_xray(image_path)
            image_yx = xray.image_yx.max() - xray.image_yx if invert else xray.image_yx
            xray = replace(xray, image_yx=image_yx, pixel_mm=pixel_mm or xray.pixel_mm)
            _check_field_of_view(image_path, model, xray)
        except InputError as error:
            if len(image_paths) == 1:
                raise
            print(error, file=sys.stderr)
            refused += 1
            continue
        table = find_landmarks(network, model, xray)
        _write(Path(out_dir) / name, xray, table, model)
        print(_told(image_path, Path(out_dir) / name, table, model, xray))
    if refused:
        raise InputError(
            f"{refused} of {len(image_paths)} images", "could not be used", "See above"
        )


@torch.inference_mode()
def find_landmarks(network: LandmarkNetwork, model: Model, xray: Xray) -> pd.DataFrame:
    """Return the landmarks of one X-ray, brought to the pitch the model was trained at.

    Columns: landmark; instance, which counts those of a landmark type from the surest; x_px, y_px in
    the image's own pixels; x_mm, y_mm from the centre of its first pixel, NaN where the pitch is
    unknown; confidence; detected.
    """
    factor = _scale(model, xray)
    image = torch.from_numpy(np.ascontiguousarray(xray.image_yx, np.float32))[None, None]
    shape_yx = tuple(max(round(size * factor), SMALLEST_PX) for size in image.shape[-2:])
    # Borders onto borders: cells of 1/factor px each, as the cells of belief maps are.
    image = F.interpolate(image, shape_yx, mode="bilinear", antialias=True, align_corners=False)
    points, confidence = (part[0].double().numpy() for part in found(network, model, image))
    number, instance = np.nonzero(np.isfinite(points[..., 0]) | (np.arange(points.shape[1]) == 0))
    points, confidence = points[number, instance], confidence[number, instance]
    height, width = xray.image_yx.shape
    x_px, y_px = (
        cell_to_px(points[:, axis], size / cells)
        for axis, size, cells in ((0, width, shape_yx[1]), (1, height, shape_yx[0]))
    )
    pixel_mm = xray.pixel_mm or np.nan
    return pd.DataFrame(
        {
            "landmark": [model.landmarks[n] for n in number],
            "instance": instance,
            "x_px": x_px,
            "y_px": y_px,
            "x_mm": x_px * pixel_mm,
            "y_mm": y_px * pixel_mm,
            "confidence": confidence,
            "detected": confidence >= model.detection_threshold,
        }
    )


def _scale(model: Model, xray: Xray) -> float:
    """Image px to model px: by the pitch where both are known, else so that the heights agree."""
    if model.pixel_mm and xray.pixel_mm:
        return xray.pixel_mm / model.pixel_mm
    return model.image_height_px / xray.image_yx.shape[0]


def _check_field_of_view(path: str, model: Model, xray: Xray) -> None:
    """Refuse a pixel size that cannot be meant: a wrong unit, or another part of the body."""
    shown = xray.image_yx.shape[0] * _scale(model, xray) / model.image_height_px
    if not 1 / FIELD_OF_VIEW <= shown <= FIELD_OF_VIEW:
        raise InputError(
            path,
            f"would show {float(f'{shown:.2g}'):g} times the height of the training images at "
            f"{xray.pixel_mm:g} mm a pixel",
            "Check the pixel size; --pixel-mm tells it",
        )


def _images(given: list[str]) -> list[str]:
    """List what is to be predicted, each once: a folder stands for the images that lie in it."""
    from pydicom.misc import is_dicom  # DICOM files often have no suffix

    paths: list[str] = []
    for path in map(Path, given):
        found = [path]
        if os.path.isdir(path):  # Path.is_dir raises where the name is too long
            files = sorted(file for file in path.iterdir() if file.is_file())
            found = [f for f in files if f.name.lower().endswith(SUFFIXES) or is_dicom(f)]
            if not found:
                raise InputError(path, "is a folder in which no X-ray lies", f"Use {FORMATS}")
        paths += map(str, found)
    return list(dict.fromkeys(paths))


def _names(image_paths: list[str]) -> list[str]:
    """Name each image's results after it, with folder and format where others are named alike."""
    stems = [stem_of(path) for path in image_paths]
    counts = Counter(stems)
    names = [
        stem if counts[stem] == 1 else "_".join(Path(os.path.abspath(path)).parts[-2:])
        for stem, path in zip(stems, image_paths, strict=True)
    ]
    for name, count in Counter(names).items():
        if count > 1:
            raise InputError(
                f"{count} images named {name!r}",
                "would overwrite each other's results",
                "Predict them one by one, each into its own --out folder",
            )
    return names


def _write(stem: Path, xray: Xray, table: pd.DataFrame, model: Model) -> None:
    with atomic(f"{stem}_points.csv") as partial:
        table.to_csv(partial, index=False, float_format="%.3f", lineterminator="\n")
    with atomic(f"{stem}_points.mrk.json") as partial:
        partial.write_text(json.dumps(markups(table), indent=1), encoding="utf-8")
    draw_overlay(f"{stem}_overlay.png", xray, table, title=f"{stem.name}   {model.method}")


def markups(table: pd.DataFrame) -> dict:
    """Return a Slicer point list of a table of `find_landmarks`.

    The points lie in the image's plane, z = 0, LPS with x right and y down as Slicer places an image
    that has no position of its own. Where the pitch is unknown 1 px is 1 mm, as for Slicer too. What
    was not detected is there unplaced.
    """
    in_mm = table.x_mm.notna().all()
    unit = "mm from the first pixel's centre" if in_mm else "pixel size unknown: 1 px is 1 mm here"
    x, y = (table.x_mm, table.y_mm) if in_mm else (table.x_px, table.y_px)
    points = [
        {
            "id": str(index + 1),
            "label": row.landmark,
            "description": f"confidence {row.confidence:.3f}; {unit}",
            "position": [round(x[index], 4), round(y[index], 4), 0.0],
            "positionStatus": "defined" if row.detected else "undefined",
        }
        for index, row in enumerate(table.itertuples())
    ]
    markup = {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "controlPoints": points,
    }
    return {"@schema": MARKUPS_SCHEMA, "markups": [markup]}


def _told(path: str, stem: Path, table: pd.DataFrame, model: Model, xray: Xray) -> str:
    """Say what was found in an image, on which assumption, and where it is."""
    lines = [f"{path}: {table.detected.sum()} of {len(table)} landmarks found"]
    if model.pixel_mm and not xray.pixel_mm:
        height_mm = model.image_height_px * model.pixel_mm
        lines.append(
            "  pixel size unknown: taken to show as much as a training image does, "
            f"{height_mm:.0f} mm from top to bottom (--pixel-mm tells it)"
        )
    elif not model.pixel_mm:
        lines.append(
            "  taken to show as much as a training image does from top to bottom: "
            "the model's pixel size is unknown"
        )
    return "\n".join([*lines, f"  {stem}_points.csv, _points.mrk.json, _overlay.png"])
