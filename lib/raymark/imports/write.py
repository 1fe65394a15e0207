"""Annotated 2D images become shards of the same layout as rendered ones, and a table of views.

Every image is scaled to the set height with its shape kept, then cropped or padded (with its
darkest grey) about its middle to the set width; or it is registered to a template. Grey values are
taken as they are and scaled to 0–1. What trains, predicts and evaluates on rendered views does so on
these.

An image has no known geometry; a stand-in takes its place: parallel rays, a source 1 km away,
straight through the middle of the image. The views may differ in scale, so `pixel_mm` of the shards
is the median pitch, and each view's source-to-isocentre distance says how its own differs. An
error's `error_isocentre_mm` is in the image's own millimetres, by the map in the list of images.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from raymark import layout
from raymark.annotations.base import Annotation
from raymark.config.imports import Import2d, KnownDistance
from raymark.core.digests import text_digest
from raymark.core.doubts import warn
from raymark.core.errors import InputError
from raymark.core.files import atomic, sha256_of
from raymark.core.names import flip_pairs
from raymark.datasets.imported import MATRIX
from raymark.datasets.shards import write_shard
from raymark.geometry.affine2d import resampled
from raymark.geometry.belief_maps import belief_maps
from raymark.geometry.camera import Detector, inside
from raymark.imports.alignment import to_template
from raymark.imports.image_folder import ImageFolder
from raymark.imports.planned_image import Planned, scaled_and_cropped
from raymark.imports.point_checks import doubted
from raymark.imports.splits import patient_of, split_named, split_of
from raymark.imports.stored_image import Xray
from raymark.imports.xray_file import read_xray
from raymark.landmarks.types import chain_of
from raymark.views.plan import SCHEMA, camera_of, write_views

SOURCE_TO_DETECTOR_MM = 1.0e6
# Annotators mark what lies just outside; what lies further outside is of another image or unit.
OUTSIDE_SHARE = 0.05
MISSING = (np.nan, np.nan)
MARKERS = (0.0, -1.0)  # both coordinates of a point that an annotator marked as missing


def import_2d(settings: Import2d, source: str | Path) -> pd.DataFrame:
    """Write all shards, the table of views and the list of images; return that list.

    Paths are those of `raymark.layout`; `source` names the settings in messages. All input is
    checked before anything is written; InputError names file, field and remedy.
    """
    names, planned = plan(settings, source)
    pairs = settings.flip_pairs if settings.flip_pairs is not None else flip_pairs(names)
    chain = chain_of(names, settings.known_types)
    about_all, planned = doubted(planned, names, pairs, chain, settings.primary_deg)
    warn(source, about_all)
    for image in planned:
        warn(image.path, image.doubts)
    if settings.registration is not None:
        shape_yx = settings.height_px, settings.width_px
        planned = to_template(settings.registration, shape_yx, planned, source)
    views = views_of(settings, planned)
    pixel_mm = nominal_pixel_mm(planned)
    attributes = {
        "dataset": settings.name,
        "landmarks": names,
        "flip_pairs": [list(pair) for pair in pairs],
        "pixel_mm": pixel_mm,
        "stride": settings.beliefs.stride,
        "sigma_px": settings.beliefs.sigma_px,
    }
    detector = Detector(settings.height_px, settings.width_px, pixel_mm)
    for (view_set, shard), rows in views.groupby(["view_set", "shard"], sort=True):
        images = [planned[index] for index in rows.index]
        digest = _digest(settings, images)
        write_shard(
            layout.IMPORTED_SHARD.format(
                dataset=settings.name, view_set=view_set, shard=layout.shard_name(shard)
            ),
            (
                _view(settings, image, row, detector)
                for image, row in zip(images, rows.itertuples(), strict=True)
            ),
            len(rows),
            attributes
            | {
                "view": rows["view"].tolist(),
                "subject": rows["subject"].tolist(),
                "file": [image.path.name for image in images],
                "digest": digest,
            },
        )
    table = _image_list(settings, planned, views, about_all)
    with atomic(layout.IMPORTED_IMAGES.format(dataset=settings.name)) as partial:
        table.to_csv(partial, index=False, lineterminator="\n")
    write_views(layout.VIEWS.format(dataset=settings.name), views)
    return table


def plan(settings: Import2d, source: str | Path) -> tuple[list[str], list[Planned]]:
    """Read and check every annotation and image; return the landmarks' names and the images."""
    names, annotations = _named_ours(settings, *settings.annotations.read(_names_there(settings)))
    _check_names(settings, names, source)
    folder = ImageFolder(settings.images)
    paths = [folder.find(a.image, a.place) for a in annotations]
    patients = [patient_of(settings, a, path) for a, path in zip(annotations, paths, strict=True)]
    splits = split_of(settings, annotations, patients)
    planned = []
    for annotation, path, patient, view_set in zip(
        annotations, paths, patients, splits, strict=True
    ):
        if view_set is None:
            continue
        xray = read_xray(path, annotation.frame)
        points_px, doubts = _checked_points(annotation, xray, names, path)
        pixel_mm, more = _pixel_mm(settings, annotation, xray, points_px, names, path, source)
        shape_yx = xray.image_yx.shape
        to_shard = scaled_and_cropped(shape_yx, settings.height_px, settings.width_px)
        image = Planned(
            annotation, path, view_set, patient, shape_yx, points_px, pixel_mm, to_shard
        )
        planned.append(replace(image, doubts=(*xray.doubts, *doubts, *more)))
    if not planned:
        raise InputError(f"{source}, split", "leaves every image out", "Give some a view_set")
    return names, planned


def _names_there(settings: Import2d) -> list[str] | None:
    """Return the landmarks' names as the annotations have them, where the settings tell."""
    if settings.landmarks is None:
        return None
    theirs = {ours: given for given, ours in settings.names.items()}
    return [theirs.get(name, name) for name in settings.landmarks]


def _named_ours(
    settings: Import2d, names: list[str], annotations: list[Annotation]
) -> tuple[list[str], list[Annotation]]:
    ours = settings.names
    renamed = [
        replace(a, points={ours.get(n, n): point for n, point in a.points.items()})
        for a in annotations
    ]
    return [ours.get(name, name) for name in names], renamed


def _check_names(settings: Import2d, names: list[str], source: str | Path) -> None:
    """Refuse names in the settings that are no landmark of the data."""
    used = {"flip_pairs": [name for pair in settings.flip_pairs or [] for name in pair]}
    if isinstance(settings.scale, KnownDistance):
        used["scale.between"] = [name for group in settings.scale.between for name in group]
    typed = [name for members in (settings.types or {}).values() for name in members]
    used["types"] = typed
    for key, mentioned in used.items():
        if unknown := [name for name in mentioned if name not in names]:
            problem = f"{unknown[0]!r} is not a landmark"
            raise InputError(f"{source}, {key}", problem, f"Known: {', '.join(names)}")
    if twice := [name for name in typed if typed.count(name) > 1]:
        problem = f"{twice[0]!r} is in two types, or twice in one"
        raise InputError(f"{source}, types", problem, "List each landmark once")


def _checked_points(
    annotation: Annotation, xray: Xray, names: list[str], path: Path
) -> tuple[np.ndarray, list[str]]:
    """Return the points (landmark, xy) in px of the image, NaN where one is missing, and doubts.

    InputError where the annotation is of an image of another size, or a point is far outside.
    """
    size_px = xray.placement.file_size_px(xray.image_yx.shape)
    if annotation.size_px is not None and not np.allclose(annotation.size_px, size_px, atol=1):
        sizes = " and ".join(f"{w:g} × {h:g}" for w, h in (annotation.size_px, size_px))
        problem = f"is of an image of another size than {path} (width × height: {sizes} px)"
        raise InputError(annotation.place, problem, "Give the image that was annotated, as it was")
    points = np.array([annotation.points.get(name, MISSING) for name in names], dtype=float)
    marked = np.any([(points == marker).all(axis=1) for marker in MARKERS], axis=0)
    points[marked] = np.nan
    points_px = points * size_px - 0.5 if annotation.relative else points
    slack_px = OUTSIDE_SHARE * size_px
    outside = ((points_px < -slack_px) | (points_px > size_px - 1 + slack_px)).any(axis=1)
    if outside.any():
        first = int(outside.argmax())
        x, y = points_px[first]
        raise InputError(
            annotation.place,
            f"the landmark {names[first]!r} at ({x:.1f}, {y:.1f}) px lies outside {path}, which has "
            f"{size_px[0]:.0f} × {size_px[1]:.0f} px",
            "Check that the line belongs to this image and is in its pixels",
        )
    if not np.isfinite(points_px).any():
        problem = f"the image {annotation.image!r} has no landmark at all"
        raise InputError(annotation.place, problem, "Annotate it, or leave it out")
    listed = ", ".join(name for name, is_marked in zip(names, marked, strict=True) if is_marked)
    doubts = [f"{listed} at 0, 0 or -1, -1: taken as missing"] if listed else []
    return xray.placement.to_file.inverse()(points_px), doubts


def _pixel_mm(
    settings: Import2d,
    annotation: Annotation,
    xray: Xray,
    points_px: np.ndarray,
    names: list[str],
    path: Path,
    source: str | Path,
) -> tuple[float, list[str]]:
    """Return the pitch of an image's own pixels in mm, and what contradicts it."""
    scale = settings.scale
    if isinstance(scale, KnownDistance):
        ends = [points_px[[names.index(name) for name in group]] for group in scale.between]
        length_px = float(np.linalg.norm(ends[0].mean(axis=0) - ends[1].mean(axis=0)))
        if not length_px > 0:
            problem = "a landmark of the two groups is missing, or they have the same middle"
            raise InputError(f"{source}, scale.between, in {path}", problem, "Correct the points")
        return scale.mm / length_px, []
    given = {
        "the annotations' pixel_mm": annotation.pixel_mm,
        "scale.pixel_mm": scale.pixel_mm,
        "the file": xray.pixel_mm,
    }
    known = {name: mm for name, mm in given.items() if mm is not None}
    if not known:
        remedy = "Give scale.pixel_mm, or a known distance between landmarks"
        raise InputError(f"{source}, scale.pixel_mm", f"{path} does not tell its pitch", remedy)
    (first, pixel_mm), *others = known.items()
    doubts = [
        f"has two pixel sizes: {pixel_mm:g} mm by {first} counts, not {mm:g} mm by {name}"
        for name, mm in others
        if not np.isclose(mm, pixel_mm, rtol=0.01)
    ]
    return pixel_mm, doubts


def odd_scales(images: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a list of images whose pitch is not within a factor of 2 of the median.

    Where a known distance gives the millimetres, these are mostly images whose points are wrong.
    """
    ratio = images["pixel_mm"] / images["pixel_mm"].median()
    return images[(ratio < 0.5) | (ratio > 2)]


def nominal_pixel_mm(planned: list[Planned]) -> float:
    """Return the shards' one pixel pitch: the median of all images', after scaling."""
    return float(np.median([image.pixel_mm for image in planned]))


def views_of(settings: Import2d, planned: list[Planned]) -> pd.DataFrame:
    """Return the table of views (`raymark.views.plan.SCHEMA`), one row per image in their order."""
    pixel_mm = nominal_pixel_mm(planned)
    table = pd.DataFrame(
        {
            "dataset": settings.name,
            "view_set": [image.view_set for image in planned],
            "view": [f"{image.view_set}-{n:06d}" for n, image in enumerate(planned)],
            "subject": [image.patient for image in planned],
            "patient": [image.patient for image in planned],
            "split": [split_named(image.view_set) for image in planned],
            "primary_deg": settings.primary_deg,
            "secondary_deg": settings.secondary_deg,
            "source_to_isocentre_mm": [
                SOURCE_TO_DETECTOR_MM * (image.pixel_mm / pixel_mm) for image in planned
            ],
            "source_to_detector_mm": SOURCE_TO_DETECTOR_MM,
            "flip": False,
            "seed": 0,
        }
    )
    zeros = dict.fromkeys(("roll_deg", "isocentre_x_mm", "isocentre_y_mm", "isocentre_z_mm"), 0.0)
    shard = table.groupby("view_set").cumcount() // settings.images_per_shard
    return table.assign(shard=shard, **zeros)[SCHEMA.names]


def _view(
    settings: Import2d, image: Planned, row: Any, detector: Detector
) -> dict[str, np.ndarray]:
    """Return the arrays of one view, as `raymark.datasets.shards` stores them."""
    shape_yx = settings.height_px, settings.width_px
    points_px = image.to_shard(image.points_px).astype(np.float32)
    # What lies outside its own image stays invisible where padding surrounds it.
    visible = inside(points_px, shape_yx) & inside(image.points_px, image.shape_yx)
    camera = camera_of(row, detector)
    beliefs = settings.beliefs
    return {
        "image": resampled(
            read_xray(image.path, image.annotation.frame).image_yx, image.to_shard, shape_yx
        ),
        "landmarks": points_px,
        "visible": visible,
        "beliefs": belief_maps(points_px, visible, shape_yx, beliefs.stride, beliefs.sigma_px),
        "landmarks_world": np.full((len(points_px), 3), np.nan),
        "K": camera.K,
        "world_to_camera": camera.world_to_camera,
    }


def _digest(settings: Import2d, images: list[Planned]) -> str:
    """Identify what made a shard, wherever the files lay."""
    made = settings.model_dump_json(exclude={"images", "annotations", "split", "title"})
    files = [f"{image.path.name} {sha256_of(image.path)}" for image in images]
    points = [image.points_px.tobytes().hex() for image in images]
    maps = [image.to_shard.matrix_xy.tobytes().hex() for image in images]
    shifts = [image.to_shard.shift_px.tobytes().hex() for image in images]
    return text_digest(made, *files, *points, *maps, *shifts)


def _image_list(
    settings: Import2d, planned: list[Planned], views: pd.DataFrame, about_all: list[str]
) -> pd.DataFrame:
    """List the images and their maps into the shard (`raymark.datasets.imported.affine_of` reads them)."""
    maps = [image.to_shard for image in planned]
    shift_x_px, shift_y_px = np.transpose([affine.shift_px for affine in maps])
    entries = np.transpose([affine.matrix_xy.ravel() for affine in maps])
    return views[["view", "view_set", "patient"]].assign(
        file=[str(image.path.relative_to(settings.images)) for image in planned],
        pixel_mm=[image.pixel_mm for image in planned],
        alignment=[image.alignment for image in planned],
        scale=[affine.scale for affine in maps],
        **dict(zip(MATRIX, entries, strict=True)),
        shift_x_px=shift_x_px,
        shift_y_px=shift_y_px,
        missing=[int(np.isnan(image.points_px[:, 0]).sum()) for image in planned],
        doubts=["; ".join((*about_all, *image.doubts)) for image in planned],
    )
