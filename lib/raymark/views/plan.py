"""Which view of whom: the table of views of a data set, drawn view by view from its own seed.

Everything counted here (views, shards) follows from the configuration and the subject sheet alone,
so that a workflow knows its jobs before any file exists. Everything random about a view follows
from its data set, view set, subject and index, so that any part of the table can be made alone.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa

from raymark.config.dataset import (
    Dataset,
    DetectorConfig,
    Grid,
    Orbit,
    RandomBox,
    RandomSphere,
    RealXrays,
    ViewSet,
)
from raymark.config.subjects import Subject, parent_of, virtual_subjects
from raymark.core.errors import InputError
from raymark.core.seeds import generator, seed_of
from raymark.core.stored_tables import store_table, stored_table
from raymark.geometry.camera import Camera, Detector, carm_angles, carm_camera

TEXT, REAL = pa.string(), pa.float64()
POSE = {
    "primary_deg": REAL,
    "secondary_deg": REAL,
    "roll_deg": REAL,
    "isocentre_x_mm": REAL,
    "isocentre_y_mm": REAL,
    "isocentre_z_mm": REAL,
    "source_to_isocentre_mm": REAL,
    "source_to_detector_mm": REAL,
}
ROWS_AT_ONCE = 50_000  # what a reader of a few views has in memory
SCHEMA = pa.schema(
    {
        "dataset": TEXT,
        "view_set": TEXT,
        "view": TEXT,
        "subject": TEXT,
        "patient": TEXT,
        "split": TEXT,
        "shard": pa.int32(),
        **POSE,
        "flip": pa.bool_(),
        "seed": pa.int64(),
    }
)


def subjects_of(dataset: Dataset, view_set: str, sheet: Mapping[str, Subject]) -> list[str]:
    """List the subjects a view set shows: those of its split, each before its virtual patients.

    Raises InputError where the data set names an unknown subject, or the split of a set to learn
    from has none; a set to evaluate on may show nobody (see `raymark.datasets.available`).
    """
    shown = []
    settings = dataset.view_sets[view_set]
    for name in dataset.subjects:
        if name not in sheet:
            raise InputError(
                f"data set {dataset.name}, subjects",
                f"{name!r} is not in the subject sheet",
                f"Add a line for it, or use one of {', '.join(sheet)}",
            )
        if split_in(dataset, sheet[name]) == settings.of:
            shown.append(name)
            if settings.virtual_patients and not settings.is_real:
                shown += virtual_subjects(name, dataset.cohort.count)
    if not shown and settings.role != "evaluate":
        raise InputError(
            f"data set {dataset.name}, view_sets.{view_set}.of",
            f"no subject of the data set is in the split {settings.of!r}",
            "Put a patient into that split in the subject sheet, or show another split",
        )
    return shown


def split_in(dataset: Dataset, subject: Subject) -> str:
    """Return the split of a subject in a data set: the sheet's, unless the data set leaves a patient out."""
    if dataset.leave_out is None:
        return subject.split
    return "test" if subject.patient == dataset.leave_out else "train"


def views_per_subject(view_set: ViewSet) -> int:
    """Count the views of one subject in a view set; of real X-rays, whose file tells, one."""
    sampling = view_set.sampling
    if isinstance(sampling, RealXrays):
        return 1
    if isinstance(sampling, Grid):
        primary_deg, secondary_deg = _grid_axes(sampling)
        return len(primary_deg) * len(secondary_deg)
    return sampling.count


def view_count(dataset: Dataset, view_set: str, sheet: Mapping[str, Subject]) -> int:
    """Count the views of a view set over all its subjects."""
    subjects = subjects_of(dataset, view_set, sheet)
    return len(subjects) * views_per_subject(dataset.view_sets[view_set])


def shards_of_view_set(
    dataset: Dataset, view_set: str, sheet: Mapping[str, Subject]
) -> list[tuple[str, int]]:
    """List the (subject, shard) of a view set: `views_per_shard` consecutive views of one subject."""
    per_subject = -(-views_per_subject(dataset.view_sets[view_set]) // dataset.views_per_shard)
    subjects = subjects_of(dataset, view_set, sheet)
    return [(subject, shard) for subject in subjects for shard in range(per_subject)]


def isocentre_among(names: Sequence[str], points_mm: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Return the point (3,) about which views are planned: a landmark's, or the mean of all.

    `points_mm` (landmark, 3) are those of `names`. Raises InputError where the landmark is not there.
    """
    if dataset.isocentre is None:
        return points_mm.mean(axis=0)
    if dataset.isocentre not in names:
        raise InputError(
            f"data set {dataset.name}, isocentre",
            f"{dataset.isocentre!r} is not among the landmarks it uses",
            f"Use one of {', '.join(names)}",
        )
    return points_mm[list(names).index(dataset.isocentre)]


def plan_views(
    dataset: Dataset,
    sheet: Mapping[str, Subject],
    isocentres_mm: Mapping[str, np.ndarray],
    base_seed: int,
    real: Mapping[str, pd.DataFrame] | None = None,
) -> pd.DataFrame:
    """Make the table of all views of a data set (columns and types: `SCHEMA`), leaks refused.

    `real` has the rows of the view sets whose X-rays were taken (`row_of_xray`), by view set; one that
    it lacks has none.

    `isocentres_mm` gives for every subject, virtual ones included, the world point (3,) that the
    view sets' translations shift (`isocentre_among`).
    """
    real = real or {}
    tables = [
        real[name]
        if name in real
        else plan_view_set(dataset, name, sheet, isocentres_mm, base_seed)
        for name, view_set in dataset.view_sets.items()
        if name in real or not view_set.is_real
    ]
    table = pd.concat(tables, ignore_index=True)
    check_leaks(table, dataset)
    return table


def plan_view_set(
    dataset: Dataset,
    name: str,
    sheet: Mapping[str, Subject],
    isocentres_mm: Mapping[str, np.ndarray],
    base_seed: int,
) -> pd.DataFrame:
    """Make the rows of one view set, as `plan_views` does: they depend on no other view set."""
    rows = [
        plan_view(dataset, name, sheet, subject, index, isocentres_mm[subject], base_seed)
        for subject in subjects_of(dataset, name, sheet)
        for index in range(views_per_subject(dataset.view_sets[name]))
    ]
    return pd.DataFrame(rows, columns=SCHEMA.names)


def plan_shard(
    dataset: Dataset,
    name: str,
    sheet: Mapping[str, Subject],
    subject: str,
    shard: int,
    isocentre_mm: np.ndarray,
    base_seed: int,
) -> pd.DataFrame:
    """Make the rows of one shard; they depend on no other subject. No rows where there is no such shard."""
    count = 0
    if subject in subjects_of(dataset, name, sheet):
        count = views_per_subject(dataset.view_sets[name])
    first = shard * dataset.views_per_shard
    rows = [
        plan_view(dataset, name, sheet, subject, index, isocentre_mm, base_seed)
        for index in range(first, min(first + dataset.views_per_shard, count))
    ]
    return pd.DataFrame(rows, columns=SCHEMA.names)


def plan_view(
    dataset: Dataset,
    name: str,
    sheet: Mapping[str, Subject],
    subject: str,
    index: int,
    isocentre_mm: np.ndarray,
    base_seed: int,
) -> dict:
    """Make the row of view `index` of a subject in the view set `name`, alone.

    Nine uniform numbers in a fixed order decide all that is random about it.
    """
    view_set = dataset.view_sets[name]
    seed = seed_of("view", dataset.name, name, subject, index, base_seed)
    uniform = generator("pose", seed).random(9)
    primary_deg, secondary_deg, roll_deg = _angles(view_set.sampling, index, uniform[:3])
    shift_mm = (2 * uniform[3:6] - 1) * view_set.translation_mm
    x_mm, y_mm, z_mm = np.asarray(isocentre_mm, dtype=np.float64) + shift_mm
    parent = sheet[parent_of(subject)]
    return {
        "dataset": dataset.name,
        "view_set": name,
        "view": f"{name}-{subject}-{index:06d}",
        "subject": subject,
        "patient": parent.patient,
        "split": split_in(dataset, parent),
        "shard": index // dataset.views_per_shard,
        "primary_deg": primary_deg,
        "secondary_deg": secondary_deg,
        "roll_deg": roll_deg,
        "isocentre_x_mm": x_mm,
        "isocentre_y_mm": y_mm,
        "isocentre_z_mm": z_mm,
        "source_to_isocentre_mm": _between(view_set.source_to_isocentre_mm, uniform[6]),
        "source_to_detector_mm": _between(view_set.source_to_detector_mm, uniform[7]),
        "flip": bool(uniform[8] < view_set.flip_probability),
        "seed": seed,
    }


def row_of_xray(
    dataset: Dataset,
    name: str,
    subject: Subject,
    view: str,
    camera: Camera,
    isocentre_mm: np.ndarray,
) -> dict:
    """Make the row of a real X-ray, of known `camera`, in the view set `name`.

    Its isocentre is where the central ray passes `isocentre_mm` (3,) of the subject, so that
    `camera_of` has the same pose.
    """
    primary_deg, secondary_deg, roll_deg = carm_angles(camera.world_to_camera[:3, :3])
    beam = camera.world_to_camera[2, :3]
    to_isocentre_mm = float(beam @ (isocentre_mm - camera.source_world_mm))
    x_mm, y_mm, z_mm = camera.source_world_mm + to_isocentre_mm * beam
    return {
        "dataset": dataset.name,
        "view_set": name,
        "view": view,
        "subject": subject.subject,
        "patient": subject.patient,
        "split": split_in(dataset, subject),
        "shard": 0,
        "primary_deg": primary_deg,
        "secondary_deg": secondary_deg,
        "roll_deg": roll_deg,
        "isocentre_x_mm": x_mm,
        "isocentre_y_mm": y_mm,
        "isocentre_z_mm": z_mm,
        "source_to_isocentre_mm": to_isocentre_mm,
        "source_to_detector_mm": camera.K[1, 1] * dataset.detector.pixel_mm,
        "flip": bool(camera.K[0, 0] > 0),
        "seed": 0,
    }


def _angles(
    sampling: RandomSphere | RandomBox | Grid | Orbit | RealXrays, index: int, uniform: np.ndarray
) -> tuple[float, float, float]:
    """Return (primary, secondary, roll) in degrees of view `index`.

    The detector's direction has the solid angle cos(secondary) d(secondary) d(primary): uniform on
    the sphere is uniform in the primary angle and in the sine of the secondary.
    """
    match sampling:
        case Grid():
            primaries_deg, secondaries_deg = _grid_axes(sampling)
            row, column = divmod(index, len(primaries_deg))
            return primaries_deg[column], secondaries_deg[row], 0.0
        case Orbit():
            low, high = sampling.primary_deg
            closed = (high - low) % 360 == 0
            steps = sampling.count if closed else max(sampling.count - 1, 1)
            return low + (high - low) * index / steps, sampling.secondary_deg, 0.0
        case RandomSphere():
            sine = _between(np.sin(np.deg2rad(sampling.secondary_deg)), uniform[1])
            secondary_deg = float(np.rad2deg(np.arcsin(sine)))
        case RealXrays():
            raise ValueError("real X-rays have their own angles")
        case RandomBox():
            secondary_deg = _between(sampling.secondary_deg, uniform[1])
    primary_deg = _between(sampling.primary_deg, uniform[0])
    return primary_deg, secondary_deg, _between(sampling.roll_deg, uniform[2])


def _between(limits: Sequence[float] | np.ndarray, fraction: float) -> float:
    return float(limits[0] + fraction * (limits[1] - limits[0]))


def _grid_axes(grid: Grid) -> tuple[list[float], list[float]]:
    """Return the primary and secondary angles of a grid, both borders included."""
    axes = []
    for key in ("primary_deg", "secondary_deg"):
        low, high = getattr(grid, key)
        steps = round((high - low) / grid.step_deg)  # a whole number: the section sees to it
        axes.append([low + step * grid.step_deg for step in range(steps)] + [high])
    return axes[0], axes[1]


def check_leaks(table: pd.DataFrame, dataset: Dataset) -> None:
    """Refuse (InputError) a data set in which something evaluated was also learnt from.

    That is: a training or validation set that shows the test split; a patient, or a virtual patient
    and its parent, in two splits; one view of a subject in two sets of different roles, mirrored
    or not.
    """
    place = f"data set {dataset.name}"
    for name, view_set in dataset.view_sets.items():
        if view_set.of == "test" and view_set.role != "evaluate":
            raise InputError(
                f"{place}, view_sets.{name}",
                f"the test split is shown to a set of role {view_set.role!r}",
                "Only a set of role 'evaluate' may show test patients",
            )
    for kind, owner in (("patient", table.patient), ("subject", table.subject.map(parent_of))):
        splits = table.groupby(owner)["split"].nunique()
        for leaking in splits.index[splits > 1]:
            raise InputError(
                place,
                f"{kind} {leaking!r} is in two splits",
                "Keep a patient and all virtual patients made from it in one split",
            )
    roles = table.assign(role=table.view_set.map(lambda name: dataset.view_sets[name].role))
    roles_of_view = roles.groupby(["subject", *POSE], sort=False)["role"]
    leaks = roles[roles_of_view.transform("nunique") > 1]
    if len(leaks):
        first = leaks.iloc[0]
        same = leaks[(leaks[["subject", *POSE]] == first[["subject", *POSE]]).all(axis=1)]
        raise InputError(
            f"{place}, view_sets {', '.join(dict.fromkeys(same.view_set))}",
            f"the views {', '.join(same['view'])} show {first.subject!r} in the same pose",
            "Change the sampling of one of these sets, or show it other patients",
        )


class InUse(Protocol):
    """A view set, rendered or imported: what it is used for."""

    @property
    def role(self) -> str: ...


def with_seen_in_training(table: pd.DataFrame, view_sets: Mapping[str, InUse]) -> pd.DataFrame:
    """Add a column that tells whether a set of role ``train`` shows the patient: only its view is new."""
    train = [name for name, view_set in view_sets.items() if view_set.role == "train"]
    trained_on = table.loc[table.view_set.isin(train), "patient"].unique()
    return table.assign(seen_in_training=table.patient.isin(trained_on))


def evenly(items: Sequence, count: int) -> list:
    """Choose at most `count` items, evenly over their order."""
    picks = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[pick] for pick in picks]


def detector_of(settings: DetectorConfig, field_of_view_share: float = 1.0) -> Detector:
    """Return the detector that the configuration describes, or what a collimator leaves of it.

    The blades cover equally many whole pixels on opposite sides, so that what remains is the middle
    of the whole image, pixel by pixel.
    """
    covered = (1 - field_of_view_share) / 2
    whole = settings.model_dump()
    sides = {key: whole[key] - 2 * round(covered * whole[key]) for key in ("height_px", "width_px")}
    return Detector(**whole | sides)


def camera_of(row: Any, detector: Detector) -> Camera:
    """Return the camera of a row of the table (a Series, or a tuple of `itertuples`)."""
    return carm_camera(
        detector,
        primary_deg=row.primary_deg,
        secondary_deg=row.secondary_deg,
        roll_deg=row.roll_deg,
        isocentre_world_mm=np.array([row.isocentre_x_mm, row.isocentre_y_mm, row.isocentre_z_mm]),
        source_to_isocentre_mm=row.source_to_isocentre_mm,
        source_to_detector_mm=row.source_to_detector_mm,
        flip=bool(row.flip),
    )


def write_views(path: str | Path, table: pd.DataFrame) -> None:
    """Write the table as Parquet; the same table gives the same bytes."""
    arrow = pa.Table.from_pandas(table, schema=SCHEMA, preserve_index=False)
    store_table(arrow, path, row_group_size=ROWS_AT_ONCE)


def read_views(path: str | Path, **only: object) -> pd.DataFrame:
    """Read a table of views; InputError where it is none.

    `only` keeps the rows whose columns have these values: the others are never all in memory.
    """
    kept = [(column, "=", value) for column, value in only.items()] or None
    again = "Make it again with raymark views"
    return stored_table(path, "a table of views", again, schema=SCHEMA, filters=kept)
