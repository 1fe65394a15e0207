"""One trained model on X-rays that the workflow never saw: points as CSV and for Slicer, a picture."""

import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from raymark.annotations.base import csv_table, number
from raymark.core.doubts import warn
from raymark.core.errors import InputError
from raymark.core.files import atomic
from raymark.detection.on_views import found
from raymark.detection.overlay import draw_overlay
from raymark.geometry.belief_maps import cell_to_px
from raymark.imports.image_points import in_file_px, markups
from raymark.imports.stored_image import Xray
from raymark.imports.xray_file import FORMATS, ITK_FILES, NIFTI, PICTURES, read_xray, stem_of
from raymark.methods.base import LandmarkNetwork
from raymark.training.model_files import Model, load_model

SUFFIXES = (*PICTURES, *NIFTI, *ITK_FILES, ".dcm")
SMALLEST_PX = 16
FIELD_OF_VIEW = 8.0  # how much more, or less, than the training images an image may show


@dataclass(frozen=True)
class Asked:
    """An image to predict, with what its user says of it."""

    path: str
    pixel_mm: float | None
    frame: int | None


@dataclass(frozen=True)
class Found:
    """What a model found in one image: `table` of `find_landmarks`, in the pixels of `xray`.

    `stem` begins the names of its results, `frame` counts from 1 in a series.
    """

    path: str
    frame: int | None
    stem: Path
    xray: Xray
    table: pd.DataFrame
    model: Model


class Beside(Protocol):
    """Writes what was found in another form, beside the usual one (`raymark.exports`)."""

    def __init__(self, out_dir: Path): ...

    def add(self, found: Found) -> None:
        """Take one image; InputError where this form cannot hold it."""

    def end(self) -> None:
        """Write what is one file for all images, once all are done."""


def predict_images(
    model_path: str | Path,
    image_paths: list[str],
    out_dir: str | Path,
    pixel_mm: float | None = None,
    invert: bool = False,
    frame: int | None = None,
    besides: Sequence[type[Beside]] = (),
) -> None:
    """Write each image's landmarks to `out_dir` and say what was found.

    Per image: ``<name>_points.csv`` (columns of `find_landmarks`, in the file's own pixels, and the
    doubts), ``<name>_points.mrk.json`` for Slicer, ``<name>_overlay.png``. A folder among `image_paths`
    stands for its images, a CSV table for those it lists. `pixel_mm` overrides the pitch in the files;
    `invert` makes dark bone bright; `frame`, from 1, is that of a series; `besides` write to `out_dir`
    too. One of several images that
    cannot be used does not keep the others from being done; InputError at the end counts them.
    """
    if pixel_mm is not None and not pixel_mm > 0:
        raise InputError("--pixel-mm", f"{pixel_mm:g} is no size", "Give it in mm, e.g. 0.143")
    images = _images(image_paths, pixel_mm, frame)
    names = _names(images)
    network, model = load_model(model_path)
    writers = [beside(Path(out_dir)) for beside in besides]
    refused = 0
    for image, name in zip(images, names, strict=True):
        try:
            xray = _read(image, invert)
            _check_field_of_view(image.path, model, xray)
            table, unlike = find_landmarks(network, model, xray)
            xray = replace(xray, doubts=(*xray.doubts, *unlike))
            warn(image.path, xray.doubts)
            result = Found(image.path, image.frame, Path(out_dir) / name, xray, table, model)
            for writer in writers:
                writer.add(result)
        except InputError as error:
            if len(images) == 1:
                raise
            print(error, file=sys.stderr)
            refused += 1
            continue
        _write(result)
        print(_told(result))
    for writer in writers:
        writer.end()
    if refused:
        raise InputError(f"{refused} of {len(images)} images", "could not be used", "See above")


def _read(image: Asked, invert: bool) -> Xray:
    xray = read_xray(image.path, image.frame)
    image_yx = xray.image_yx
    if invert:
        image_yx = image_yx.max() + image_yx.min() - image_yx
        if xray.valid_yx is not None:
            image_yx = np.where(xray.valid_yx, image_yx, image_yx[xray.valid_yx].min())
    return replace(xray, image_yx=image_yx, pixel_mm=image.pixel_mm or xray.pixel_mm)


@torch.inference_mode()
def find_landmarks(
    network: LandmarkNetwork, model: Model, xray: Xray
) -> tuple[pd.DataFrame, list[str]]:
    """Return the landmarks of one X-ray, brought to the pitch the model was trained at, and doubts.

    Columns: landmark; instance, which counts those of a landmark type from the surest; x_px, y_px in
    the pixels of `xray`; x_mm, y_mm from the centre of its first pixel, NaN where the pitch is
    unknown; confidence; detected; expected_error_px and most_error_px, the error to expect of a
    visible landmark and the one that 19 of 20 stay below, in the same pixels, NaN where the model does not
    know (`raymark.training.calibration`). A doubt says that the image is unlike those of the training.
    """
    factor = _scale(model, xray)
    image = torch.from_numpy(np.ascontiguousarray(xray.image_yx, np.float32))[None, None]
    shape_yx = tuple(max(round(size * factor), SMALLEST_PX) for size in image.shape[-2:])
    # Borders onto borders: cells of 1/factor px each, as the cells of belief maps are.
    image = F.interpolate(image, shape_yx, mode="bilinear", antialias=True, align_corners=False)
    points, confidence = (part[0].double().numpy() for part in found(network, model, image))
    expected_px, most_px, unlike = _calibrated(model, points[:, 0], confidence[:, 0])
    number, instance = np.nonzero(np.isfinite(points[..., 0]) | (np.arange(points.shape[1]) == 0))
    points, confidence = points[number, instance], confidence[number, instance]
    height, width = xray.image_yx.shape
    x_px, y_px = (
        cell_to_px(points[:, axis], size / cells)
        for axis, size, cells in ((0, width, shape_yx[1]), (1, height, shape_yx[0]))
    )
    pixel_mm, file_px = xray.pixel_mm or np.nan, height / shape_yx[0]
    table = pd.DataFrame(
        {
            "landmark": [model.landmarks[n] for n in number],
            "instance": instance,
            "x_px": x_px,
            "y_px": y_px,
            "x_mm": x_px * pixel_mm,
            "y_mm": y_px * pixel_mm,
            "confidence": confidence,
            "detected": confidence >= model.detection_threshold,
            "expected_error_px": expected_px[number] * file_px,
            "most_error_px": most_px[number] * file_px,
        }
    )
    return table, unlike


def _calibrated(
    model: Model, points: np.ndarray, confidence: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return what the model knows of its errors (l,) at points (l, 2), px of its own, and of the image."""
    if model.calibration is None:
        unknown = np.full(len(confidence), np.nan)
        return unknown, unknown, []
    expected_px, most_px = model.calibration.errors_px(confidence, np.arange(len(confidence)))
    return expected_px, most_px, model.calibration.unlike(points, confidence)


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


def _images(given: list[str], pixel_mm: float | None, frame: int | None) -> list[Asked]:
    """List what is to be predicted, each once; folders and tables stand for their images."""
    from pydicom.misc import is_dicom  # DICOM files often have no suffix

    asked: list[Asked] = []
    for path in map(Path, given):
        if path.name.lower().endswith(".csv") and os.path.isfile(path):
            asked += _listed(path, pixel_mm, frame)
            continue
        found = [path]
        if os.path.isdir(path):  # Path.is_dir raises where the name is too long
            files = sorted(file for file in path.iterdir() if file.is_file())
            found = [f for f in files if f.name.lower().endswith(SUFFIXES) or is_dicom(f)]
            if not found:
                raise InputError(path, "is a folder in which no X-ray lies", f"Use {FORMATS}")
        asked += [Asked(str(file), pixel_mm, frame) for file in found]
    return list(dict.fromkeys(asked))


def _listed(table: Path, pixel_mm: float | None, frame: int | None) -> list[Asked]:
    """Read a table of images: the columns image and, where known, pixel_mm and frame."""
    asked = []
    header, rows = csv_table(table, "Give every column a value, or leave the cell empty")
    remedy = "The columns are image and, where known, pixel_mm and frame"
    if unknown := [column for column in header if column not in ("image", "pixel_mm", "frame")]:
        raise InputError(f"{table}, line 1", f"has an unknown column {unknown[0]!r}", remedy)
    if "image" not in header:
        raise InputError(f"{table}, line 1", "has no column 'image'", remedy)
    for place, cells in rows:
        own_mm, own_frame = cells.get("pixel_mm"), cells.get("frame")
        size_mm = number(own_mm, f"{place}, column pixel_mm") if own_mm else pixel_mm
        if size_mm is not None and not size_mm > 0:
            problem = f"{size_mm:g} is no size"
            raise InputError(f"{place}, column pixel_mm", problem, "Give it in mm, e.g. 0.143")
        if own_frame and not own_frame.isdecimal():
            problem = f"{own_frame!r} is no number of a frame"
            raise InputError(f"{place}, column frame", problem, "Frames count from 1")
        path = str(table.parent / cells["image"])
        asked.append(Asked(path, size_mm, int(own_frame) if own_frame else frame))
    if not asked:
        raise InputError(table, "lists no image", "Give each a line")
    return asked


def _names(images: list[Asked]) -> list[str]:
    """Name each image's results after it, with folder, format and frame where others are named alike."""
    stems = [stem_of(image.path) for image in images]
    counts = Counter(stems)
    frames = Counter(image.path for image in images)
    names = []
    for stem, image in zip(stems, images, strict=True):
        name = "_".join(Path(os.path.abspath(image.path)).parts[-2:]) if counts[stem] > 1 else stem
        names.append(f"{name}_frame{image.frame}" if frames[image.path] > 1 else name)
    for name, count in Counter(names).items():
        if count > 1:
            raise InputError(
                f"{count} images named {name!r}",
                "would overwrite each other's results",
                "Predict them one by one, each into its own --out folder",
            )
    return names


def _write(found: Found) -> None:
    stem, xray, table = found.stem, found.xray, found.table
    in_file = in_file_px(table, xray)
    with atomic(f"{stem}_points.csv") as partial:
        in_file.assign(doubts="; ".join(xray.doubts)).to_csv(
            partial, index=False, float_format="%.3f", lineterminator="\n"
        )
    with atomic(f"{stem}_points.mrk.json") as partial:
        partial.write_text(json.dumps(markups(in_file, xray.placement), indent=1), encoding="utf-8")
    draw_overlay(f"{stem}_overlay.png", xray, table, title=f"{stem.name}   {found.model.method}")


def _off(found: Found) -> str:
    """Say how far off the landmarks found in an image can be expected to be."""
    expected_px = found.table.loc[found.table["detected"], "expected_error_px"].mean()
    if np.isnan(expected_px):
        return ""
    mm = f", {expected_px * found.xray.pixel_mm:.2g} mm" if found.xray.pixel_mm else ""
    return f", expected to be {expected_px:.2g} px{mm} off"


def _told(found: Found) -> str:
    """Say what was found in an image, on which assumption, and where it is."""
    table, model, xray = found.table, found.model, found.xray
    lines = [f"{found.path}: {table.detected.sum()} of {len(table)} landmarks found{_off(found)}"]
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
    return "\n".join([*lines, f"  {found.stem}_points.csv, _points.mrk.json, _overlay.png"])
