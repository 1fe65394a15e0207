"""Bier 2018, section 3.2, which gives no figures: how near each solution of a pose comes to the truth."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pandas as pd

from raymark import layout
from raymark.config.papers import read_paper
from raymark.config.project import Project
from raymark.datasets.available import NOT_PRESENT, Absence, absences, only_present
from raymark.evaluation.results import SEEN, UNSEEN
from raymark.pose.pose_table import MEASURES, read_poses
from raymark.tables._columns import column
from raymark.tables._rows import WHAT, missing_notes, place_of
from raymark.tables._summaries import captured, quartiles, share
from raymark.tables.base import Column, Table, TableRecord

SOLUTIONS = {
    "closed_form": "closed form",
    "robust": "robust",
    "robust_same": "robust, views refined below",
    "refined": "refined by the image",
}
FEW_POSES = 6  # down from which medians of two solutions are not compared


def table(project: Project, poses: pd.DataFrame, absent: Sequence[Absence] = ()) -> Table:
    """Errors of the poses, solution by solution.

    `absent` are the view sets whose poses were asked for and that have no data.
    """
    settings, limit = project.config.pose, project.config.pose.captured_mm
    keys = ["dataset", "view_set", "seen_in_training", "method"]
    rows = [
        _row(project, names, solution, part)
        for names, group in sorted(poses.groupby(keys, sort=True), key=_order(project))
        for solution, part in _solutions(group)
    ]
    rows += [
        _names(project, a.dataset, a.view_set, False, a.method)
        | {"solution_title": NOT_PRESENT, "same_views": False}
        for a in absent
    ]
    columns = [
        *WHAT,
        Column("solution_title", "Solution"),
        column("patients"),
        column("poses"),
        Column("share", "With a pose", "%", 1, 100, interval=True),
        Column("landmarks_used", "Landmarks used", digits=0),
        *(column(key, interval=True) for key in MEASURES),
        column("captured", limit, interval=True),
    ]
    notes = [
        "Errors are medians [lower, upper quartile] over the views that have a pose.",
        f"Pairs: landmarks with a belief above {settings.belief_threshold:g}, at least "
        f"{settings.least_landmarks} of them (Bier 2018); else a view has no pose.",
        "Rotation: angle between the estimated and the true orientation. Translation: displacement "
        "of the isocentre in the camera's frame. Reprojection: mean distance of the visible "
        "landmarks projected at both poses. mTRE: mean displacement of all landmarks in the "
        "camera's frame, depth included.",
        f"mTRE below {limit:g} mm: share of all views, those without a pose too.",
        f"Shares have {project.config.evaluation.confidence:.0%} intervals (Wilson), as if views were "
        "independent. They say nothing about other patients where there is one. Nothing is bold in "
        f"rows with {FEW_POSES} poses or fewer.",
        f"Refined: at most {settings.refined_views} views of a view set, evenly spread over those "
        "with a robust pose, against DRRs of the patient's own CT. The row above it shows the same "
        "views before.",
        *missing_notes(project, ((a.dataset, a.view_set, a.reason) for a in absent)),
    ]
    groups = ("dataset", "view_set", "evaluated_on", "method", "same_views")
    title, frame = "Pose of the X-ray", pd.DataFrame(rows)
    return Table(title, frame, columns, project.scale, notes, groups, few="few")


def _asking(project: Project) -> Project:
    """Return the project with the experiments alone that ask for poses."""
    return project.with_experiments(e for e in project.config.experiments if e.poses)


def _published(project: Project) -> list[str]:
    """Return what papers say of poses, of those that experiments with poses are printed beside."""
    return [note for name in _asking(project).papers() for note in read_paper(name).pose_notes]


def _solutions(group: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the rows of each solution, and those of the robust one on the views that were refined."""
    refined = group[group["solution"] == "refined"]
    solved = group[group["solution"] == "robust"]
    yield "closed_form", group[group["solution"] == "closed_form"]
    yield "robust", solved
    if len(refined):
        same = pd.MultiIndex.from_frame(refined[["seed", "view"]])
        yield "robust_same", solved[pd.MultiIndex.from_frame(solved[["seed", "view"]]).isin(same)]
        yield "refined", refined


def _row(project: Project, names: tuple, solution: str, part: pd.DataFrame) -> dict:
    found = part[part["reason"] == ""]
    row = _names(project, *names) | {
        "solution": solution,
        "solution_title": SOLUTIONS[solution],
        "same_views": solution in ("robust_same", "refined"),
        "patients": part["patient"].nunique(),
        "poses": len(part),
        "few": len(found) <= FEW_POSES,
        "landmarks_used": found["landmarks"].median(),
    }
    row |= share(project, "share", part["reason"] == "") | captured(project, part)
    for key in MEASURES:
        row |= quartiles(key, found[key])
    return row


def _names(project: Project, dataset: str, view_set: str, seen: bool, method: str) -> dict:
    names = {"method": method, "method_title": project.methods[method].title}
    return place_of(project, dataset, view_set, SEEN if seen else UNSEEN) | names


def _order(project: Project) -> Callable[[tuple], tuple]:
    datasets, methods = list(project.datasets), list(project.methods)
    return lambda item: (
        datasets.index(item[0][0]),
        list(project.datasets[item[0][0]].view_sets).index(item[0][1]),
        not item[0][2],
        methods.index(item[0][3]),
    )


def _files(project: Project) -> list[str]:
    places = only_present(project, project.sheet).pose_places()
    return sorted({layout.POSES.format(**place) for place in places})


def _make(project: Project) -> Table:
    asked = {(p["dataset"], p["method"], p["view_set"]) for p in project.pose_places()}
    absent = [
        a for a in absences(project, project.sheet) if (a.dataset, a.method, a.view_set) in asked
    ]
    made = table(project, read_poses(_files(project)), absent)
    return replace(made, notes=[*made.notes, *_published(project)])


TABLE = TableRecord(
    about="errors of the poses from landmarks, and after refinement (Bier 2018)",
    caption="Errors of each view's pose: from landmarks in closed form, robustly, and after "
    "refinement against the image. Bier 2018 (Section 3.2) describes the first and prints no figures.",
    needs=lambda project: [*_files(project), *_asking(project).paper_files()],
    make=_make,
    asked=lambda project: bool(project.pose_places()),
)
