"""How often the refinement of a pose ends near the truth, by how far from it it started."""

import numpy as np
import pandas as pd

from raymark import layout
from raymark.config.project import Project
from raymark.datasets.available import only_present
from raymark.metrics.pose import RELIABLE, capture_range_mm
from raymark.pose.pose_table import CAPTURE_SCHEMA, read_poses
from raymark.tables._columns import column
from raymark.tables._summaries import captured, quartiles
from raymark.tables.base import Column, Table, TableRecord


def table(project: Project, starts: pd.DataFrame) -> Table:
    """A row for each distance of the starts, `starts` as the workflow wrote them."""
    rows = [
        {
            "dataset": dataset,
            "dataset_title": project.title_of(dataset),
            "view_set": view_set,
            "view_set_title": project.view_set_title(dataset, view_set),
            "start": f"{low:g} to {high:g}",
            "starts": len(part),
            "subjects": part["subject"].nunique(),
            **captured(project, part),
            **quartiles("mtre_mm", part["mtre_mm"]),
        }
        for (dataset, view_set, low, high), part in starts.groupby(
            ["dataset", "view_set", "from_mm", "to_mm"], sort=True
        )
    ]
    near = column("captured", project.config.pose.captured_mm, digits=0, interval=True, best=None)
    columns = [
        column("dataset_title"),
        column("view_set_title"),
        Column("start", "mTRE at the start", "mm"),
        column("subjects"),
        Column("starts", "Starts", digits=0),
        near,
        column("mtre_mm", title="mTRE at the end", digits=2, interval=True, best=None),
    ]
    notes = [
        *(
            f"Capture range of {project.title_of(dataset)}, {project.view_set_title(dataset, name)}: "
            f"{_reach(project, part)}."
            for (dataset, name), part in starts.groupby(["dataset", "view_set"], sort=True)
        ),
        f"Capture range: up to where the share first falls below {RELIABLE:.0%} (van de Kraats et al. "
        "2005). A row counts as above or below where its whole interval is.",
        f"{near.title}: share of the starts that end there, and its "
        f"{project.config.evaluation.confidence:.0%} interval (Wilson).",
        "Starts: true poses turned and shifted in random directions, a degree as likely as a "
        "millimetre. No landmark detector takes part.",
        "mTRE at the end: median [lower, upper quartile] over the starts.",
        "The X-rays are rendered from the same CT that they are registered to, by another "
        "projector, with a spectrum and noise; real X-rays are harder.",
    ]
    title, frame = "Capture range of the refinement", pd.DataFrame(rows)
    return Table(title, frame, columns, project.scale, notes, ("dataset", "view_set"))


def _reach(project: Project, starts: pd.DataFrame) -> str:
    """Say what the intervals of one view set's shares tell of the capture range."""
    bins = {to: captured(project, part) for to, part in starts.groupby("to_mm", sort=True)}
    low, high = ([row[f"captured_{end}"] for row in bins.values()] for end in ("low", "high"))
    at_least, at_most = capture_range_mm(list(bins), low, high)
    if at_least == at_most:
        return f"{at_least:g} mm"
    if at_least == 0 and at_most == np.inf:
        return f"not decided by {starts.groupby('to_mm').size().min()} starts a row"
    limits = [f"at least {at_least:g} mm"] if at_least else []
    limits += [f"at most {at_most:g} mm"] if at_most < np.inf else []
    return ", ".join(limits)


def _files(project: Project) -> list[str]:
    places = only_present(project, project.sheet).capture_places()
    return sorted({layout.CAPTURE_RANGE.format(**place) for place in places})


def _make(project: Project) -> Table:
    return table(project, read_poses(_files(project), CAPTURE_SCHEMA))


TABLE = TableRecord(
    about="how often refinement of a pose finds back, by how far off it starts",
    caption="How often the refinement of a pose ends near the truth, by how far from it it started.",
    needs=_files,
    make=_make,
    asked=lambda project: bool(project.capture_places()),
)
