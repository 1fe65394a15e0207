"""Tables of the material: CTs, and the data sets made from them."""

from collections.abc import Mapping

import pandas as pd

from raymark import layout
from raymark.config import Project
from raymark.tables.results import SEEN, UNSEEN, landmark_names
from raymark.tables.table import Column, Table
from raymark.views import read_views

VOXELS = ["voxels_x", "voxels_y", "voxels_z"]
SPACING = ["spacing_x_mm", "spacing_y_mm", "spacing_z_mm"]


def cts(quality: pd.DataFrame, label: str = "") -> Table:
    """What each CT is like; `quality` has the ingestion's columns and `dataset`."""
    frame = quality.copy()
    for grid in ("original", "volume"):
        frame[f"{grid}_grid"] = _product(frame, [f"{grid}_{name}" for name in VOXELS], "{:.0f}")
        frame[f"{grid}_spacing"] = _product(frame, [f"{grid}_{name}" for name in SPACING], "{:.3g}")
    columns = [
        Column("dataset", "Data set"),
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


def read_cts(project: Project) -> Table:
    """Make the table of CTs from the quality rows of all data sets."""
    tables = [
        pd.read_csv(layout.QUALITY.format(dataset=name, subject=subject)).assign(dataset=name)
        for name, dataset in project.datasets.items()
        for subject in dataset.subjects
    ]
    return cts(pd.concat(tables, ignore_index=True), _label(project))


def read_data(project: Project) -> Table:
    """Make the table of data sets from their views and landmark files."""
    views = {name: read_views(layout.VIEWS.format(dataset=name)) for name in project.datasets}
    landmarks = {name: len(landmark_names(d)) for name, d in project.datasets.items()}
    return data(project, views, landmarks)


def _label(project: Project) -> str:
    return "demo scale" if project.config.preset == "demo" else ""


def data(
    project: Project, views: Mapping[str, pd.DataFrame], landmarks: Mapping[str, int]
) -> Table:
    """What each view set shows; `views` and the number of `landmarks` are by data set."""
    rows = [
        row
        for name in project.datasets
        for row in _rows(project, name, views[name], landmarks[name])
    ]
    columns = [
        Column("dataset_title", "Data set"),
        Column("view_set", "View set"),
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
    ]
    return Table("Data sets", pd.DataFrame(rows), columns, _label(project), notes, ("dataset",))


def _rows(project: Project, name: str, views: pd.DataFrame, landmarks: int) -> list[dict]:
    dataset = project.datasets[name]
    detector = dataset.detector
    trained_on = set()
    for view_set, settings in dataset.view_sets.items():
        if settings.role == "train":
            trained_on |= set(views.loc[views["view_set"] == view_set, "patient"])
    rows = []
    for view_set, settings in dataset.view_sets.items():
        shown = views[views["view_set"] == view_set]
        subjects = set(shown["subject"])
        seen = set(shown["patient"]) <= trained_on
        rows.append(
            {
                "dataset": name,
                "dataset_title": dataset.title,
                "view_set": view_set,
                "role": settings.role,
                "evaluated_on": "" if settings.role == "train" else (SEEN if seen else UNSEEN),
                "patients": shown["patient"].nunique(),
                "virtual_patients": len(subjects - set(dataset.subjects)),
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
