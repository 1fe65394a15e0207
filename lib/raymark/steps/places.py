"""What a name of the configuration stands for: its settings, its files."""

from pathlib import Path

import numpy as np
import pandas as pd

from raymark import layout
from raymark.config import Project
from raymark.errors import InputError
from raymark.imported import Imported, read_imported
from raymark.sections import Dataset, Method
from raymark.subjects import Subject, parent_of, read_subjects


def named(table: dict, name: str, kind: str):
    """Look a name up; an unknown one is the user's mistake."""
    if name not in table:
        raise InputError(f"{kind} {name!r}", "is not known", f"Known: {', '.join(table)}")
    return table[name]


def dataset_of(project: Project, name: str) -> Dataset:
    return named(project.datasets, name, "data set")


def landmark_names(settings: Dataset) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the landmarks a data set uses, in its order, and those of them that swap sides."""
    from raymark.landmarks import flip_pairs, read_landmark_set

    landmark_set = read_landmark_set(settings.landmarks)
    names = settings.use_landmarks or landmark_set.names
    unknown = [name for name in names if name not in landmark_set.names]
    if unknown:
        raise InputError(
            f"data set {settings.name}, use_landmarks",
            f"{unknown[0]!r} is not in {settings.landmarks}",
            f"Known: {', '.join(landmark_set.names)}",
        )
    return names, flip_pairs(names)


def landmark_points(settings: Dataset, subject: str) -> np.ndarray:
    """Return the used landmarks of a subject, (landmark, 3) in world mm, in the data set's order."""
    path = layout.LANDMARKS.format(dataset=settings.name, subject=subject)
    table = pd.read_csv(path).set_index("landmark")
    names, _ = landmark_names(settings)
    return table.loc[names, ["x_mm", "y_mm", "z_mm"]].to_numpy()


def with_its_threads(project: Project, name: str) -> Method:
    """Return a method, with torch set to the method's number of threads."""
    import torch

    method = named(project.methods, name, "method")
    torch.set_num_threads(method.training.threads)
    return method


def images_of(project: Project, name: str) -> Dataset | Imported:
    """Return a data set of the configuration, or else one that `raymark import-2d` wrote."""
    configured = project.datasets.get(name)
    return configured or read_imported(name) or dataset_of(project, name)


def shards_of(project: Project, dataset: str, view_set: str) -> list[str]:
    """Return the paths of a view set's shards."""
    from raymark.views import shards_of_view_set

    settings = images_of(project, dataset)
    shown = named(settings.view_sets, view_set, "view set")
    if not isinstance(settings, Dataset):
        return shown.shards
    place = {"dataset": dataset, "view_set": view_set}
    sheet = read_subjects(project.config.subjects)
    return [
        layout.SHARD.format(**place, subject=subject, shard=layout.shard_name(shard))
        for subject, shard in shards_of_view_set(settings, view_set, sheet)
    ]


def shards_with_role(project: Project, dataset: str, role: str) -> list[str]:
    view_sets = images_of(project, dataset).view_sets
    names = [name for name, view_set in view_sets.items() if view_set.role == role]
    return [path for name in names for path in shards_of(project, dataset, name)]


def subject_of(project: Project, name: str) -> Subject:
    return named(read_subjects(project.config.subjects), parent_of(name), "subject")


def file_of(project: Project, reference: str) -> str:
    """Turn a cell of the subject sheet into the file it means."""
    from raymark.sources import read_sources

    kind, _, name = reference.partition(":")
    if kind != "source":
        return name if kind == "recipe" else reference
    source = named(read_sources(project.config.sources), name, "source")
    return layout.SOURCE.format(source=name, file=Path(source.member).name)
