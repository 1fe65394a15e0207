"""Pictures of a registration: X-ray and rendered CT over each other, side by side in tiles, and its way."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation, Slerp

from raymark.core.files import atomic
from raymark.geometry.camera import Camera
from raymark.pose.body import Grid, pooled
from raymark.pose.refine import edges, shrunk

LONGEST_PX = 900
ANIMATED_PX, FRAMES, FRAME_MS = 300, 16, 90
TILES = 8
RENDERED, EDGE = (0xE6, 0x9F, 0x00), (0xE6, 0x9F, 0x00)  # Okabe and Ito's orange
STRONG = 90.0  # percentile from which an edge is drawn


def grey(image_yx: np.ndarray, counted_yx: np.ndarray | None = None) -> np.ndarray:
    """Return an image as grey 0 to 1, its few darkest and brightest pixels cut off."""
    counted = image_yx if counted_yx is None or not counted_yx.any() else image_yx[counted_yx]
    low, high = np.percentile(counted, [1, 99])
    return np.clip((image_yx - low) / ((high - low) or 1.0), 0, 1)


def rendered(grid: Grid, camera: Camera) -> np.ndarray:
    """Return the log X-ray (row, column) of a CT at one energy."""
    return grid.cast(camera, np.ones(camera.shape_yx, dtype=bool))[..., 0].astype(float)


def draw(
    stem: str,
    image_yx: np.ndarray,
    valid_yx: np.ndarray,
    K: np.ndarray,
    grid: Grid,
    world_to_camera: np.ndarray,
) -> None:
    """Write overlay, edges and checkerboard of an X-ray (bone bright) and the CT at a pose as PNG."""
    factor = max(1, -(-max(image_yx.shape) // LONGEST_PX))
    small, valid = pooled(image_yx.astype(float), factor), pooled(valid_yx, factor) > 0.5
    xray = grey(small, valid)
    body = rendered(grid, Camera(shrunk(K, factor), world_to_camera, *xray.shape))
    ct = grey(body)
    write_png(f"{stem}_overlay.png", _tinted(xray, ct))
    write_png(f"{stem}_edges.png", _outlined(xray, body))
    row, column = np.indices(xray.shape) * TILES // max(xray.shape)
    write_png(f"{stem}_checkerboard.png", np.where((row + column) % 2, xray, ct))


def animate(
    path: str,
    image_yx: np.ndarray,
    K: np.ndarray,
    grid: Grid,
    poses: tuple[np.ndarray, np.ndarray],
    centre_mm: np.ndarray,
) -> None:
    """Write a GIF of the CT's edges on the X-ray on their way from a start to the end."""
    factor = max(1, -(-max(image_yx.shape) // ANIMATED_PX))
    xray, K = grey(pooled(image_yx.astype(float), factor)), shrunk(K, factor)
    frames = []
    for pose in _between(*poses, centre_mm):
        pixels = _outlined(xray, rendered(grid, Camera(K, pose, *xray.shape)))
        frames.append(Image.fromarray(np.rint(255 * pixels).astype(np.uint8)))
    with atomic(path) as partial:
        frames[0].save(
            partial,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=FRAME_MS,
            loop=0,
        )


def _between(start: np.ndarray, end: np.ndarray, centre_mm: np.ndarray) -> Sequence[np.ndarray]:
    """Return poses from one to another, the body turning about `centre_mm` at an even pace."""
    turns = Slerp([0, 1], Rotation.from_matrix([start[:3, :3], end[:3, :3]]))
    places = [pose[:3, :3] @ centre_mm + pose[:3, 3] for pose in (start, end)]
    poses = []
    for part in np.append(np.linspace(0, 1, FRAMES), [1.0] * 4):
        pose = np.eye(4)
        pose[:3, :3] = turns(part).as_matrix()
        place = (1 - part) * places[0] + part * places[1]
        pose[:3, 3] = place - pose[:3, :3] @ centre_mm
        poses.append(pose)
    return poses


def _tinted(xray: np.ndarray, ct: np.ndarray) -> np.ndarray:
    """Return the X-ray in grey with the CT in orange over it."""
    tint = np.array(RENDERED) / 255
    return np.clip(0.6 * xray[..., None] + 0.4 * ct[..., None] * tint, 0, 1)


def _outlined(xray: np.ndarray, body: np.ndarray) -> np.ndarray:
    """Return the X-ray with the CT's strongest edges."""
    size = np.linalg.norm(edges(body), axis=-1)
    shown = size > 0
    strong = shown & (size >= np.percentile(size[shown], STRONG)) if shown.any() else shown
    colour = np.repeat(xray[..., None], 3, axis=-1)
    colour[strong] = np.array(EDGE) / 255
    return colour


def write_png(path: str | Path, image: np.ndarray) -> None:
    """Write grey (y, x) or colours (y, x, 3), 0 to 1, as PNG, whole or not at all."""
    with atomic(path) as partial:
        Image.fromarray(np.rint(255 * image).astype(np.uint8)).save(partial, format="PNG")
