"""Treatment images laid on the plan, before and after registration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from raymark import layout
from raymark.config.project import Project
from raymark.core.drawing import (
    DOUBLE_IN,
    ORANGE,
    SKY,
    VERMILION,
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
from raymark.figures._places import (
    experiment,
    first_training,
    of_experiment,
    set_up_experiments,
)
from raymark.figures._results import landmark_files
from raymark.figures.base import FigureRecord
from raymark.landmarks.table import read_landmark_set
from raymark.radiotherapy.setup_table import INTENSITY, LANDMARKS, NOTHING, read_setup
from raymark.views.plan import evenly, read_views

if TYPE_CHECKING:
    from raymark.radiotherapy.setup_errors import SetupView

SHOWN = 3
COLUMNS = {NOTHING: "Before", LANDMARKS: "By landmarks", INTENSITY: "By intensities"}
TILES = 6  # of the chequerboard, along the shorter side
PLANNED = {"ls": "", "marker": "o", "mfc": "none", "mec": SKY, "mew": 0.9, "ms": 4.2}
FOUND = {"ls": "", "marker": "x", "color": ORANGE, "mew": 0.9, "ms": 3.6}
UNUSED = {"ls": "", "marker": "x", "color": VERMILION, "mew": 0.9, "ms": 3.6}


@dataclass(frozen=True)
class Compared:
    """One view: treatment image and reference (y, x), planned and found landmarks (n, 2) in px, which
    of the found ones agree (n,), displacements (x, y) in mm by registration, mm per px, errors in mm."""

    title: str
    image_yx: np.ndarray
    reference_yx: np.ndarray
    planned_px: np.ndarray
    found_px: np.ndarray
    agree: np.ndarray
    estimates_mm: Mapping[str, np.ndarray]
    errors_mm: Mapping[str, float]
    mm_per_px: float


def needs(project: Project, dataset: str, method: str, view_set: str) -> list[str]:
    place = first_training(project, dataset, method, view_set)
    tables = [f.format(**place) for f in (layout.SETUP, layout.PREDICTIONS, layout.VIEWS)]
    images = [
        *shard_files(project, dataset, view_set),
        *cts_of(project, dataset, view_set).values(),
    ]
    return [*tables, *landmark_files(project, dataset), *images]


def draw(project: Project, dataset: str, method: str, view_set: str, stem: str | Path) -> None:
    """Draw views of the first training's table of set-up errors, spread over it."""
    from raymark.radiotherapy.setup_errors import setup_views

    setup_file, predictions_file, views_file, *_ = needs(project, dataset, method, view_set)
    settings = project.datasets[dataset]
    setup = experiment(project, dataset, method, view_set).setup
    assert setup is not None  # `of` lists no other experiments
    plan = project.datasets[setup.reference]
    measured = read_setup([setup_file]).set_index(["view", "registration"])
    chosen = evenly(list(dict.fromkeys(measured.index.get_level_values("view"))), SHOWN)
    shards = Shards(shards_of(project, dataset, view_set))
    shown = setup_views(
        [shards.views.index(view) for view in chosen],
        shards,
        read_predictions(predictions_file),
        read_views(views_file).set_index("view"),
        cts_of(project, dataset, view_set),
        settings,
        read_landmark_set(settings.landmarks).kind_of,
        plan.physics,
    )
    views = [_compared(view, measured.loc[view.view], project) for view in shown]
    setup_overlays(views, COLUMNS, stem)


def _compared(view: "SetupView", rows: pd.DataFrame, project: Project) -> Compared:
    """Collect what is drawn of a view: a `SetupView`, and its rows of the table by registration."""
    match, _ = view.by_landmarks(project.config.setup)
    used = {found for found, _ in match.pairs} if match else set()
    return Compared(
        title=f"displaced by {np.hypot(*view.true_mm):.1f} mm",
        image_yx=view.image_yx,
        reference_yx=view.reference_yx,
        planned_px=view.planned.points_px,
        found_px=view.points_px,
        agree=np.array([number in used for number in range(len(view.points_px))], dtype=bool),
        estimates_mm={r: rows.loc[r, ["x_mm", "y_mm"]].to_numpy(float) for r in COLUMNS},
        errors_mm=rows["error_mm"].to_dict(),
        mm_per_px=view.mm_per_px,
    )


def setup_overlays(views: Sequence[Compared], columns: Mapping[str, str], stem: str | Path) -> None:
    """Draw a row per view: plan, treatment image, and chequerboards of both for every registration.

    `columns` names the registrations drawn, by their keys in `estimates_mm`, in order.
    """
    height, width = views[0].image_yx.shape
    count = 2 + len(columns)
    row_in = DOUBLE_IN / count * height / width
    with figure(DOUBLE_IN, len(views) * (row_in + 0.02) + 0.42, stem) as page:
        pack(page)
        panels = page.subplots(len(views), count, squeeze=False)
        for axes, view in zip(panels, views, strict=True):
            _draw_row(axes, view, columns)
        titles = ["Plan (DRR)", "Treatment image", *columns.values()]
        for axes, title in zip(panels[0], titles, strict=True):
            axes.set_title(title, pad=3)
        explain(
            page,
            key(**PLANNED, label="planned landmark"),
            key(**FOUND, label="found, agrees"),
            key(**UNUSED, label="found, left out"),
        )


def _draw_row(axes: Sequence, view: Compared, columns: Mapping[str, str]) -> None:
    show_xray(axes[0], view.reference_yx)
    axes[0].plot(*view.planned_px.T, **PLANNED)
    note(axes[0], view.title)
    show_xray(axes[1], view.image_yx)
    axes[1].plot(*view.found_px[view.agree].T, **FOUND)
    axes[1].plot(*view.found_px[~view.agree].T, **UNUSED)
    for panel, registration in zip(axes[2:], columns, strict=True):
        estimate_mm = view.estimates_mm[registration]
        if not np.isfinite(estimate_mm).all():
            panel.set_axis_off()
            panel.text(0.5, 0.5, "not registered", ha="center", transform=panel.transAxes)
            continue
        back_px = -estimate_mm / view.mm_per_px
        board = chequerboard(view.reference_yx, moved_back(view.image_yx, back_px))
        panel.imshow(board, cmap="gray", vmin=0, vmax=1)
        panel.set_axis_off()
        panel.plot(*view.planned_px.T, **PLANNED)
        used = view.found_px[view.agree] + back_px
        panel.plot(*used.T, **FOUND)
        note(panel, f"off by {view.errors_mm[registration]:.1f} mm")


def moved_back(image_yx: np.ndarray, by_px: np.ndarray) -> np.ndarray:
    """Move an image's content by (x, y) px; what comes in is NaN."""
    from scipy.ndimage import shift

    image = np.asarray(image_yx, dtype=float)
    return shift(image, (by_px[1], by_px[0]), order=1, cval=np.nan)


def chequerboard(first_yx: np.ndarray, second_yx: np.ndarray) -> np.ndarray:
    """Lay tiles of two images side by side, each from 0 to 1 between its 2nd and 99th percentile.

    What an image does not show (NaN) is 0.
    """
    scaled = []
    for image in (first_yx, second_yx):
        low, high = np.nanpercentile(np.asarray(image, dtype=float), (2, 99))
        scaled.append(np.nan_to_num(np.clip((image - low) / max(high - low, 1e-6), 0, 1)))
    y, x = np.indices(first_yx.shape)
    tile_px = max(min(first_yx.shape) / TILES, 1)
    first = (y // tile_px + x // tile_px) % 2 == 0
    return np.where(first, *scaled)


FIGURE = FigureRecord(
    about="treatment images on the plan, before and after registration",
    caption="""\
Treatment images on the plan, **{of}**: where the registration is right, structures run on from
tile to tile of the chequerboards. Rings: where the plan has its landmarks; crosses: where the network
found them. Displacements and what is left of them are in mm at the isocentre. Views are spread evenly over
those that were registered.""",
    of=set_up_experiments,
    needs=needs,
    draw=draw,
    chapter=of_experiment,
)
