"""Tables of poses: how near each stage comes, and from how far refinement finds back."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from raymark import layout
from raymark.config.project import Project
from raymark.config.subjects import read_subjects
from raymark.datasets.available import NOT_PRESENT, Absence, absences, only_present
from raymark.evaluation.results import SEEN, UNSEEN
from raymark.metrics.bootstrap import wilson_interval
from raymark.metrics.pose import RELIABLE, capture_range_mm
from raymark.tables.base import Column, Table

STAGES = {
    "closed_form": "closed form",
    "robust": "robust",
    "robust_same": "robust, views refined below",
    "refined": "refined by the image",
}
FEW_POSES = 6  # down from which medians of two stages are not compared
MEASURES = {
    "rotation_deg": ("Rotation", "°", 2),
    "translation_mm": ("Translation", "mm", 1),
    "reprojection_px": ("Reprojection", "px", 2),
    "mtre_mm": ("mTRE", "mm", 1),
}


def pose(project: Project, poses: pd.DataFrame, absent: Sequence[Absence] = ()) -> Table:
    """Bier 2018, section 3.2, which gives no figures: errors of the poses, stage by stage.

    `absent` are the view sets whose poses were asked for and that have no data.
    """
    limit = project.config.pose.captured_mm
    keys = ["dataset", "view_set", "seen_in_training", "method"]
    rows = [
        _pose_row(project, names, stage, part)
        for names, group in sorted(poses.groupby(keys, sort=True), key=_order(project))
        for stage, part in _stages(group)
    ]
    rows += [
        _names(project, a.dataset, a.view_set, False, a.method)
        | {"stage_title": NOT_PRESENT, "same_views": False}
        for a in absent
    ]
    columns = [
        *_what(),
        Column("method_title", "Method"),
        Column("stage_title", "Stage"),
        Column("patients", "Patients", digits=0),
        Column("views", "Views", digits=0),
        Column("share", "With a pose", "%", 1, 100, interval=True),
        Column("landmarks", "Landmarks used", digits=0),
        *(Column(k, *how, interval=True, best="min") for k, how in MEASURES.items()),
        Column("captured", f"mTRE below {limit:g} mm", "%", 1, 100, interval=True, best="max"),
    ]
    settings = project.config.pose
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
        *dict.fromkeys(
            f"{NOT_PRESENT.capitalize()}: {project.title_of(a.dataset)}, "
            f"{project.view_set_title(a.dataset, a.view_set)}: {a.reason}."
            for a in absent
        ),
    ]
    groups = ("dataset", "view_set", "evaluated_on", "method", "same_views")
    title = "Pose of the X-ray"
    frame = pd.DataFrame(rows)
    return Table(title, frame, columns, project.scale, notes, groups, few="few")


def capture_range(project: Project, starts: pd.DataFrame) -> Table:
    """How often refinement ends near the truth, by how far from it it started."""
    limit = project.config.pose.captured_mm
    rows = []
    for (dataset, view_set, low, high), part in starts.groupby(
        ["dataset", "view_set", "from_mm", "to_mm"], sort=True
    ):
        rows.append(
            {
                "dataset": dataset,
                "dataset_title": project.datasets[dataset].title,
                "view_set": view_set,
                "view_set_title": project.view_set_title(dataset, view_set),
                "start": f"{low:g} to {high:g}",
                "starts": len(part),
                "subjects": part["subject"].nunique(),
                **_captured(project, part),
                **_quartiles("mtre_mm", part["mtre_mm"]),
            }
        )
    columns = [
        *_what()[:2],
        Column("start", "mTRE at the start", "mm"),
        Column("subjects", "CTs", digits=0),
        Column("starts", "Starts", digits=0),
        Column("captured", f"Ends below {limit:g} mm", "%", 0, 100, interval=True),
        Column("mtre_mm", "mTRE at the end", "mm", 2, interval=True),
    ]
    notes = [
        *(
            f"Capture range of {project.title_of(dataset)}, {project.view_set_title(dataset, name)}: "
            f"{_reach(project, part)}."
            for (dataset, name), part in starts.groupby(["dataset", "view_set"], sort=True)
        ),
        f"Capture range: up to where the share first falls below {RELIABLE:.0%} (van de Kraats et al. "
        "2005). A row counts as above or below where its whole interval is.",
        f"Ends below: share and its {project.config.evaluation.confidence:.0%} interval (Wilson).",
        "Starts: true poses turned and shifted in random directions, a degree as likely as a "
        "millimetre. No landmark detector takes part.",
        "mTRE at the end: median [lower, upper quartile] over the starts.",
        "The X-rays are rendered from the same CT that they are registered to, by another "
        "projector, with a spectrum and noise; real X-rays are harder.",
    ]
    title = "Capture range of the refinement"
    return Table(title, pd.DataFrame(rows), columns, project.scale, notes, ("dataset", "view_set"))


def read_pose(project: Project) -> Table:
    """Make the table of poses from what the workflow wrote."""
    from raymark.pose.estimate import read_poses

    sheet = read_subjects(project.config.subjects)
    places = only_present(project, sheet).pose_places()
    asked = {(p["dataset"], p["method"], p["view_set"]) for p in project.pose_places()}
    absent = [a for a in absences(project, sheet) if (a.dataset, a.method, a.view_set) in asked]
    poses = read_poses(sorted({layout.POSES.format(**p) for p in places}))
    return pose(project, poses, absent)


def read_capture_range(project: Project) -> Table:
    """Make the table of the capture range from what the workflow wrote."""
    from raymark.pose.estimate import CAPTURE_SCHEMA, read_poses

    places = only_present(project, read_subjects(project.config.subjects)).capture_places()
    paths = {layout.CAPTURE_RANGE.format(**p) for p in places}
    return capture_range(project, read_poses(sorted(paths), CAPTURE_SCHEMA))


def _reach(project: Project, starts: pd.DataFrame) -> str:
    """Say what the intervals of one view set's shares tell of the capture range."""
    bins = {to: _captured(project, part) for to, part in starts.groupby("to_mm", sort=True)}
    low, high = ([row[f"captured_{end}"] for row in bins.values()] for end in ("low", "high"))
    at_least, at_most = capture_range_mm(list(bins), low, high)
    if at_least == at_most:
        return f"{at_least:g} mm"
    if at_least == 0 and at_most == np.inf:
        return f"not decided by {starts.groupby('to_mm').size().min()} starts a row"
    limits = [f"at least {at_least:g} mm"] if at_least else []
    limits += [f"at most {at_most:g} mm"] if at_most < np.inf else []
    return ", ".join(limits)


def _captured(project: Project, starts: pd.DataFrame) -> dict[str, float]:
    return _share(project, "captured", starts["mtre_mm"] < project.config.pose.captured_mm)


def _share(project: Project, key: str, right: pd.Series) -> dict[str, float]:
    confidence = project.config.evaluation.confidence
    low, high = wilson_interval(int(right.sum()), len(right), confidence)
    return {key: float(right.mean()), f"{key}_low": low, f"{key}_high": high}


def _stages(group: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the rows of each stage, and those of the robust one on the views that were refined."""
    refined = group[group["stage"] == "refined"]
    solved = group[group["stage"] == "robust"]
    yield "closed_form", group[group["stage"] == "closed_form"]
    yield "robust", solved
    if len(refined):
        same = pd.MultiIndex.from_frame(refined[["seed", "view"]])
        yield "robust_same", solved[pd.MultiIndex.from_frame(solved[["seed", "view"]]).isin(same)]
        yield "refined", refined


def _pose_row(project: Project, names: tuple, stage: str, part: pd.DataFrame) -> dict:
    dataset, view_set, seen, method = names
    found = part[part["reason"] == ""]
    row = _names(project, dataset, view_set, seen, method) | {
        "stage": stage,
        "stage_title": STAGES[stage],
        "same_views": stage in ("robust_same", "refined"),
        "patients": part["patient"].nunique(),
        "views": len(part),
        "few": len(found) <= FEW_POSES,
        "landmarks": found["landmarks"].median(),
    }
    row |= _share(project, "share", part["reason"] == "") | _captured(project, part)
    for key in MEASURES:
        row |= _quartiles(key, found[key])
    return row


def _names(project: Project, dataset: str, view_set: str, seen: bool, method: str) -> dict:
    return {
        "dataset": dataset,
        "dataset_title": project.title_of(dataset),
        "view_set": view_set,
        "view_set_title": project.view_set_title(dataset, view_set),
        "evaluated_on": SEEN if seen else UNSEEN,
        "method": method,
        "method_title": project.methods[method].title,
    }


def _quartiles(key: str, values: pd.Series) -> dict[str, float]:
    known = values.dropna()
    low, middle, high = known.quantile([0.25, 0.5, 0.75]) if len(known) else [np.nan] * 3
    return {key: middle, f"{key}_low": low, f"{key}_high": high}


def _order(project: Project):
    datasets, methods = list(project.datasets), list(project.methods)
    return lambda item: (
        datasets.index(item[0][0]),
        list(project.datasets[item[0][0]].view_sets).index(item[0][1]),
        not item[0][2],
        methods.index(item[0][3]),
    )


def _what() -> list[Column]:
    return [
        Column("dataset_title", "Data set"),
        Column("view_set_title", "View set"),
        Column("evaluated_on", "Evaluated on"),
    ]
