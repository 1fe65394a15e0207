"""X-rays beside what the CT looks like from the recovered pose (Bier 2018, Fig. 6, bottom row)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from raymark import layout
from raymark.config.dataset import Dataset
from raymark.config.project import Project
from raymark.core.drawing import (
    DOUBLE_IN,
    ORANGE,
    SKY,
    VERMILION,
    direction,
    explain,
    figure,
    key,
    note,
    pack,
    show_xray,
)
from raymark.datasets.lookup import cts_of, shard_files, shards_of
from raymark.datasets.shards import Shards
from raymark.evaluation.errors import read_predictions
from raymark.figures._places import first_training, of_experiment, posed_experiments
from raymark.figures._results import images_of
from raymark.figures.base import FigureRecord
from raymark.geometry.camera import Camera
from raymark.views.plan import evenly, read_views

SHOWN = 3
COLUMNS = 5
EDGE_PX = 1.6  # scale of the edges drawn, px of an image 160 wide
AROUND_PX = 6.0  # scale of an edge's surroundings
STRONG = 60  # percentile of the gradient from which an edge is drawn
SHORTEST_PX = 5.0  # length from which an edge is drawn
RIDGE = 1.3  # how much steeper than its surroundings an edge is: a broad slope has none
USED = {"ls": "", "marker": "o", "color": VERMILION, "mec": "white", "mew": 0.3, "ms": 2.6}
LINES = ORANGE, SKY  # of the pose from landmarks, and refined


@dataclass(frozen=True)
class Verified:
    """One view: its image (y, x), the landmarks (n, 2) in px that were used, the CT rendered at the
    pose from landmarks and at the refined one, and both poses' mTRE in mm."""

    title: str
    image_yx: np.ndarray
    used_px: np.ndarray
    from_landmarks_yx: np.ndarray
    refined_yx: np.ndarray
    mtre_mm: tuple[float, float]


def needs(project: Project, dataset: str, method: str, view_set: str) -> list[str]:
    place = first_training(project, dataset, method, view_set)
    tables = [f.format(**place) for f in (layout.POSES, layout.PREDICTIONS, layout.VIEWS)]
    cts = cts_of(project, dataset, view_set).values()
    return [*tables, *cts, *shard_files(project, dataset, view_set)]


def draw(project: Project, dataset: str, method: str, view_set: str, stem: str | Path) -> None:
    """Draw views of the first training whose pose was refined, spread over the view set."""
    from raymark.pose.pose_table import read_poses

    poses_file, predictions_file, views_file, *_ = needs(project, dataset, method, view_set)
    poses = read_poses([poses_file]).set_index(["view", "solution"]).sort_index()
    predictions = read_predictions(predictions_file)
    used = predictions[predictions["confidence"] > project.config.pose.belief_threshold]
    used_px = used.set_index("view")[["x_px", "y_px"]].astype(float)
    views = read_views(views_file).set_index("view")
    refined = (
        poses.xs("refined", level="solution").index if "refined" in poses.index.levels[1] else []
    )
    shards = Shards(shards_of(project, dataset, view_set))
    cts = cts_of(project, dataset, view_set)
    verified = []
    for name, image in images_of(shards, evenly(list(refined), SHOWN)).items():
        rows, view = poses.loc[name].loc[["robust", "refined"]], views.loc[name]
        K = shards.small["K"][shards.views.index(name)]
        ct = cts[rows["subject"].iloc[0]]
        from_landmarks_yx, refined_yx = _rendered(
            ct, project.datasets[dataset], rows, K, image.shape
        )
        verified.append(
            Verified(
                direction(view["primary_deg"], view["secondary_deg"]),
                image,
                used_px.loc[[name]].to_numpy(),
                from_landmarks_yx,
                refined_yx,
                tuple(rows["mtre_mm"]),
            )
        )
    pose_verification(verified, stem)


def _rendered(
    ct: str, settings: Dataset, poses: pd.DataFrame, K: np.ndarray, shape_yx: tuple[int, int]
) -> list[np.ndarray]:
    """Render a CT without noise, (y, x), at each of the poses of one view."""
    from raymark.rendering.scene import noiseless_image, noiseless_scene

    scene = noiseless_scene(ct, settings, settings.physics)
    return [
        noiseless_image(scene, Camera(K, np.reshape(pose, (4, 4)), *shape_yx))
        for pose in poses["world_to_camera"]
    ]


def pose_verification(views: Sequence[Verified], stem: str | Path) -> None:
    """Draw a row per view: the X-ray, and for each pose the rendering and its edges on the X-ray."""
    height, width = views[0].image_yx.shape if views else (1, 2)
    rows = max(len(views), 1)
    row_in = DOUBLE_IN / COLUMNS * height / width
    with figure(DOUBLE_IN, rows * (row_in + 0.02) + 0.32, stem) as page:
        pack(page)
        panels = page.subplots(rows, COLUMNS, squeeze=False)
        if not views:
            _say_none(panels)
        for axes, view in zip(panels, views, strict=False):
            _draw_row(axes, view)
        titles = [
            "X-ray, landmarks used",
            "CT, pose from landmarks",
            "its edges",
            "CT, refined pose",
            "its edges",
        ]
        for axes, title in zip(panels[0], titles, strict=True):
            axes.set_title(title, pad=3, fontsize=7)
        explain(
            page,
            key(**USED, label="landmark with enough belief"),
            key(color=ORANGE, lw=1, label="edges of the CT, pose from landmarks (robust)"),
            key(color=SKY, lw=1, label="edges of the CT, refined pose"),
        )


def _draw_row(axes: Sequence, view: Verified) -> None:
    show_xray(axes[0], view.image_yx)
    axes[0].plot(*view.used_px.T, **USED)
    note(axes[0], view.title)
    renderings = view.from_landmarks_yx, view.refined_yx
    for place, rendered, colour, mm in zip((1, 3), renderings, LINES, view.mtre_mm, strict=True):
        show_xray(axes[place], rendered)
        note(axes[place], f"mTRE {mm:.1f} mm")
        show_xray(axes[place + 1], view.image_yx)
        for line in edges_of(rendered):
            axes[place + 1].plot(*line.T, color=colour, lw=0.6)


def edges_of(image_yx: np.ndarray) -> list[np.ndarray]:
    """Return lines (n, 2) in px along the image's edges: ridges of the gradient's size.

    These are zeros of the Laplacian where the gradient is steep, and steeper than around.
    """
    from contourpy import contour_generator
    from scipy.ndimage import gaussian_filter, gaussian_gradient_magnitude, gaussian_laplace

    image, unit_px = image_yx.astype(float), image_yx.shape[1] / 160
    strength = gaussian_gradient_magnitude(image, EDGE_PX * unit_px)
    laplacian = gaussian_laplace(image, EDGE_PX * unit_px)
    steep = strength >= np.percentile(strength, STRONG)
    steep &= strength >= RIDGE * gaussian_filter(strength, AROUND_PX * unit_px)
    contours = contour_generator(z=np.ma.masked_where(~steep, laplacian))
    lines = cast(list[np.ndarray], contours.lines(0.0))  # its usual kind: each line an array
    lengths_px = [np.linalg.norm(np.diff(line, axis=0), axis=1).sum() for line in lines]
    pairs = zip(lines, lengths_px, strict=True)
    return [line for line, length_px in pairs if length_px >= SHORTEST_PX * unit_px]


def _say_none(panels: np.ndarray) -> None:
    for axes in panels.flat:
        axes.set_axis_off()
    panels[0, 0].text(0.0, 0.5, "No view has a refined pose.", fontsize=7)


FIGURE = FigureRecord(
    about="X-rays beside the CT at the recovered pose",
    caption="""\
X-rays beside the CT rendered at the recovered pose, from landmarks alone (robust) and after refinement,
**{of}**; first training. The lines are edges of the rendering left of them, drawn on the X-ray; where
they lie on its own the pose is right. mTRE: how far the pose puts the landmarks off in space, on average.""",
    beside={"bier2018": "Fig. 6"},
    of=posed_experiments,
    needs=needs,
    draw=draw,
    chapter=of_experiment,
)
