"""Set-up errors: registration by landmarks, by mutual information, and none."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from raymark import layout
from raymark.config.project import Project
from raymark.config.results import Evaluation
from raymark.core.seeds import generator
from raymark.datasets.available import Absence, absences, only_present
from raymark.evaluation.results import SEEN, UNSEEN
from raymark.metrics import errors
from raymark.metrics.permutation import paired_test
from raymark.metrics.ratio import Ratio
from raymark.radiotherapy.setup_table import (
    INTENSITY,
    LANDMARKS,
    NOTHING,
    REGISTRATIONS,
    read_setup,
)
from raymark.tables._columns import column
from raymark.tables._rows import (
    PLACE,
    clusters,
    interval_note,
    missing_notes,
    place_of,
    with_interval,
)
from raymark.tables.base import Column, Table, TableRecord, chapter_of_setup

TITLES = {INTENSITY: "Mutual information (MV, kV DRR)", NOTHING: "None: the displacement itself"}
GROUPS = ("dataset", "view_set", "evaluated_on", "method")
ERROR = "setup_error_isocentre_mm"
DIFFERENCE = "minus_mutual_information_isocentre_mm"


def table(project: Project, measured: pd.DataFrame, absent: Sequence[Absence] = ()) -> Table:
    """Set-up errors of every experiment that asks for them; `measured` as `read_setup` gives it.

    `absent` are those that have no data.
    """
    keys = ["dataset", "view_set", "seen_in_training", "method"]
    rows = [
        _row(project, names, registration, group)
        for names, group in measured.groupby(keys, sort=True)
        for registration in REGISTRATIONS
    ]
    columns = [
        *PLACE,
        Column("registration_title", "Registration"),
        Column("registered", "Registered", "%", 1, 100),
        column(ERROR, spread=f"sd_{ERROR}", interval=True),
        column(ERROR, key=f"median_{ERROR}", title="Median at isocentre"),
        column(ERROR, key=f"p95_{ERROR}", title="95th percentile at isocentre"),
        *(
            column("within_{t}_isocentre_mm", t, interval=True)
            for t in project.config.setup.within_mm
        ),
        *(
            Column(key, f"{key[0]} at isocentre", "mm", 2, spread=f"sd_{key}")
            for key in ("x_isocentre_mm", "y_isocentre_mm")
        ),
        Column("landmarks_agreeing", "Landmarks agreeing", digits=1),
        Column(DIFFERENCE, "Minus mutual information at isocentre", "mm", 2, interval=True),
        column("p"),
        column("patients"),
        column("views"),
        column("ci_over"),
    ]
    gone = ((a.dataset, a.view_set, a.reason) for a in absent)
    notes = [*_notes(project), *missing_notes(project, gone)]
    title, frame = "Set-up error from one treatment image", pd.DataFrame(rows)
    return Table(title, frame, columns, project.scale, notes, GROUPS)


def registration_titles(method_title: str) -> dict[str, str]:
    """Return what tables and figures call the registrations, in order."""
    return {LANDMARKS: f"Landmarks ({method_title})"} | TITLES


def _row(project: Project, names: tuple, registration: str, group: pd.DataFrame) -> dict:
    dataset, view_set, seen, method = names
    part = group[group["registration"] == registration]
    error_mm = part["error_mm"].to_numpy()
    known = error_mm[np.isfinite(error_mm)]
    groups = clusters(part)
    titles = registration_titles(project.methods[method].title)
    row = place_of(project, dataset, view_set, SEEN if seen else UNSEEN) | {
        "method": method,
        "registration": registration,
        "registration_title": titles[registration],
        "registered": len(known) / len(part),
        f"sd_{ERROR}": errors.standard_deviation(error_mm),
        f"median_{ERROR}": errors.median(error_mm),
        f"p95_{ERROR}": float(np.quantile(known, 0.95)) if known.size else np.nan,
        "landmarks_agreeing": part["landmarks"].mean() if registration == LANDMARKS else np.nan,
        "patients": part["patient"].nunique(),
        "views": part["view"].nunique(),
        "ci_over": groups.kind,
    }
    for axis in "xy":
        signed, key = part[f"error_{axis}_mm"].dropna(), f"{axis}_isocentre_mm"
        row |= {key: signed.mean(), f"sd_{key}": signed.std(ddof=0)}
    evaluation, stream = project.config.evaluation, ("setup", *names, registration)
    mean = errors.mean_radial_error(error_mm)
    row |= with_interval(evaluation, ERROR, mean, groups, *stream, "error_mm")
    for t in project.config.setup.within_mm:
        key, within = f"within_{t:g}_isocentre_mm", errors.success_rate(error_mm, t)
        row |= with_interval(evaluation, key, within, groups, *stream, f"within_{t:g}_mm")
    return row | _against_intensity(evaluation, stream, registration, group)


def _against_intensity(
    evaluation: Evaluation, stream: tuple, registration: str, group: pd.DataFrame
) -> dict:
    """Compare a registration with mutual information, view by view, where both have a result."""
    views = group.set_index(["seed", "view"])
    other = views.loc[views["registration"] == INTENSITY, "error_mm"].rename("other_mm")
    paired = views[views["registration"] == registration].join(other)
    paired = paired.dropna(subset=["error_mm", "other_mm"]).reset_index()
    if registration == INTENSITY or paired.empty:
        return dict.fromkeys([DIFFERENCE, f"{DIFFERENCE}_low", f"{DIFFERENCE}_high", "p"], np.nan)
    difference = (paired["error_mm"] - paired["other_mm"]).to_numpy()
    groups, mean = clusters(paired), Ratio(difference, np.ones(len(difference)))
    row = with_interval(evaluation, DIFFERENCE, mean, groups, *stream, "difference_mm")
    test = paired_test(
        difference,
        groups,
        permutations=evaluation.permutations,
        rng=generator("permutation", *stream),
    )
    return row | {"p": test.p if groups.count > 1 else np.nan}


def _notes(project: Project) -> list[str]:
    settings, evaluation = project.config.setup, project.config.evaluation
    beams = {p["dataset"]: project.title_of(p["reference"]) for p in project.setup_places()}
    shown = "; ".join(f"{project.title_of(n)} to {beam}" for n, beam in beams.items())
    most = settings.registered_views
    return [
        f"Registered, image to reference: {shown}. The reference is the patient's own CT at the "
        "planned position, seen without noise; the beam's angles and distances are known, the "
        "patient is shifted, not turned (docs/radiotherapy.md).",
        "Set-up error: distance of the estimated from the true displacement in the image plane at "
        "the isocentre's depth, mean ± sd [interval]. x (image's right), y (down): estimated minus "
        "true, mean ± sd. One image does not show the displacement along its rays.",
        f"Landmarks: the displacement on which most agree within {settings.inlier_mm:g} mm, at least "
        f"{settings.least_landmarks}; their mean number is told. A view with fewer is not registered: "
        "no error, a miss for the shares.",
        "Mutual information: all pixels, translation, from no displacement, three resolutions. MV "
        "image and reference come from the same CT: the anatomy is the same to the voxel, an "
        "advantage that a patient on another day does not offer.",
        f"{'All' if most is None else f'At most {most}'} views of a view set, evenly spread; all "
        "registrations on the same ones.",
        "Minus mutual information: mean difference of the errors on the same views, below zero "
        "where mutual information is worse; p of a paired permutation test that exchanges what "
        "the column *Interval over* names.",
        interval_note(evaluation),
    ]


def _files(project: Project) -> list[str]:
    places = only_present(project, project.sheet).setup_places()
    return sorted({layout.SETUP.format(**place) for place in places})


def _make(project: Project) -> Table:
    asked = {(place["dataset"], place["method"]) for place in project.setup_places()}
    gone = absences(project, project.sheet)
    absent = [a for a in gone if (a.dataset, a.method) in asked]
    return table(project, read_setup(_files(project)), absent)


TABLE = TableRecord(
    about="set-up errors by landmarks, by mutual information, and without registration (LandmarkNet)",
    caption="Set-up errors from one treatment image, by landmarks, by mutual information and without "
    "registration.",
    needs=_files,
    make=_make,
    asked=lambda project: bool(project.setup_places()),
    chapter=chapter_of_setup,
)
