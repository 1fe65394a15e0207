"""Poses of a view set's X-rays from predicted landmarks, solution by solution, with their errors.

One table per training and view set: a row per view and solution, also where there is no pose, with the
reason. A second kind of table tells from how far the refinement finds back (the capture range).
"""

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from raymark.config.dataset import Dataset, Physics
from raymark.config.results import Pose
from raymark.core.seeds import generator
from raymark.core.threads import in_order, thread_count
from raymark.ct import read_volume
from raymark.datasets.shards import Shards
from raymark.evaluation.errors import read_predictions
from raymark.metrics import pose as metrics
from raymark.pose.pose_table import CAPTURE_SCHEMA, MEASURES, write_poses
from raymark.pose.refine import Registration
from raymark.pose.search import displaced
from raymark.pose.shot import Shot
from raymark.pose.solve import closed_form, robust
from raymark.views.plan import evenly

SOLUTIONS = ("closed_form", "robust", "refined")
BINS_MM = ((0.0, 5.0), (5.0, 10.0), (10.0, 20.0), (20.0, 30.0), (30.0, 40.0))


def estimate_poses(
    predictions_path: str | Path,
    shard_paths: Sequence[str | Path],
    views: pd.DataFrame,
    cts: Mapping[str, str],
    dataset: Dataset,
    settings: Pose,
    out_path: str | Path,
) -> None:
    """Write the table of poses (`raymark.pose.pose_table`) of one file of predictions.

    `views` has the rows of the table of views and `seen_in_training`
    (`raymark.datasets.lookup.views_of`). `landmarks` counts those above `belief_threshold` that were used. Only `refined_views` of the
    views with a robust pose, evenly spread, are refined, on the subject's CT of `cts`. A pose is stored row by row.
    """
    shards, predictions = Shards(shard_paths), read_predictions(predictions_path)
    views = views.set_index("view")
    start = time.perf_counter()
    seen = _seen(predictions, shards, settings)
    rows = [row for number in range(len(shards)) for row in _from_landmarks(shards, seen, number)]
    _tell(f"{len(shards)} poses from landmarks", start, len(shards))
    rows += _refined(shards, cts, dataset.physics, settings, rows)
    table = pd.DataFrame([_measured(row, shards, views) for row in rows])
    table = table.assign(
        **{key: predictions[key].iloc[0] for key in ("dataset", "method", "seed", "view_set")}
    )
    write_poses(table, out_path)


def _seen(predictions: pd.DataFrame, shards: Shards, settings: Pose) -> Callable:
    """Return a function from a view's number to its landmarks' px (l, 2) and which to use (l,).

    Of several instances of one landmark the first counts.
    """
    first = predictions[predictions["instance"] == 0].set_index(["view", "landmark"])
    x, y, belief = (
        first[key].unstack().reindex(index=shards.views, columns=shards.landmarks).to_numpy(float)
        for key in ("x_px", "y_px", "confidence")
    )
    points_px = np.stack([x, y], axis=-1)
    known = np.isfinite(points_px).all(-1)
    known &= np.isfinite(shards.small["landmarks_world"]).all(-1)
    used = known & (belief > settings.belief_threshold)
    enough = f"{settings.least_landmarks} needed above {settings.belief_threshold:g}"

    def of(number: int) -> tuple[np.ndarray, np.ndarray, str]:
        count = int(used[number].sum())
        few = count < settings.least_landmarks
        return points_px[number], used[number], f"{count} landmarks, {enough}" if few else ""

    return of


def _from_landmarks(shards: Shards, seen: Callable, number: int) -> Iterable[dict]:
    """Yield one view's rows of the first two solutions."""
    points_px, used, reason = seen(number)
    K = shards.small["K"][number]
    pairs = shards.small["landmarks_world"][number][used].astype(float), points_px[used]
    rng = generator("robust pose", shards.views[number])
    solve = {
        "closed_form": lambda: closed_form(K, *pairs),
        "robust": lambda: robust(K, *pairs, rng),
    }
    for solution, solved in solve.items():
        pose = None if reason else solved()
        why = reason or ("no pose before the source fits" if pose is None else "")
        yield {"number": number, "solution": solution, "landmarks": int(used.sum()), "reason": why,
               "pose": pose}  # fmt: skip


def _refined(
    shards: Shards,
    cts: Mapping[str, str],
    physics: Physics,
    settings: Pose,
    rows: Sequence[dict],
) -> list[dict]:
    """Return the rows of the last solution, in the order of the views."""
    started = [r for r in rows if r["solution"] == "robust" and r["pose"] is not None]
    chosen = evenly(started, settings.refined_views)
    starts = [(row["number"], row["pose"]) for row in chosen]
    poses = registered(shards, cts, physics, starts)
    return [row | {"solution": "refined", "pose": p} for row, p in zip(chosen, poses, strict=True)]


def registered(
    shards: Shards,
    cts: Mapping[str, str],
    physics: Physics,
    starts: Sequence[tuple[int, np.ndarray]],
) -> list[np.ndarray]:
    """Refine poses, given as (number of the view, first pose), against the views' images.

    Several views are at work at a time, each on one thread: results do not depend on the cores.
    """
    torch.set_num_threads(1)
    begun = time.perf_counter()
    poses: dict[int, np.ndarray] = {}
    for subject in dict.fromkeys(shards.subjects[number] for number, _ in starts):
        registration = Registration(read_volume(cts[subject]), physics)
        mine = [i for i, (number, _) in enumerate(starts) if shards.subjects[number] == subject]

        def refine(index: int, registration: Registration = registration) -> np.ndarray:
            number, pose = starts[index]
            view = {key: a[0] for key, a in shards.read(np.array([number])).items()}
            points = known_points(view["landmarks_world"])
            shot = Shot.whole(view["image"].astype(float), view["K"])
            return registration.refined([shot], [pose], points)[0]

        poses |= dict(zip(mine, in_order(refine, mine, thread_count()), strict=True))
    _tell(f"{len(starts)} registrations", begun, len(starts))
    return [poses[index] for index in range(len(starts))]


def _measured(row: dict, shards: Shards, views: pd.DataFrame) -> dict:
    """Return a row of the table: a solution's pose of a view and how far it is from the truth."""
    number, pose = row.pop("number"), row.pop("pose")
    name = shards.views[number]
    plan = views.loc[name]
    row |= {"view": name, "subject": plan["subject"], "patient": plan["patient"],
            "seen_in_training": bool(plan["seen_in_training"]),
            "world_to_camera": None if pose is None else pose.ravel().tolist()}  # fmt: skip
    if pose is None:
        return row | dict.fromkeys(MEASURES, np.nan)
    small = {key: shards.small[key][number] for key in ("K", "world_to_camera", "visible")}
    world, true = shards.small["landmarks_world"][number].astype(float), small["world_to_camera"]
    shown = world[small["visible"].astype(bool) & np.isfinite(world).all(-1)]
    isocentre = plan[["isocentre_x_mm", "isocentre_y_mm", "isocentre_z_mm"]].to_numpy(float)
    return row | {
        "rotation_deg": metrics.rotation_error_deg(pose, true),
        "translation_mm": metrics.translation_error_mm(pose, true, isocentre),
        "reprojection_px": metrics.reprojection_error_px(small["K"], pose, true, shown),
        "mtre_mm": metrics.mtre_mm(pose, true, known_points(world)),
    }


def measure_capture_range(
    shard_paths: Sequence[str | Path],
    cts: Mapping[str, str],
    dataset: Dataset,
    view_set: str,
    settings: Pose,
    out_path: str | Path,
) -> None:
    """Write where refinement ends (columns `CAPTURE_SCHEMA`) from true poses displaced on purpose.

    Each bin of `BINS_MM` has `capture_starts` starts, evenly spread over the bin and over the views;
    their directions are fixed by the names of data set, view and bin.
    """
    shards = Shards(shard_paths)
    count = settings.capture_starts
    plan = [(i, low, high) for i in range(count) for low, high in BINS_MM]
    numbers = evenly(range(len(shards)), len(plan))
    numbers = [numbers[k * len(numbers) // len(plan)] for k in range(len(plan))]
    starts, rows = [], []
    for (i, low, high), number in zip(plan, numbers, strict=True):
        truth = shards.small["world_to_camera"][number]
        points = known_points(shards.small["landmarks_world"][number])
        rng = generator("capture range", dataset.name, shards.views[number], low, i)
        starts.append(
            (number, displaced(truth, points, low + (i + 0.5) / count * (high - low), rng))
        )
        rows.append({"view": shards.views[number], "subject": shards.subjects[number],
                     "from_mm": low, "to_mm": high})  # fmt: skip
    found = registered(shards, cts, dataset.physics, starts)
    for row, (number, start), pose in zip(rows, starts, found, strict=True):
        truth = shards.small["world_to_camera"][number]
        points = known_points(shards.small["landmarks_world"][number])
        row["start_mtre_mm"] = metrics.mtre_mm(start, truth, points)
        row["mtre_mm"] = metrics.mtre_mm(pose, truth, points)
    table = pd.DataFrame(rows).assign(dataset=dataset.name, view_set=view_set)
    write_poses(table.sort_values(["from_mm", "start_mtre_mm"]), out_path, CAPTURE_SCHEMA)


def known_points(points_world_mm: np.ndarray) -> np.ndarray:
    """Return those points (n, 3) whose position is known."""
    points = np.asarray(points_world_mm, dtype=float)
    return points[np.isfinite(points).all(axis=-1)]


def _tell(what: str, start: float, count: int) -> None:
    seconds = time.perf_counter() - start
    print(f"{what} in {seconds:.1f} s, {seconds / max(count, 1):.2f} s each", file=sys.stderr)
