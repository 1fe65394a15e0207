"""Where a registration starts: landmarks, a C-arm's tags, a file of poses, or nothing."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from raymark.core.errors import InputError
from raymark.core.seeds import generator
from raymark.ct import Volume
from raymark.geometry.camera import carm_rotation, project
from raymark.imports.c_arm import CArm
from raymark.landmarks.point_files import XYZ, read_points
from raymark.pose.solve import LEAST_LANDMARKS, robust

FITS_PX = 40.0  # median reprojection error of landmarks that belong together
AROUND_MM = 100.0  # what a landmark may lie outside of its CT, which may be cut
PIXEL_COLUMNS = ["x_px", "y_px"]
Points = Mapping[str, np.ndarray]


def world_points(path: str | Path, volume: Volume) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return named points (3,) in RAS mm of a file, and the doubts; InputError where they miss the CT."""
    table, doubts = read_points(path, "", ct=lambda: volume)
    points = {name: table.loc[i, XYZ].to_numpy(float) for i, name in enumerate(table["landmark"])}
    if not points:
        raise InputError(path, "holds no point with a position", "Place the landmarks and save")
    placed = np.stack(list(points.values()))
    if not _near(placed, volume):
        if _near(placed * [-1, -1, 1], volume):
            raise other_frame(path)
        problem = f"has no landmark within {AROUND_MM:g} mm of the CT"
        raise InputError(path, problem, "Give the points of this CT, in its own frame")
    return points, doubts


def other_frame(path: str | Path) -> InputError:
    remedy = "Turn the signs of x and y, or save it as Slicer's .mrk.json, which names its frame"
    return InputError(path, "fits the CT only with x and y turned: LPS for RAS", remedy)


def _near(points_mm: np.ndarray, volume: Volume) -> bool:
    """Tell whether half of the points are in the CT or close to it."""
    to_voxel = np.linalg.inv(volume.affine)
    index = points_mm @ to_voxel[:3, :3].T + to_voxel[:3, 3]
    size, spacing_mm = np.array(volume.hu_xyz.shape), volume.spacing_mm
    off_mm = np.maximum(np.maximum(-index, index - size), 0) * spacing_mm
    return bool((np.linalg.norm(off_mm, axis=1) < AROUND_MM).mean() >= 0.5)


def image_points(path: str | Path) -> dict[str, np.ndarray]:
    """Return named points (2,) in px of the image's file: a table landmark, x_px, y_px."""
    try:
        table = pd.read_csv(path, dtype={"landmark": str})
    except (OSError, ValueError) as error:
        raise InputError(path, f"cannot be read as a table ({error})", "Give CSV") from None
    missing = [column for column in ("landmark", *PIXEL_COLUMNS) if column not in table]
    if missing:
        remedy = "Its header is landmark,x_px,y_px: pixels of the X-ray file, first centre 0,0"
        raise InputError(path, f"has no column {missing[0]!r}", remedy)
    if "detected" in table:
        table = table[table["detected"].astype(str).str.lower() == "true"]
    if "instance" in table:
        table = table[table["instance"] == 0]
    px = table[PIXEL_COLUMNS].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    known = np.isfinite(px).all(axis=1)
    return dict(zip(table["landmark"][known], px[known], strict=True))


def from_landmarks(
    source: str | Path, K: np.ndarray, world_mm: Points, image_px: Points
) -> tuple[np.ndarray, str]:
    """Return the robust pose from the names that both have, and what tells of it.

    InputError for fewer than six, and where the points do not belong together.
    """
    shared = [name for name in world_mm if name in image_px]
    if len(shared) < LEAST_LANDMARKS:
        share = f"{len(shared)} names" if shared else "no name"
        problem = f"shares {share} with the 3D landmarks, {LEAST_LANDMARKS} are needed"
        of_each = (", ".join(sorted(points)[:4]) for points in (image_px, world_mm))
        there, here = of_each
        remedy = (
            f"Name them alike; in the image there are {there or 'none'}, in 3D {here or 'none'}"
        )
        raise InputError(source, problem, remedy)
    world, px = (np.stack([p[name] for name in shared]) for p in (world_mm, image_px))
    pose, error_px = _solved(K, world, px)
    if pose is None or error_px > FITS_PX:
        problem = f"does not fit the 3D landmarks: they miss by {error_px:.0f} px (median)"
        raise InputError(source, problem, "Check the names, the body's side and the intrinsics")
    return pose, f"{len(shared)} landmarks, which it meets within {error_px:.1f} px (median)"


def _solved(K: np.ndarray, world: np.ndarray, px: np.ndarray) -> tuple[np.ndarray | None, float]:
    pose = robust(K, world, px, generator("robust pose of a registration"))
    if pose is None:
        return None, np.inf
    return pose, float(np.median(np.linalg.norm(project(K, pose, world) - px, axis=1)))


def from_tags(
    path: str | Path, arm: CArm, centre_mm: np.ndarray, source_to_patient_mm: float | None
) -> np.ndarray:
    """Return the pose that a C-arm's tags tell, with the CT's bone at its isocentre.

    InputError names the tag that is missing and the option that gives it.
    """
    distance_mm = source_to_patient_mm or arm.source_to_patient_mm
    lacking = [
        (arm.primary_deg, "the C-arm's angles (PositionerPrimaryAngle)", "--angles"),
        (distance_mm, "the distance from source to patient", "--source-to-patient-mm"),
    ]
    for value, what, option in lacking:
        if value is None:
            raise InputError(path, f"does not tell {what}", f"Give it with {option}")
    assert arm.primary_deg is not None
    pose = np.eye(4)
    pose[:3, :3] = carm_rotation(arm.primary_deg, arm.secondary_deg or 0.0)
    pose[:3, 3] = [0, 0, distance_mm] - pose[:3, :3] @ centre_mm
    return pose
