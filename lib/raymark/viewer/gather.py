"""What to show, gathered from a user's own files or from a project."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from raymark import layout
from raymark.config.dataset import Dataset
from raymark.config.project import Project
from raymark.core.doubts import warn
from raymark.core.errors import InputError
from raymark.ct import LabelMap, Volume, read_ct, read_label_map, read_labels, read_volume
from raymark.datasets.lookup import landmark_names, landmark_points, rendered, subject_of
from raymark.landmarks.point_files import XYZ, read_points
from raymark.landmarks.table import compute_landmarks, read_landmark_set
from raymark.viewer.shown import OWN, Shown, finder, read_poses
from raymark.views.plan import subjects_of


def own(
    ct: str, landmarks: str | None, labels: str | None, dataset: Dataset | None = None
) -> Shown:
    """Return a CT of the user's own. The doubts about its files are told.

    A data set lends detector, beam and view sets, and where there are labels but no points, its recipes.
    """
    volume = read_ct(ct)
    warn(ct, volume.doubts)
    mapped = None if labels is None else read_labels(labels, volume)
    if mapped is not None:
        warn(str(labels), mapped.doubts)
    names, points_mm = _points(landmarks, labels, volume, mapped, dataset)
    planned = [n for n, v in dataset.view_sets.items() if not v.is_real] if dataset else []
    shown = Shown(
        Path(ct).name, volume, dataset or own_dataset(), names, points_mm, mapped, planned
    )
    return replace(shown, title=f"{shown.title} · views of {dataset.name}") if dataset else shown


def _points(
    landmarks: str | None,
    labels: str | None,
    volume: Volume,
    mapped: LabelMap | None,
    dataset: Dataset | None,
) -> tuple[Sequence[str], np.ndarray]:
    """Return names and points (landmark, 3) of a file, or else of recipes; none without either."""
    if landmarks is not None:
        table, doubts = read_points(landmarks, "", ct=lambda: volume)
        warn(landmarks, doubts)
    elif mapped is not None and dataset is not None:
        table = compute_landmarks(mapped, read_landmark_set(dataset.landmarks), OWN, str(labels))
    else:
        return [], np.zeros((0, 3))
    return table["landmark"].tolist(), table[XYZ].to_numpy(float)


def own_dataset() -> Dataset:
    """Return the usual detector, beam and distances, for a CT that no data set knows."""
    usual = {"of": "test", "role": "evaluate", "sampling": {"kind": "sphere", "count": 1}}
    values = {"name": OWN, "title": OWN, "subjects": [OWN], "landmarks": OWN}
    return Dataset.model_validate(values | {"view_sets": {OWN: usual}})


def of_project(project: Project, name: str, subject: str) -> Shown:
    """Return a subject as the data set `name` shows it, from what the workflow made of its CT."""
    dataset = rendered(project, name)
    subject_of(project, subject)
    place = {"dataset": name, "subject": subject}
    ct, labels, points = (p.format(**place) for p in (layout.CT, layout.LABELS, layout.LANDMARKS))
    for file in (ct, points):
        if not Path(file).exists():
            steps = f"raymark ingest {name} {subject}, then raymark landmarks {name} {subject}"
            raise InputError(
                file, "is not there yet", f"Run snakemake --cores 8 {file}, or {steps}"
            )
    planned = [
        name
        for name, view_set in dataset.view_sets.items()
        if not view_set.is_real and subject in subjects_of(dataset, name, project.sheet)
    ]
    return Shown(
        f"{dataset.title} · {subject}",
        read_volume(ct),
        dataset,
        landmark_names(dataset),
        landmark_points(dataset, subject),
        read_label_map(labels) if Path(labels).exists() else None,
        planned,
        subject,
        project.sheet,
        project.config.seed,
    )


def together(shown: Shown, model: str | None, pose: str | None) -> Shown:
    """Add a trained model and the X-rays of a pose file."""
    found = finder(model) if model is not None else None
    return replace(shown, find=found, poses=read_poses(pose) if pose is not None else ())
