"""What a registration leaves in its folder: pose.json, transforms, pictures, points."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from raymark.config.dataset import Physics
from raymark.core.files import atomic
from raymark.ct import Volume
from raymark.geometry.camera import inside, project
from raymark.imports.image_points import in_file_px, markups
from raymark.imports.xray_file import stem_of
from raymark.pose.asked import Registered
from raymark.pose.body import Grid, attenuation, coarsened
from raymark.pose.pictures import animate, draw
from raymark.pose.pose_file import PosedView, record_of, write_itk, write_pose
from raymark.pose.prepare import in_file
from raymark.rendering.physics import spectrum_of

ANIMATED_MM = 3.0


def write_results(
    out: str | Path,
    ct: str,
    volume: Volume,
    results: Sequence[Registered],
    world_mm: Mapping[str, np.ndarray],
) -> None:
    """Write everything of a registration; `pose.json` last, so that it tells of what is there."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    density = attenuation(volume.hu_xyz, spectrum_of(Physics()).mean_kev)
    fine, coarse = (
        Grid(density, volume.affine),
        Grid(*coarsened(density, volume.affine, ANIMATED_MM)),
    )
    corners = np.array(volume.hu_xyz.shape) / 2
    centre_mm = volume.affine[:3, :3] @ corners + volume.affine[:3, 3]
    for stem, result in zip(_stems(results), results, strict=True):
        place, view = f"{folder / stem}", result.view
        draw(place, view.xray.image_yx, view.valid_yx, view.K, fine, result.world_to_camera)
        way = result.start, result.world_to_camera
        animate(f"{place}_animation.gif", view.xray.image_yx, view.K, coarse, way, centre_mm)
        write_itk(f"{place}_pose.tfm", result.world_to_camera)
        if world_mm:
            write_points(place, result, world_mm)
    views = [_record(result) for result in results]
    write_pose(folder / "pose.json", {"ct": ct, "views": views})


def _record(result: Registered) -> dict[str, Any]:
    view, height_width = result.view, result.view.xray.image_yx.shape
    posed = PosedView(view.path, view.K, result.world_to_camera, *height_width)
    return {
        **record_of(posed, view.source_to_detector_mm),
        "K_file": in_file(view.K, view.xray.placement.to_file).tolist(),
        "trusted": result.verdict.trusted,
        "reason": result.verdict.reason,
        "started_from": result.started_from,
        "greys": result.reading,
        "similarity": round(result.found.similarity, 4),
        "agreement": round(result.found.agreement, 4),
        "compared_edges": round(result.found.told, 4),
        "compared_cm2": round(result.found.area_cm2, 1),
        "moved_mm": round(result.found.moved_mm, 3),
        "seconds": round(result.seconds, 3),
        "parts": [
            {
                "labels": part.name,
                "world_to_camera": part.world_to_camera.tolist(),
                "moved_mm": round(part.moved_mm, 3),
                "trusted": part.verdict.trusted,
                "reason": part.verdict.reason,
            }
            for part in result.parts
        ],
        "doubts": [*view.doubts, *result.doubts],
    }


def write_points(place: str, result: Registered, world_mm: Mapping[str, np.ndarray]) -> None:
    """Write where 3D landmarks lie in the image, in the pixels of its file: CSV and Slicer points."""
    xray = result.view.xray
    points_px = project(result.view.K, result.world_to_camera, np.stack(list(world_mm.values())))
    table = pd.DataFrame(points_px, columns=["x_px", "y_px"])
    table.insert(0, "landmark", list(world_mm))
    shown = inside(points_px, xray.image_yx.shape)
    table = in_file_px(table, xray).assign(
        in_image=shown, confidence=1.0, detected=np.isfinite(points_px[:, 0])
    )
    with atomic(f"{place}_points.csv") as partial:
        columns = ["landmark", "x_px", "y_px", "x_mm", "y_mm", "in_image"]
        table[columns].to_csv(partial, index=False, float_format="%.3f", lineterminator="\n")
    with atomic(f"{place}_points.mrk.json") as partial:
        text = json.dumps(markups(table, xray.placement), indent=1)
        partial.write_text(text, encoding="utf-8")


def _stems(results: Sequence[Registered]) -> list[str]:
    """Return a name for each X-ray's files, numbered where two are alike."""
    stems = [stem_of(result.view.path) for result in results]
    return [f"{stem}_{i + 1}" if stems.count(stem) > 1 else stem for i, stem in enumerate(stems)]


def told(results: Sequence[Registered], out: str) -> str:
    """Say what was found."""
    lines = []
    for result in results:
        judged = "trusted" if result.verdict.trusted else "NOT TRUSTED"
        lines.append(f"{result.view.path}: {judged}: {result.verdict.reason}")
        moved = f"moved by {result.found.moved_mm:.1f} mm in {result.seconds:.1f} s"
        lines += [
            f"  label {part.name}: {'trusted' if part.verdict.trusted else 'NOT TRUSTED'}, "
            f"{part.moved_mm:.1f} mm from the whole body's pose"
            for part in result.parts
        ]
        lines.append(f"  started from {result.started_from}; {moved}")
    return "\n".join([*lines, f"  {out}/pose.json, pictures, transforms"])
