"""Tables of the material: CTs, and the data sets made from them."""

from collections.abc import Iterator, Mapping

import pandas as pd

from raymark import layout
from raymark.config.dataset import Dataset
from raymark.config.project import Project
from raymark.config.subjects import Subject, read_subjects
from raymark.core.stored_tables import stored_table
from raymark.datasets.available import NOT_PRESENT, missing, missing_files
from raymark.datasets.lookup import dataset_of, landmark_names
from raymark.evaluation.results import SEEN, UNSEEN
from raymark.tables.base import Column, Table
from raymark.views.plan import detector_of, read_views

VOXELS = ["voxels_x", "voxels_y", "voxels_z"]
SPACING = ["spacing_x_mm", "spacing_y_mm", "spacing_z_mm"]


def cts(quality: pd.DataFrame, label: str = "") -> Table:
    """What each CT is like; `quality` has the ingestion's columns and `dataset_title`."""
    frame = quality.copy()
    for grid in ("original", "volume"):
        frame[f"{grid}_grid"] = _product(frame, [f"{grid}_{name}" for name in VOXELS], "{:.0f}")
        frame[f"{grid}_spacing"] = _product(frame, [f"{grid}_{name}" for name in SPACING], "{:.3g}")
    columns = [
        Column("dataset_title", "Data set"),
        Column("subject", "Subject"),
        Column("original_grid", "CT", "voxels"),
        Column("original_spacing", "Spacing", "mm"),
        Column("volume_grid", "Used", "voxels"),
        Column("volume_spacing", "Spacing", "mm"),
        Column("hu_min", "Lowest", "HU", 0),
        Column("hu_max", "Highest", "HU", 0),
        Column("padding_share", "Padding", "%", 1, 100),
        Column("metal_mm3", "Metal", "mm³", 0),
        Column("bone_share", "Bone", "%", 1, 100),
        Column("warnings", "Warnings"),
    ]
    notes = [
        "CT: as delivered. Used: after cropping and resampling as configured.",
        "Bone: share of the used volume at or above 200 HU. Metal: volume above 3000 HU.",
    ]
    return Table("CT volumes", frame, columns, label, notes)


def _quality(path: str) -> pd.DataFrame:
    return stored_table(path, "a row on a CT", "Make it again with raymark ingest", ("subject",))


def read_cts(project: Project) -> Table:
    """Make the table of CTs from the quality rows of all data sets."""
    tables = [
        _quality(layout.QUALITY.format(dataset=name, subject=subject)).assign(
            dataset=name, dataset_title=dataset.title
        )
        for name, dataset in project.datasets.items()
        for subject in dataset.subjects
    ]
    return cts(pd.concat(tables, ignore_index=True), project.scale)


def read_data(project: Project) -> Table:
    """Make the table of data sets from their views and landmark files."""
    absent = dict(_absent(project, read_subjects(project.config.subjects)))
    there = [n for n in [*project.datasets, *project.imports] if (n, "") not in absent]
    views = {name: read_views(layout.VIEWS.format(dataset=name)) for name in there}
    landmarks = {name: len(landmark_names(dataset_of(project, name))) for name in there}
    return data(project, views, landmarks, absent)


def _absent(
    project: Project, sheet: Mapping[str, Subject]
) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield every (data set, view set) without data, or (import, "") as a whole, and the reason."""
    for name, dataset in project.datasets.items():
        for view_set in dataset.view_sets:
            if reason := missing(project, sheet, name, view_set):
                yield (name, view_set), reason
    for name, settings in project.imports.items():
        if reason := missing_files(settings):
            yield (name, ""), reason


def data(
    project: Project,
    views: Mapping[str, pd.DataFrame],
    landmarks: Mapping[str, int],
    absent: Mapping[tuple[str, str], str] | None = None,
) -> Table:
    """What each view set shows; `views` and the number of `landmarks` are by data set.

    `absent` says for a (data set, view set), or (import, ""), why it has no data.
    """
    absent = absent or {}
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
        Column("dataset_title", "Data set"),
        Column("view_set_title", "View set"),
        Column("role", "Used for"),
        Column("evaluated_on", "Shows"),
        Column("patients", "Patients", digits=0),
        Column("virtual_patients", "Virtual patients", digits=0),
        Column("views", "Views", digits=0),
        Column("landmarks", "Landmarks", digits=0),
        Column("image", "Image", "px"),
        Column("pixel_mm", "Pixel", "mm", 3),
        Column("angles", "LAO/RAO × CRAN/CAUD", "°"),
    ]
    notes = [
        "Virtual patients are deformed copies of a CT; they stay with the patient they came from.",
        "Angles: the range that the views span, positive towards LAO and cranial.",
        *dict.fromkeys(
            f"{NOT_PRESENT.capitalize()}: {_place(project, *place)}: {reason}."
            for place, reason in absent.items()
        ),
    ]
    return Table("Data sets", pd.DataFrame(rows), columns, project.scale, notes, ("dataset",))


def _place(project: Project, dataset: str, view_set: str) -> str:
    title = project.title_of(dataset)
    return f"{title}, {project.view_set_title(dataset, view_set)}" if view_set else title


def _name(project: Project, name: str) -> dict:
    """Return the row of an import whose data is not there."""
    return {"dataset": name, "dataset_title": project.title_of(name), "evaluated_on": NOT_PRESENT}


def _rows(project: Project, name: str, views: pd.DataFrame, landmarks: int) -> list[dict]:
    dataset = dataset_of(project, name)
    rendered = isinstance(dataset, Dataset)
    own = set(dataset.subjects if rendered else views["subject"])
    trained_on = set()
    for view_set, settings in dataset.view_sets.items():
        if settings.role == "train":
            trained_on |= set(views.loc[views["view_set"] == view_set, "patient"])
    rows = []
    for view_set, settings in dataset.view_sets.items():
        shown = views[views["view_set"] == view_set]
        share = settings.field_of_view_share if rendered else 1.0
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


def _product(frame: pd.DataFrame, columns: list[str], number: str) -> list[str]:
    return [" × ".join(number.format(value) for value in row) for row in frame[columns].to_numpy()]
