"""What each CT is like."""

import pandas as pd

from raymark import layout
from raymark.config.project import Project
from raymark.core.stored_tables import stored_table
from raymark.datasets.available import present_datasets
from raymark.tables._columns import column
from raymark.tables.base import Column, Table, TableRecord

VOXELS = ["voxels_x", "voxels_y", "voxels_z"]
SPACING = ["spacing_x_mm", "spacing_y_mm", "spacing_z_mm"]


def table(quality: pd.DataFrame, label: str = "") -> Table:
    """A row for each CT of a data set; `quality` has the ingestion's columns and `dataset_title`."""
    frame = quality.copy()
    for grid in ("original", "volume"):
        frame[f"{grid}_grid"] = _product(frame, [f"{grid}_{name}" for name in VOXELS], "{:.0f}")
        frame[f"{grid}_spacing"] = _product(frame, [f"{grid}_{name}" for name in SPACING], "{:.3g}")
    columns = [
        column("dataset_title"),
        Column("subject", "Subject"),
        Column("original_grid", "CT", "voxels"),
        Column("original_spacing", "Spacing of the CT", "mm"),
        Column("volume_grid", "Used", "voxels"),
        Column("volume_spacing", "Spacing as used", "mm"),
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


def _product(frame: pd.DataFrame, columns: list[str], number: str) -> list[str]:
    return [" × ".join(number.format(value) for value in row) for row in frame[columns].to_numpy()]


def _files(project: Project) -> dict[str, str]:
    """Return the name of each CT's data set, by the file of its quality row."""
    return {
        layout.QUALITY.format(dataset=name, subject=subject): name
        for name in present_datasets(project)
        for subject in project.datasets[name].subjects
    }


def _make(project: Project) -> Table:
    again = "Make it again with raymark ingest"
    tables = [
        stored_table(path, "a row on a CT", again, ("subject",)).assign(
            dataset=name, dataset_title=project.title_of(name)
        )
        for path, name in _files(project).items()
    ]
    return table(pd.concat(tables, ignore_index=True), project.scale)


TABLE = TableRecord(
    about="what each CT is like, and what the ingestion noticed",
    caption="The CT volumes as delivered and as used, with what the ingestion noticed about them.",
    needs=lambda project: list(_files(project)),
    make=_make,
    asked=lambda project: bool(present_datasets(project)),
)
