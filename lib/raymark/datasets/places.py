"""What a name of the configuration stands for: its settings, its files."""

from pathlib import Path

import numpy as np

from raymark import layout
from raymark.config.dataset import Dataset
from raymark.config.method import Method
from raymark.config.project import Project
from raymark.config.subjects import Subject, parent_of, read_subjects
from raymark.core.errors import InputError
from raymark.datasets.imported import Imported


def named(table: dict, name: str, kind: str):
    """Look a name up; an unknown one is the user's mistake."""
    if name not in table:
        raise InputError(f"{kind} {name!r}", "is not known", f"Known: {', '.join(table)}")
    return table[name]


def configured(project: Project, table: dict, name: str, kind: str):
    """Look up what the configuration names, or names the file of."""
    if name not in table:
        raise project.unknown(f"{kind} {name!r}", table)
    return table[name]


def dataset_of(project: Project, name: str) -> Dataset:
    return configured(project, project.datasets, name, "data set")


def landmark_names(settings: Dataset) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the landmarks a data set uses, in its order, and those of them that swap sides."""
    from raymark.landmarks.table import flip_pairs, read_landmark_set

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


def landmark_types(settings: Dataset | Imported) -> dict[str, list[str]]:
    """Return the landmark types of a data set; imported images have none."""
    from raymark.landmarks.table import read_landmark_set

    return read_landmark_set(settings.landmarks).types if isinstance(settings, Dataset) else {}


def landmark_points(settings: Dataset, subject: str) -> np.ndarray:
    """Return the used landmarks of a subject, (landmark, 3) in world mm, in the data set's order."""
    from raymark.landmarks.table import XYZ, read_landmark_table

    path = layout.LANDMARKS.format(dataset=settings.name, subject=subject)
    table = read_landmark_table(path).set_index("landmark")
    names, _ = landmark_names(settings)
    return table.loc[names, XYZ].to_numpy()


def isocentre(settings: Dataset, subject: str) -> np.ndarray:
    """Return the point (3,), in world mm, about which a subject's views are planned."""
    from raymark.views.plan import isocentre_among

    return isocentre_among(
        landmark_names(settings)[0], landmark_points(settings, subject), settings
    )


def with_its_threads(project: Project, name: str) -> Method:
    """Return a method, with torch set to the method's number of threads."""
    import torch

    method = configured(project, project.methods, name, "method")
    torch.set_num_threads(method.training.threads)
    return method


def subject_of(project: Project, name: str) -> Subject:
    sheet = read_subjects(project.config.subjects)
    return configured(project, sheet, parent_of(name), "subject")


def file_of(project: Project, reference: str) -> str:
    """Turn a cell of the subject sheet into the file it means."""
    from raymark.config.sources import read_sources

    kind, _, name = reference.partition(":")
    if kind != "source":
        return name if kind == "recipe" else reference
    source = named(read_sources(project.config.sources), name, "source")
    return layout.SOURCE.format(source=name, file=Path(source.member).name)
