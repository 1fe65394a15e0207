"""What a name of the configuration stands for: a data set, its landmarks, its shards, a subject's files."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from raymark import layout
from raymark.config.dataset import Dataset
from raymark.config.project import Project
from raymark.config.results import Experiment
from raymark.config.subjects import Subject, atlas_of, calibrated_of, parent_of
from raymark.core.errors import InputError, named
from raymark.datasets.available import present_datasets
from raymark.datasets.imported import Imported, read_imported
from raymark.datasets.shards import Shards
from raymark.geometry.camera import Camera
from raymark.landmarks.point_files import XYZ
from raymark.landmarks.table import read_landmark_set, read_landmark_table
from raymark.views.plan import (
    SCHEMA,
    isocentre_among,
    plan_shard,
    plan_view_set,
    read_views,
    row_of_xray,
    shards_of_view_set,
    subjects_of,
    with_seen_in_training,
)

OF_AN_IMPORT = (layout.VIEWS, layout.IMPORTED_IMAGES, layout.IMPORTED_SHARDS)


def rendered(project: Project, name: str) -> Dataset:
    """Return a data set whose images are rendered."""
    return project.named(project.datasets, name, "data set")


def dataset_of(project: Project, name: str) -> Dataset | Imported:
    """Return a rendered data set, or else one that `raymark import-2d` wrote."""
    if name in project.datasets:
        return project.datasets[name]
    settings = project.imports.get(name)
    imported = read_imported(name, settings.title if settings else None)
    if imported is None:
        what = f"data set {name!r}"
        if settings is None:
            raise project.unknown(what, [*project.datasets, *project.imports])
        raise InputError(what, "has not been imported yet", "Run raymark import-2d with its file")
    return imported


def landmark_names(dataset: Dataset | Imported) -> list[str]:
    """List the landmarks that a data set uses, in its order."""
    if isinstance(dataset, Imported):
        return dataset.landmarks
    known = read_landmark_set(dataset.landmarks).names
    names = dataset.use_landmarks or known
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(
            f"data set {dataset.name}, use_landmarks",
            f"{unknown[0]!r} is not in {dataset.landmarks}",
            f"Known: {', '.join(known)}",
        )
    return names


def landmark_types(project: Project, dataset: str) -> dict[str, list[str]]:
    """Return the landmark types of a data set, none of one that only its imported files tell of."""
    if dataset in project.datasets:
        return read_landmark_set(project.datasets[dataset].landmarks).types
    return project.imports[dataset].known_types if dataset in project.imports else {}


def landmark_points(dataset: Dataset, subject: str) -> np.ndarray:
    """Return the used landmarks of a subject, (landmark, 3) in world mm, in the data set's order."""
    path = layout.LANDMARKS.format(dataset=dataset.name, subject=subject)
    table = read_landmark_table(path).set_index("landmark")
    return table.loc[landmark_names(dataset), XYZ].to_numpy()


def isocentre(dataset: Dataset, subject: str) -> np.ndarray:
    """Return the point (3,), in world mm, about which a subject's views are planned."""
    return isocentre_among(landmark_names(dataset), landmark_points(dataset, subject), dataset)


def views_of(project: Project, dataset: str, *view_sets: str) -> pd.DataFrame:
    """Return the rows of some view sets in the table of views, with a column `seen_in_training`.

    Those of a rendered data set are planned again, not read: so what reads them depends on the landmarks of
    the subjects that it shows, and on no other view set and nobody else.
    """
    if dataset not in project.datasets:
        table = read_views(layout.VIEWS.format(dataset=dataset))
        return with_seen_in_training(table, dataset_of(project, dataset).view_sets)
    settings = project.datasets[dataset]
    places = {
        subject: isocentre(settings, subject) for subject in shown_by(project, dataset, *view_sets)
    }
    seed = project.config.seed
    tables = [
        real_views(project, dataset, v, places)
        if settings.view_sets[v].is_real
        else plan_view_set(settings, v, project.sheet, places, seed)
        for v in view_sets
    ]
    table = pd.concat(tables, ignore_index=True)
    return table.assign(seen_in_training=table.patient.isin(trained_patients(project, dataset)))


def real_views(
    project: Project, dataset: str, view_set: str, isocentres_mm: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    """Return the rows of a view set of real X-rays in the table of views, as its shards have them."""
    settings, rows = project.datasets[dataset], []
    for path in shards_of(project, dataset, view_set):
        shards = Shards([path])
        for number, view in enumerate(shards.views):
            subject = project.sheet[shards.subjects[number]]
            K, pose = (shards.small[key][number] for key in ("K", "world_to_camera"))
            camera = Camera(K, pose, *shards.shape_yx)
            place_mm = isocentres_mm[subject.subject]
            rows.append(row_of_xray(settings, view_set, subject, view, camera, place_mm))
    return pd.DataFrame(rows, columns=SCHEMA.names)


def real_view_sets(dataset: Dataset) -> list[str]:
    """List the view sets of a data set whose X-rays were taken."""
    return [name for name, view_set in dataset.view_sets.items() if view_set.is_real]


def views_of_shard(
    project: Project, dataset: str, view_set: str, subject: str, shard: int
) -> pd.DataFrame:
    """Return the rows of one shard in the table of views; InputError where there is no such shard."""
    settings = rendered(project, dataset)
    project.named(settings.view_sets, view_set, "view set")
    place_mm = isocentre(settings, subject)
    table = plan_shard(
        settings, view_set, project.sheet, subject, shard, place_mm, project.config.seed
    )
    if table.empty:
        problem = "has no views"
        remedy = "See the table of views for what there is"
        raise InputError(f"shard {shard} of {dataset}, {view_set}, {subject}", problem, remedy)
    return table


def shown_by(project: Project, dataset: str, *view_sets: str) -> list[str]:
    """List the subjects that some view sets of a rendered data set show, virtual patients included."""
    settings = rendered(project, dataset)
    shown = (subjects_of(settings, name, project.sheet) for name in view_sets)
    return sorted({subject for subjects in shown for subject in subjects})


def trained_patients(project: Project, dataset: str) -> list[str]:
    """List the patients that the view sets to train on of a rendered data set show."""
    train = view_sets_with_role(rendered(project, dataset), "train")
    shown = shown_by(project, dataset, *train)
    return sorted({project.sheet[parent_of(subject)].patient for subject in shown})


def shards_of(project: Project, dataset: str, *view_sets: str) -> list[str]:
    """Return the paths of the shards of some view sets, in their order."""
    return [path for name in view_sets for path in _shards(project, dataset, name)]


def shards_with_role(project: Project, dataset: str, role: str) -> list[str]:
    """Return the paths of the shards of a data set's train, validation or evaluate view sets."""
    return shards_of(project, dataset, *view_sets_with_role(dataset_of(project, dataset), role))


def only_rendered(project: Project) -> list[str]:
    """List the rendered data sets that no experiment trains on, of those whose data is there."""
    trained = {experiment.dataset for experiment in project.config.experiments}
    return [name for name in present_datasets(project) if name not in trained]


def shards_to_see(project: Project, dataset: str) -> list[str]:
    """Return the files that stand for a data set's training images, or for all where it has none."""
    settings = project.datasets.get(dataset)
    if settings is None or view_sets_with_role(settings, "train"):
        return shard_files_with_role(project, dataset, "train")
    return shard_files(project, dataset, *settings.view_sets)


def shard_files(project: Project, dataset: str, *view_sets: str) -> list[str]:
    """List the files that stand for the shards of some view sets among what a step needs.

    Those are the shards themselves; of an import, whose shards are known once it is imported, their folder
    and the tables by which `shards_of` finds them.
    """
    if dataset not in project.datasets:  # also an import that no configuration names
        return [file.format(dataset=dataset) for file in OF_AN_IMPORT]
    return shards_of(project, dataset, *view_sets)


def shard_files_with_role(project: Project, dataset: str, role: str) -> list[str]:
    """List the files that stand for the shards of the view sets of a role, as `shard_files` does."""
    settings = project.datasets.get(dataset)
    return shard_files(project, dataset, *(view_sets_with_role(settings, role) if settings else []))


def view_sets_with_role(dataset: Dataset | Imported, role: str) -> list[str]:
    """List the train, validation or evaluate view sets of a data set."""
    return [name for name, view_set in dataset.view_sets.items() if view_set.role == role]


def _shards(project: Project, name: str, view_set: str) -> list[str]:
    dataset = dataset_of(project, name)
    if view_set not in dataset.view_sets:
        remedy = f"Known: {', '.join(dataset.view_sets)}"
        raise InputError(f"view set {view_set!r} of {name}", "is not known", remedy)
    if isinstance(dataset, Imported):
        return dataset.view_sets[view_set].shards
    place = {"dataset": name, "view_set": view_set}
    return [
        layout.SHARD.format(**place, subject=subject, shard=layout.shard_name(shard))
        for subject, shard in shards_of_view_set(dataset, view_set, project.sheet)
    ]


def cts_of(project: Project, dataset: str, view_set: str) -> dict[str, str]:
    """Return the paths of the CTs that a view set shows, by subject."""
    subjects = subjects_of(rendered(project, dataset), view_set, project.sheet)
    return {s: layout.CT.format(dataset=dataset, subject=s) for s in subjects}


def contrast_files(project: Project) -> dict[str, Any]:
    """Return the views, CTs and labels of the real patients whose contrast of bone is compared."""
    dataset = rendered(project, project.contrast.mv)
    places = [{"dataset": dataset.name, "subject": subject} for subject in dataset.subjects]
    return {
        "views": layout.VIEWS.format(dataset=dataset.name),
        "cts": [layout.CT.format(**place) for place in places],
        "labels": [labels_file(project, **place) for place in places],
    }


def of_experiments(pattern: str, experiments: Iterable[Experiment]) -> list[str]:
    """Fill a path pattern of `raymark.layout` for every seed and evaluated view set, sorted.

    A pattern without view sets is filled for what is trained and evaluated on nothing, too.
    """
    places = (
        {"dataset": e.dataset, "method": e.method, "seed": seed, "view_set": view_set}
        for e in experiments
        for seed in e.seeds
        for view_set in (e.evaluate if "{view_set}" in pattern else [""])
    )
    return sorted({pattern.format(**place) for place in places})


def subject_of(project: Project, name: str) -> Subject:
    """Return the row of the subject sheet of a subject, or of a virtual patient's parent."""
    return project.named(project.sheet, parent_of(name), "subject")


def labels_file(project: Project, dataset: str, subject: str) -> str:
    """Return a subject's label map: its own, or else the one that came with its landmarks by atlas."""
    row = project.sheet.get(subject)  # a virtual patient has none of its own
    by_atlas = row is not None and not row.labels and atlas_of(row) is not None
    pattern = layout.ATLAS_LABELS if by_atlas else layout.LABELS
    return pattern.format(dataset=dataset, subject=subject)


def file_of(project: Project, reference: str) -> str:
    """Turn a cell of the subject sheet into the file it means."""
    if calibrated_of(reference):
        return reference.replace("calibrated:", f"{layout.CALIBRATED_FOLDER}/", 1)
    kind, _, name = reference.partition(":")
    if kind != "source":
        return name if kind == "recipe" else reference
    source = named(project.declared, name, "source")
    return layout.SOURCE.format(source=name, file=Path(source.member).name)
