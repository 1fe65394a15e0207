"""What a configuration asks for and this machine has no data for.

An import whose images or annotations are not there, a calibrated data set whose file is not, and a view set to evaluate on whose split has no
subject, are no mistakes: everything else runs, and tables say what is missing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from raymark.config.dataset import Dataset
from raymark.config.imports import Import2d
from raymark.config.project import Project
from raymark.config.results import Experiment
from raymark.config.subjects import Subject, calibrated_of
from raymark.views.plan import split_in

NOT_PRESENT = "data not present"


@dataclass(frozen=True)
class Absence:
    """One view set that an experiment would be evaluated on, and why it cannot be."""

    dataset: str
    method: str
    view_set: str
    reason: str

    def __str__(self) -> str:
        return f"{self.dataset}, {self.view_set}: {NOT_PRESENT}: {self.reason}"


def present(project: Project, sheet: Mapping[str, Subject]) -> list[Experiment]:
    """List the experiments that can run, with only the view sets that there is data for."""
    kept = []
    for experiment in project.config.experiments:
        there = {
            v for v in experiment.evaluate if not missing(project, sheet, experiment.dataset, v)
        }
        view_sets = {
            "evaluate": [v for v in experiment.evaluate if v in there],
            "poses": [v for v in experiment.poses if v in there],
            "capture_range": [
                v
                for v in experiment.capture_range
                if not missing(project, sheet, experiment.dataset, v)
            ],
        }
        if there or not experiment.evaluate:  # trained, no more
            kept.append(experiment.model_copy(update=view_sets))
    return kept


def only_present(project: Project, sheet: Mapping[str, Subject]) -> Project:
    """Return the project with only the experiments that can run."""
    return project.with_experiments(present(project, sheet))


def absences(project: Project, sheet: Mapping[str, Subject]) -> list[Absence]:
    """List what was asked for and has no data, in the configuration's order."""
    wanted = [(e, v) for e in project.config.experiments for v in e.evaluate]
    reasons = [missing(project, sheet, e.dataset, v) for e, v in wanted]
    return [
        Absence(e.dataset, e.method, v, reason)
        for (e, v), reason in zip(wanted, reasons, strict=True)
        if reason
    ]


def missing(project: Project, sheet: Mapping[str, Subject], dataset: str, view_set: str) -> str:
    """Say what data a view set lacks and what to do about it; empty where it is all there."""
    if dataset in project.imports:
        return missing_files(project.imports[dataset])
    settings = project.datasets[dataset]
    if reason := missing_calibrated(project, sheet, settings):
        return reason
    shown, subjects = settings.view_sets[view_set], settings.subjects
    splits = {split_in(settings, sheet[subject]) for subject in subjects if subject in sheet}
    if shown.role != "evaluate" or shown.of in splits:
        return ""
    return (
        f"no subject of this data set is in the split {shown.of!r}; add one to the sheet of "
        "subjects and to `subjects` of the data set"
    )


def missing_calibrated(project: Project, sheet: Mapping[str, Subject], settings: Dataset) -> str:
    """Say which file of calibrated data a data set's subjects are from and is not there; empty: none."""
    named = [calibrated_of(sheet[subject].ct) for subject in settings.subjects if subject in sheet]
    for name in dict.fromkeys(place[0] for place in named if place):
        file = project.calibrated[name].file
        if not Path(file).exists():
            return f"{file} is not there; download it, or set its place in the file of {name}"
    return ""


def present_datasets(project: Project) -> list[str]:
    """List the rendered data sets whose subjects are not from files that are not there."""
    if not project.calibrated:
        return list(project.datasets)
    datasets = project.datasets.items()
    return [name for name, d in datasets if not missing_calibrated(project, project.sheet, d)]


def missing_files(settings: Import2d) -> str:
    """Say which folder or file of an import is not there; empty where all are."""
    gone = [file for file in settings.files if not Path(file).exists()]
    if not gone:
        return ""
    return f"{gone[0]} is not there; download the data, or set its place in the import's file"


def present_imports(project: Project) -> list[str]:
    """List the imports whose data is there."""
    return [name for name, settings in project.imports.items() if not missing_files(settings)]
