"""Set-up errors of a view set: how far each registration's displacement is from the true one.

The patient lies displaced from the plan by what the view's isocentre is off the plan's, which the
view sets' translations shift. The displacement is measured in the image
plane at the isocentre's depth, in mm: x to the image's right, y down, positive where the patient in
the image lies to the right of, or below, the plan.
"""

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np
import pandas as pd

from raymark.config.dataset import Dataset, Physics
from raymark.config.results import SetupSettings
from raymark.datasets.shards import Shards
from raymark.evaluation.errors import read_predictions
from raymark.geometry.camera import Camera
from raymark.radiotherapy.by_intensity import mutual_information_shift
from raymark.radiotherapy.by_landmarks import Match, Planned, matched
from raymark.radiotherapy.setup_table import INTENSITY, LANDMARKS, NOTHING, write_setup
from raymark.rendering.scene import Scene, noiseless_image, noiseless_scene
from raymark.views.plan import evenly, isocentre_among

ISOCENTRE = ["isocentre_x_mm", "isocentre_y_mm", "isocentre_z_mm"]


@dataclass(frozen=True)
class SetupView:
    """One treatment image and its plan: cameras, image and reference (y, x), what was found."""

    view: str
    image_yx: np.ndarray
    reference_yx: np.ndarray
    planned: Planned
    true_mm: np.ndarray
    mm_per_px: float
    names: list[str]
    points_px: np.ndarray

    def by_landmarks(self, settings: SetupSettings) -> tuple[Match | None, str]:
        """Return the match, or None and why there is none."""
        match = matched(self.names, self.points_px, self.planned, settings.inlier_mm)
        count = len(match.pairs) if match else 0
        if count < settings.least_landmarks:
            return None, f"{count} landmarks agree, {settings.least_landmarks} needed"
        return match, ""


def measure_setup(
    predictions_path: str | Path,
    shard_paths: Sequence[str | Path],
    views: pd.DataFrame,
    cts: Mapping[str, str],
    dataset: Dataset,
    kinds: Mapping[str, str],
    reference: Physics,
    settings: SetupSettings,
    out_path: str | Path,
) -> None:
    """Write the table of set-up errors (columns `SCHEMA`): three rows per view, one a registration.

    `views` has the rows of the table of views and `seen_in_training`
    (`raymark.datasets.lookup.views_of`); `cts` has the CT of every subject; `kinds` names the type of the landmarks that have one;
    `reference` is the beam of the planned
    images. At most `registered_views` views, evenly spread, are registered, all by every means.
    """
    shards, predictions = Shards(shard_paths), read_predictions(predictions_path)
    views = views.set_index("view")
    chosen = evenly(range(len(shards)), settings.registered_views or len(shards))
    start, rows = time.perf_counter(), []
    for shown in setup_views(chosen, shards, predictions, views, cts, dataset, kinds, reference):
        of_view = views.loc[shown.view, ["subject", "patient", "seen_in_training"]].to_dict()
        rows += [{"view": shown.view, **of_view, **row} for row in _registered(shown, settings)]
    seconds = time.perf_counter() - start
    print(f"{len(chosen)} views registered in {seconds:.1f} s", file=sys.stderr)
    keys = ("dataset", "method", "seed", "view_set")
    table = pd.DataFrame(rows).assign(**{key: predictions[key].iloc[0] for key in keys})
    write_setup(table, out_path)


def _registered(shown: SetupView, settings: SetupSettings) -> Iterable[dict]:
    """Yield a row for every registration of one view."""
    match, reason = shown.by_landmarks(settings)
    estimate = match.displacement_mm if match else np.full(2, np.nan)
    yield _row(LANDMARKS, estimate, shown, len(match.pairs) if match else 0, reason)
    shift_mm = mutual_information_shift(shown.reference_yx, shown.image_yx, shown.mm_per_px)
    yield _row(INTENSITY, shift_mm, shown)
    yield _row(NOTHING, np.zeros(2), shown)


def _row(
    registration: str,
    estimate_mm: np.ndarray,
    shown: SetupView,
    landmarks: int = 0,
    reason: str = "",
) -> dict:
    error_mm = estimate_mm - shown.true_mm
    return {
        "registration": registration,
        "landmarks": landmarks,
        "reason": reason,
        **dict(zip(("true_x_mm", "true_y_mm"), shown.true_mm, strict=True)),
        **dict(zip(("x_mm", "y_mm"), estimate_mm, strict=True)),
        **dict(zip(("error_x_mm", "error_y_mm"), error_mm, strict=True)),
        "error_mm": float(np.hypot(*error_mm)),
    }


def setup_views(
    numbers: Sequence[int],
    shards: Shards,
    predictions: pd.DataFrame,
    views: pd.DataFrame,
    cts: Mapping[str, str],
    dataset: Dataset,
    kinds: Mapping[str, str],
    reference: Physics,
) -> Iterable[SetupView]:
    """Yield some views, by their number in the shards, with all that a registration may use.

    The plan is the same beam angle and distances about the plan's isocentre; the reference is the
    patient's own CT seen from there without noise, by the reference's beam. `views` is the table of
    views by name.
    """
    found = predictions[predictions["detected"] & predictions["x_px"].notna()].groupby("view")
    scenes: dict[str, Scene] = {}
    for number in numbers:
        name, subject = shards.views[number], shards.subjects[number]
        if subject not in scenes:
            scenes = {subject: noiseless_scene(cts[subject], dataset, reference)}
        world_mm = shards.small["landmarks_world"][number].astype(float)
        true, K = (shards.small[key][number] for key in ("world_to_camera", "K"))
        image_yx = shards.read(np.array([number]))["image"][0].astype(np.float32)
        isocentre_mm = views.loc[name, ISOCENTRE].to_numpy(float)
        moved_mm = isocentre_mm - isocentre_among(shards.landmarks, world_mm, dataset)
        plan = Camera(K, seen_after(true, moved_mm), *image_yx.shape)
        rows = found.get_group(name) if name in found.groups else predictions[:0]
        yield SetupView(
            view=name,
            image_yx=image_yx,
            reference_yx=noiseless_image(scenes[subject], plan),
            planned=planned_landmarks(shards.landmarks, kinds, world_mm, plan),
            true_mm=displacement_mm(true, plan),
            mm_per_px=views.loc[name, "source_to_isocentre_mm"] / abs(plan.K[0, 0]),
            names=rows["landmark"].tolist(),
            points_px=rows[["x_px", "y_px"]].to_numpy(float),
        )


def seen_after(world_to_camera: np.ndarray, moved_mm: np.ndarray) -> np.ndarray:
    """Return the pose of a camera once the patient has moved by (3,) mm in the world."""
    after = np.array(world_to_camera, dtype=float)
    after[:3, 3] += after[:3, :3] @ moved_mm
    return after


def displacement_mm(world_to_camera: np.ndarray, plan: Camera) -> np.ndarray:
    """Return the patient's true displacement (x, y) in mm along the image's axes.

    Both cameras look in one direction, so all points of the patient move alike in their frame.
    """
    moved = world_to_camera[:2, 3] - plan.world_to_camera[:2, 3]
    return moved * np.sign(np.diag(plan.K)[:2])


def planned_landmarks(
    names: Sequence[str], kinds: Mapping[str, str], world_mm: np.ndarray, plan: Camera
) -> Planned:
    """Project the planning CT's landmarks (landmark, 3) into the reference image."""
    known = np.isfinite(world_mm).all(axis=-1)
    kept, world_mm = list(compress(names, known)), world_mm[known]
    depth_mm = world_mm @ plan.world_to_camera[2, :3] + plan.world_to_camera[2, 3]
    types = [kinds.get(name, "") for name in kept]
    return Planned(kept, types, plan.project(world_mm), depth_mm / abs(plan.K[0, 0]))
