"""The landmarks of a data set with their names, on AP and lateral X-rays."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from raymark import layout
from raymark.config.project import Project
from raymark.core.drawing import DOUBLE_IN, figure, show_xray, spread
from raymark.core.names import VERTEBRA, readable
from raymark.datasets.lookup import landmark_names, landmark_points
from raymark.figures._marks import draw_marks, explain_marks
from raymark.figures._places import of_data_set, rendered_data_sets
from raymark.figures._results import landmark_files
from raymark.figures.base import FigureRecord
from raymark.geometry.camera import Detector, carm_camera
from raymark.views.plan import read_views

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PRIMARY_DEG = {"AP": 0.0, "Lateral": 90.0}
LONGER_SIDE_PX = 480
ROOM = 2.1  # magnification, and a border
LETTER_IN = 0.043  # of a name in the margin
LANDSCAPE = 0.8  # height by width: flatter images are stacked, the others stand side by side
LABEL_PT, LABEL_LINE_PT = 5.8, 7.4


def needs(project: Project, dataset: str) -> list[str]:
    """List the CTs of all subjects, since the first may be refused: the first of those left is shown."""
    subjects = project.datasets[dataset].subjects
    files = [
        pattern.format(dataset=dataset, subject=subject)
        for pattern in (layout.CT, layout.LANDMARKS)
        for subject in subjects
    ]
    return [layout.VIEWS.format(dataset=dataset), *files, *landmark_files(project, dataset)]


def draw(project: Project, dataset: str, stem: str | Path) -> None:
    """Render the first subject from the front and from its left, large enough for all landmarks."""
    from raymark.rendering.scene import noiseless_image, noiseless_scene

    views_file, ct_file, *_ = needs(project, dataset)
    settings = project.datasets[dataset]
    names, world_mm = landmark_names(settings), landmark_points(settings, settings.subjects[0])
    detector = _detector_for(world_mm)
    scene = noiseless_scene(ct_file, settings, settings.physics)
    view = read_views(views_file).iloc[0]
    images, points = {}, {}
    for title, primary_deg in PRIMARY_DEG.items():
        camera = carm_camera(
            detector,
            primary_deg=primary_deg,
            secondary_deg=0.0,
            isocentre_world_mm=(world_mm.min(axis=0) + world_mm.max(axis=0)) / 2,
            source_to_isocentre_mm=view["source_to_isocentre_mm"],
            source_to_detector_mm=view["source_to_detector_mm"],
        )
        images[title] = noiseless_image(scene, camera)
        points_px = camera.project(world_mm).astype(np.float32)  # as in a shard
        points[title] = pd.DataFrame(points_px, columns=["x_px", "y_px"]).assign(landmark=names)
    landmark_overview(images, points, stem)


def _detector_for(world_mm: np.ndarray) -> Detector:
    """Return a detector that is as large as landmarks (landmark, 3) about the isocentre need."""
    width_mm, depth_mm, height_mm = np.ptp(world_mm, axis=0) * ROOM
    width_mm = max(width_mm, depth_mm, height_mm / 2)
    pixel_mm = max(width_mm, height_mm) / LONGER_SIDE_PX
    return Detector(round(height_mm / pixel_mm), round(width_mm / pixel_mm), pixel_mm)


def landmark_overview(
    images: Mapping[str, np.ndarray], points: Mapping[str, pd.DataFrame], stem: str | Path
) -> None:
    """Draw the landmarks with their names on a few X-rays side by side.

    `images` (y, x) by the panel's title; `points` (landmark, x_px, y_px) by the same. The points of
    one vertebra share one label.
    """
    tallest = max(image.shape[0] / image.shape[1] for image in images.values())
    stacked = tallest < LANDSCAPE
    longest = max(_labels(table)["label"].str.len().max() for table in points.values())
    names_in = 0.18 + LETTER_IN * longest
    rows, columns = (len(images), 1) if stacked else (1, len(images))
    image_in = 4.0 if stacked else DOUBLE_IN / columns - 2 * names_in
    width = columns * (image_in + 2 * names_in)
    with figure(width, rows * (image_in * tallest + 0.2) + 0.3, stem) as page:
        panels = np.atleast_1d(page.subplots(rows, columns))
        for axes, (title, image) in zip(panels, images.items(), strict=True):
            show_xray(axes, image)
            axes.set_title(title)
            draw_marks(axes, points[title], size=3.0)
            _name(axes, points[title], image.shape, image.shape[1] / image_in, names_in)
        explain_marks(page, pd.concat(points.values())["landmark"])


def _name(
    axes: "Axes", points: pd.DataFrame, shape_yx: tuple[int, int], px_per_in: float, names_in: float
) -> None:
    """Write names in the margins, spread so that none overlap, each with a line to its point."""
    height, width = shape_yx
    labels = _labels(points)
    labels = labels.sort_values("x_px", kind="stable")
    half = (len(labels) + 1) // 2
    for rows, x_text, x_line, align in (
        (labels.iloc[:half], -0.06 * width, -0.04 * width, "right"),
        (labels.iloc[half:], 1.06 * width, 1.04 * width, "left"),
    ):
        rows = rows.sort_values("y_px", kind="stable")
        heights = spread(rows["y_px"].to_numpy(float), LABEL_LINE_PT / 72 * px_per_in, height)
        for label, x, y, y_text in zip(
            rows["label"], rows["x_px"], rows["y_px"], heights, strict=True
        ):
            axes.text(x_text, y_text, label, ha=align, va="center", fontsize=LABEL_PT)
            edge = np.clip(x_line, 0, width)
            axes.plot([x_line, edge], [y_text, y_text], color="#555555", lw=0.4, clip_on=False)
            axes.plot([edge, x], [y_text, y], color="white", lw=0.5)
    room = names_in * px_per_in
    axes.set_xlim(-room, width + room)


def _labels(points: pd.DataFrame) -> pd.DataFrame:
    """List what to write where: one label for each vertebra, one for every other landmark."""
    found = points["landmark"].str.extract(VERTEBRA, expand=False)
    text = found.str.upper().fillna(points["landmark"].map(readable))
    return points.assign(label=text).groupby("label", as_index=False)[["x_px", "y_px"]].mean()


FIGURE = FigureRecord(
    about="the landmarks with their names on AP and lateral images",
    caption="""\
The landmarks of **{of}** on AP and lateral images rendered from the CT. All points of one
vertebra share a label. Landmarks computed from segmentations are not expert points.""",
    of=rendered_data_sets,
    needs=needs,
    draw=draw,
    chapter=of_data_set,
)
