"""What the data sets show: their view sets, patients, views and landmarks."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pandas as pd

from raymark import layout
from raymark.config.dataset import Dataset, ViewSet
from raymark.config.project import Project
from raymark.config.subjects import atlas_of
from raymark.datasets.available import (
    NOT_PRESENT,
    missing,
    missing_files,
    present_datasets,
    present_imports,
)
from raymark.datasets.lookup import dataset_of, landmark_names, shard_files
from raymark.evaluation.results import SEEN, UNSEEN
from raymark.tables._columns import column
from raymark.tables._rows import missing_notes
from raymark.tables.base import Column, Table, TableRecord
from raymark.views.plan import detector_of, read_views


def table(
    project: Project,
    views: Mapping[str, pd.DataFrame],
    landmarks: Mapping[str, int],
    absent: Mapping[tuple[str, str], str] | None = None,
) -> Table:
    """A row for each view set; `views` and the number of `landmarks` are by data set.

    `absent` says for a (data set, view set), or (import, ""), why it has no data.
    """
    rows = [
        row
        for name in [*project.datasets, *project.imports]
        for row in (
            _rows(project, name, views[name], landmarks[name])
            if name in views
            else [_name(project, name)]
        )
    ]
    columns = [
        column("dataset_title"),
        column("view_set_title"),
        Column("role", "Used for"),
        column("evaluated_on"),
        column("patients"),
        Column("virtual_patients", "Virtual patients", digits=0),
        column("views"),
        Column("landmarks", "Landmarks", digits=0),
        Column("image", "Image", "px"),
        column("pixel_mm"),
        Column("angles", "LAO/RAO × CRAN/CAUD", "°"),
    ]
    notes = [
        "Virtual patients are deformed copies of a CT; they stay with the patient they came from.",
        "Angles: the range that the views span, positive towards LAO and cranial.",
        *missing_notes(project, ((*place, why) for place, why in (absent or {}).items())),
    ]
    return Table("Data sets", pd.DataFrame(rows), columns, project.scale, notes, ("dataset",))


def _name(project: Project, name: str) -> dict:
    """Return the row of an import whose data is not there."""
    return {"dataset": name, "dataset_title": project.title_of(name), "evaluated_on": NOT_PRESENT}


def _rows(project: Project, name: str, views: pd.DataFrame, landmarks: int) -> list[dict]:
    dataset = dataset_of(project, name)
    own = set(dataset.subjects if isinstance(dataset, Dataset) else views["subject"])
    trained_on = set()
    for view_set, settings in dataset.view_sets.items():
        if settings.role == "train":
            trained_on |= set(views.loc[views["view_set"] == view_set, "patient"])
    rows = []
    for view_set, settings in dataset.view_sets.items():
        shown = views[views["view_set"] == view_set]
        share = settings.field_of_view_share if isinstance(settings, ViewSet) else 1.0
        detector = detector_of(dataset.detector, share)
        row = _name(project, name) | {
            "view_set": view_set,
            "view_set_title": project.view_set_title(name, view_set),
            "role": settings.role,
        }
        rows.append(row)
        if shown.empty:
            continue
        seen = set(shown["patient"]) <= trained_on
        row.update(
            {
                "evaluated_on": "" if settings.role == "train" else (SEEN if seen else UNSEEN),
                "patients": shown["patient"].nunique(),
                "virtual_patients": len(set(shown["subject"]) - own),
                "views": len(shown),
                "landmarks": landmarks,
                "image": f"{detector.width_px} × {detector.height_px}",
                "pixel_mm": detector.pixel_mm,
                "angles": f"{_span(shown['primary_deg'])} × {_span(shown['secondary_deg'])}",
            }
        )
    return rows


def _span(angles: pd.Series) -> str:
    return f"{angles.min():.0f} to {angles.max():.0f}"


def _views(project: Project) -> dict[str, str]:
    """Return the tables of views, by data set."""
    there = [*present_datasets(project), *present_imports(project)]
    return {name: layout.VIEWS.format(dataset=name) for name in there}


def _needs(project: Project) -> list[str]:
    """List the tables of views, the landmark files, and what stands for the shards of imports."""
    imported = [file for name in present_imports(project) for file in shard_files(project, name)]
    landmarks = {dataset.landmarks for dataset in project.datasets.values()}
    return sorted({*_views(project).values(), *imported, *landmarks})


def _make(project: Project) -> Table:
    views = {name: read_views(path) for name, path in _views(project).items()}
    landmarks = {name: len(landmark_names(dataset_of(project, name))) for name in views}
    made = table(project, views, landmarks, dict(_absent(project)))
    return replace(made, notes=[*made.notes, *_by_atlas(project)])


def _by_atlas(project: Project) -> list[str]:
    """Say of which subjects the landmarks were carried over from another one's CT."""
    subjects = sorted({name for dataset in project.datasets.values() for name in dataset.subjects})
    rows = [project.sheet[name] for name in subjects]
    told = [f"{row.subject} (from {atlas_of(row)})" for row in rows if atlas_of(row)]
    return [f"Landmarks by atlas, not marked on the subject's own CT: {', '.join(told)}."] * bool(
        told
    )


def _absent(project: Project) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield every (data set, view set) without data, or (import, "") as a whole, and the reason."""
    for name, dataset in project.datasets.items():
        for view_set in dataset.view_sets:
            if reason := missing(project, project.sheet, name, view_set):
                yield (name, view_set), reason
    for name, settings in project.imports.items():
        if reason := missing_files(settings):
            yield (name, ""), reason


TABLE = TableRecord(
    about="which patients, virtual patients and views each set shows",
    caption="The data sets: how many patients, virtual patients, views and landmarks each view set "
    "shows, and whether its patients were trained on.",
    needs=_needs,
    make=_make,
)
