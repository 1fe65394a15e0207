"""What each step reads, by the names that its rule gives the files.

A rule asks before its files exist, the step when it runs; both ask here, so that a step never reads
what its rule does not wait for. Every function takes the project and the wildcards of the rule.
Tables and figures say themselves what they need (`raymark.tables`, `raymark.figures`).
"""

from pathlib import Path
from typing import Any

from raymark import layout
from raymark.config.project import Project
from raymark.config.subjects import ATLAS, atlas_of, calibrated_of, parent_of
from raymark.core.errors import InputError
from raymark.correspondence.config import Role, correspondence_of, cts_for, subjects_for
from raymark.ct.labels.names import SCHEMES
from raymark.datasets.lookup import (
    contrast_files,
    cts_of,
    file_of,
    labels_file,
    real_view_sets,
    rendered,
    shard_files,
    shard_files_with_role,
    shown_by,
    subject_of,
    view_sets_with_role,
)
from raymark.datasets.taking_part import verdict_files

# By the rule's names; a path, or a list of paths. Which of both, each function and its step know.
Files = dict[str, Any]
Number = int | str  # a seed or a shard as a step knows it, or as Snakemake's wildcards spell it


def import_calibrated(project: Project, calibrated: str, subject: str) -> Files:
    """The file of a calibrated data set, or all that its folder has of a subject."""
    file = project.named(project.calibrated, calibrated, "calibrated data set").file
    of_subject = Path(file) / subject
    return {"data": files_below(str(of_subject if Path(file).is_dir() else file))}


def ingest(project: Project, dataset: str, subject: str) -> Files:
    row = subject_of(project, subject)
    labels = [file_of(project, row.labels)] if row.labels else []
    table = [row.label_scheme] if row.label_scheme not in ("", *SCHEMES) else []
    return {"ct": file_of(project, row.ct), "labels": labels, "scheme": table}


def landmarks(project: Project, dataset: str, subject: str) -> Files:
    """The points, or the recipes that compute them from the labels, the CT, and the data set's names."""
    row, place = subject_of(project, subject), {"dataset": dataset, "subject": subject}
    files: Files = {
        "ct": layout.CT.format(**place),
        "points": file_of(project, row.landmarks),
        "names": rendered(project, dataset).landmarks,
        "verdict": layout.VERDICT.format(**place),
    }
    if row.landmarks.startswith("recipe:"):
        files["labels"] = layout.LABELS.format(**place)
    elif row.landmarks.lower().endswith("_ctd.json"):  # voxels of the CT as it came
        files["original"] = file_of(project, row.ct)
    return files


def atlas(project: Project, dataset: str, subject: str) -> Files:
    """The CT, the atlas's CT, labels and landmarks, and the data set's names."""
    laid = atlas_of(subject_of(project, subject))
    if laid is None:
        remedy = f"Give it `landmarks` of `{ATLAS}<subject>` in the subject sheet"
        raise InputError(subject, "has landmarks of its own, not by atlas", remedy)
    return {
        "ct": layout.CT.format(dataset=dataset, subject=subject),
        "atlas_ct": layout.CT.format(dataset=dataset, subject=laid),
        "atlas_labels": layout.LABELS.format(dataset=dataset, subject=laid),
        "atlas_landmarks": layout.LANDMARKS.format(dataset=dataset, subject=laid),
        "names": rendered(project, dataset).landmarks,
        "verdicts": verdict_files(dataset, [subject, laid]),
    }


def virtual_patient(project: Project, dataset: str, subject: str) -> Files:
    """The volume, labels and landmarks of the patient that is deformed, and the verdict on its CT."""
    place = {"dataset": dataset, "subject": parent_of(subject)}
    return {
        "ct": layout.CT.format(**place),
        "labels": labels_file(project, **place),
        "landmarks": layout.LANDMARKS.format(**place),
        "verdict": layout.VERDICT.format(**place),
    }


def views(project: Project, dataset: str) -> Files:
    settings = rendered(project, dataset)
    return {
        "landmarks": [
            layout.LANDMARKS.format(dataset=dataset, subject=subject)
            for subject in shown_by(project, dataset, *settings.view_sets)
        ],
        "names": settings.landmarks,
        "quality": [
            layout.QUALITY.format(dataset=dataset, subject=subject) for subject in settings.subjects
        ],
        "verdicts": verdict_files(dataset, settings.subjects),
        "real": shard_files(project, dataset, *real_view_sets(settings)),
    }


def render(project: Project, dataset: str, view_set: str, subject: str, shard: Number) -> Files:
    """The CT and its points, of real X-rays their own data too."""
    place, settings = {"dataset": dataset, "subject": subject}, rendered(project, dataset)
    view_set_settings = settings.view_sets.get(view_set)
    real = calibrated_of(subject_of(project, subject).ct)
    taken = view_set_settings is not None and view_set_settings.is_real and real
    return {
        "ct": layout.CT.format(**place),
        "landmarks": layout.LANDMARKS.format(**place),
        "names": settings.landmarks,
        "verdicts": verdict_files(dataset, [subject]),
        "xrays": import_calibrated(project, *real)["data"] if taken and real else [],
    }


def import_2d(project: Project, dataset: str) -> Files:
    """Every image and every file of annotations, splits and the like."""
    images, *others = project.imports[dataset].files
    return {
        "images": files_below(images),
        "annotations": [file for place in others for file in files_below(place)],
    }


def files_below(place: str) -> list[str]:
    """List a file, or all in a folder."""
    if not Path(place).is_dir():
        return [place]
    return sorted(str(file) for file in Path(place).rglob("*") if file.is_file())


def train(project: Project, dataset: str, method: str, seed: Number) -> Files:
    """The shards to learn from, the model that the training starts from or refines, landmark types."""
    first = project.named(project.methods, method, "method").first
    model = first and layout.MODEL.format(dataset=dataset, method=first, seed=seed)
    return {
        "train": shard_files_with_role(project, dataset, "train"),
        "validation": shard_files_with_role(project, dataset, "validation"),
        "first": [model] if model else [],
        "names": _landmark_file(project, dataset),
        "verdicts": _verdicts(
            project, dataset, *_with_role(project, dataset, "train", "validation")
        ),
    }


def predict(project: Project, dataset: str, method: str, seed: Number, view_set: str) -> Files:
    return {
        "model": layout.MODEL.format(dataset=dataset, method=method, seed=seed),
        "shards": shard_files(project, dataset, view_set),
        "verdicts": _verdicts(project, dataset, view_set),
    }


def evaluate(project: Project, dataset: str, method: str, seed: Number, view_set: str) -> Files:
    return _predicted(project, dataset, method, seed, view_set)


def mean_position(project: Project, dataset: str, view_set: str) -> Files:
    shown = *_with_role(project, dataset, "train"), view_set
    return {
        "train": shard_files_with_role(project, dataset, "train"),
        "shards": shard_files(project, dataset, view_set),
        "verdicts": _verdicts(project, dataset, *shown),
        "landmarks": _planned_by(project, dataset, *shown),
        "names": _landmark_file(project, dataset),
    }


def pose(project: Project, dataset: str, method: str, seed: Number, view_set: str) -> Files:
    return _predicted(project, dataset, method, seed, view_set) | {
        "cts": list(cts_of(project, dataset, view_set).values())
    }


def capture_range(project: Project, dataset: str, view_set: str) -> Files:
    return {
        "shards": shard_files(project, dataset, view_set),
        "verdicts": _verdicts(project, dataset, view_set),
        "cts": list(cts_of(project, dataset, view_set).values()),
    }


def setup_error(project: Project, dataset: str, method: str, seed: Number, view_set: str) -> Files:
    return _predicted(project, dataset, method, seed, view_set) | {
        "cts": list(cts_of(project, dataset, view_set).values()),
        "names": rendered(project, dataset).landmarks,
    }


def contrast(project: Project) -> Files:
    """The real patients that both beams see, and the published coefficients."""
    name = project.contrast.mv
    return contrast_files(project) | {
        "tabulated": project.contrast.tabulated,
        "verdicts": verdict_files(name, rendered(project, name).subjects),
    }


def correspondence_train(project: Project) -> Files:
    return _matched_cts(project, "train")


def correspondence_match(project: Project, matcher: str) -> Files:
    return _matched_cts(project, "test") | {
        "model": [layout.CORRESPONDENCE_MODEL] if matcher == "network" else []
    }


def correspondence_follow_up(project: Project) -> Files:
    """The test CTs with their labels, in which a contrast agent is simulated."""
    settings = correspondence_of(project)
    labels = [
        labels_file(project, dataset, subject)
        for dataset, subject in subjects_for("test", settings, project, project.sheet)
    ]
    files = {"labels": labels, "model": layout.CORRESPONDENCE_MODEL}
    return files | _matched_cts(project, "test")


def _matched_cts(project: Project, role: Role) -> Files:
    """The CTs whose slices are matched, and the verdicts on them."""
    subjects = subjects_for(role, correspondence_of(project), project, project.sheet)
    return {
        "cts": list(cts_for(role, project, project.sheet).values()),
        "verdicts": [file for name, subject in subjects for file in verdict_files(name, [subject])],
    }


def _predicted(project: Project, dataset: str, method: str, seed: Number, view_set: str) -> Files:
    """What predictions are compared with: the shards they are of, and what their views are planned by."""
    place = {"dataset": dataset, "method": method, "seed": seed, "view_set": view_set}
    return {
        "predictions": layout.PREDICTIONS.format(**place),
        "shards": shard_files(project, dataset, view_set),
        "verdicts": _verdicts(project, dataset, view_set),
        "landmarks": _planned_by(project, dataset, view_set),
        "names": _landmark_file(project, dataset),
    }


def _planned_by(project: Project, dataset: str, *view_sets: str) -> list[str]:
    """The landmarks by which `raymark.datasets.lookup.views_of` plans; imports have a table of views."""
    if dataset not in project.datasets:
        return []
    subjects = shown_by(project, dataset, *view_sets)
    return [layout.LANDMARKS.format(dataset=dataset, subject=subject) for subject in subjects]


def _verdicts(project: Project, dataset: str, *view_sets: str) -> list[str]:
    """The verdicts on the CTs that some view sets show."""
    if dataset not in project.datasets:
        return []
    return verdict_files(dataset, shown_by(project, dataset, *view_sets))


def _with_role(project: Project, dataset: str, *roles: str) -> list[str]:
    """The view sets of a rendered data set that are used for one of some roles."""
    settings = project.datasets.get(dataset)
    return [
        name for role in roles for name in (view_sets_with_role(settings, role) if settings else [])
    ]


def _landmark_file(project: Project, dataset: str) -> list[str]:
    """The landmark file, of whose types instances are named; imported images have none."""
    settings = project.datasets.get(dataset)
    return [settings.landmarks] if settings else []
