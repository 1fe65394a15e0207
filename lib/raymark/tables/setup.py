"""The table of set-up errors: registration by landmarks, by mutual information, and none."""

from dataclasses import replace

import numpy as np
import pandas as pd

from raymark import layout
from raymark.config.project import Project
from raymark.config.subjects import read_subjects
from raymark.core.seeds import generator
from raymark.datasets.available import absences, only_present
from raymark.evaluation.results import SEEN, UNSEEN
from raymark.metrics import errors
from raymark.metrics.bootstrap import Clusters, interval
from raymark.metrics.permutation import paired_test
from raymark.metrics.ratio import Ratio
from raymark.radiotherapy.setup_table import (
    INTENSITY,
    LANDMARKS,
    NOTHING,
    REGISTRATIONS,
    read_setup,
)
from raymark.tables.base import Column, Table
from raymark.tables.rows import clusters, interval_note

TITLES = {INTENSITY: "Mutual information (MV, kV DRR)", NOTHING: "None: the displacement itself"}
GROUPS = ("dataset", "view_set", "evaluated_on", "method")


def setup(project: Project, measured: pd.DataFrame) -> Table:
    """Set-up errors of every experiment that asks for them; `measured` as `read_setup` gives it."""
    keys = ["dataset", "view_set", "seen_in_training", "method"]
    rows = [
        _row(project, names, registration, group)
        for names, group in measured.groupby(keys, sort=True)
        for registration in REGISTRATIONS
    ]
    settings = project.config.setup
    within = [
        Column(f"within_{t:g}_mm", f"≤ {t:g} mm", "%", 1, 100, interval=True, best="max")
        for t in settings.within_mm
    ]
    columns = [
        Column("dataset_title", "Data set"),
        Column("view_set_title", "View set"),
        Column("evaluated_on", "Evaluated on"),
        Column("registration_title", "Registration"),
        Column("registered", "Registered", "%", 1, 100),
        Column("error_mm", "Set-up error", "mm", 2, spread="sd_mm", interval=True, best="min"),
        Column("median_mm", "Median", "mm", 2, best="min"),
        Column("p95_mm", "95th percentile", "mm", 2, best="min"),
        *within,
        Column("error_x_mm", "x", "mm", 2, spread="sd_x_mm"),
        Column("error_y_mm", "y", "mm", 2, spread="sd_y_mm"),
        Column("landmarks", "Landmarks", digits=1),
        Column("difference_mm", "Against mutual information", "mm", 2, interval=True),
        Column("p", "p", digits=4),
        Column("patients", "Patients", digits=0),
        Column("views", "Views", digits=0),
        Column("ci_over", "Interval over"),
    ]
    title = "Set-up error from one treatment image"
    label = project.scale
    return Table(title, pd.DataFrame(rows), columns, label, _notes(project), GROUPS)


def read_setup_table(project: Project) -> Table:
    """Make the table from what the workflow wrote."""
    sheet = read_subjects(project.config.subjects)
    places = only_present(project, sheet).setup_places()
    table = setup(project, read_setup(sorted({layout.SETUP.format(**p) for p in places})))
    asked = {(p["dataset"], p["method"]) for p in project.setup_places()}
    missing = [a for a in absences(project, sheet) if (a.dataset, a.method) in asked]
    return replace(table, notes=[*table.notes, *map(str, missing)])


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
    row = {
        "dataset": dataset,
        "dataset_title": project.title_of(dataset),
        "view_set": view_set,
        "view_set_title": project.view_set_title(dataset, view_set),
        "evaluated_on": SEEN if seen else UNSEEN,
        "method": method,
        "registration": registration,
        "registration_title": titles[registration],
        "registered": len(known) / len(part),
        "sd_mm": errors.standard_deviation(error_mm),
        "median_mm": errors.median(error_mm),
        "p95_mm": float(np.quantile(known, 0.95)) if known.size else np.nan,
        "landmarks": part["landmarks"].mean() if registration == LANDMARKS else np.nan,
        "patients": part["patient"].nunique(),
        "views": part["view"].nunique(),
        "ci_over": groups.kind,
    }
    for axis in "xy":
        signed = part[f"error_{axis}_mm"].dropna()
        row |= {f"error_{axis}_mm": signed.mean(), f"sd_{axis}_mm": signed.std(ddof=0)}
    metrics = {"error_mm": errors.mean_radial_error(error_mm)}
    for limit in project.config.setup.within_mm:
        metrics[f"within_{limit:g}_mm"] = errors.success_rate(error_mm, limit)
    for name, metric in metrics.items():
        row |= _with_interval(project, (*names, registration), name, metric, groups)
    return row | _against_intensity(project, names, registration, group)


def _with_interval(project: Project, names, name: str, metric: Ratio, groups: Clusters) -> dict:
    evaluation = project.config.evaluation
    low, high = interval(
        metric,
        groups,
        resamplings=evaluation.bootstrap,
        confidence=evaluation.confidence,
        rng=generator("bootstrap", "setup", *names, name),
    )
    return {name: metric.value, f"{name}_low": low, f"{name}_high": high}


def _against_intensity(project: Project, names, registration: str, group: pd.DataFrame) -> dict:
    """Compare a registration with mutual information, view by view, where both have a result."""
    nothing = dict.fromkeys(
        ["difference_mm", "difference_mm_low", "difference_mm_high", "p"], np.nan
    )
    views = group.set_index(["seed", "view"])
    other = views.loc[views["registration"] == INTENSITY, "error_mm"].rename("other_mm")
    paired = views[views["registration"] == registration].join(other)
    paired = paired.dropna(subset=["error_mm", "other_mm"]).reset_index()
    if registration == INTENSITY or paired.empty:
        return nothing
    difference = (paired["error_mm"] - paired["other_mm"]).to_numpy()
    groups = clusters(paired)
    names = (*names, registration)
    ratio = Ratio(difference, np.ones(len(difference)))
    row = _with_interval(project, names, "difference_mm", ratio, groups)
    test = paired_test(
        difference,
        groups,
        permutations=project.config.evaluation.permutations,
        rng=generator("permutation", "setup", *names),
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
        "Against mutual information: mean difference of the errors on the same views, below zero "
        "where mutual information is worse; p of a paired permutation test that exchanges what "
        "the column *Interval over* names.",
        interval_note(evaluation),
    ]
