"""What is checked once, where the workflow starts, and not by every job again.

A job needs only its own inputs: a CT may have moved once its volume is made.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from raymark import tables
from raymark.config.dataset import Dataset
from raymark.config.project import Project
from raymark.config.subjects import Subject, atlas_of, check_files
from raymark.core.errors import InputError
from raymark.core.names import flip_pairs, unpaired
from raymark.datasets.lookup import landmark_names
from raymark.landmarks.table import check_names, needed_names, read_landmark_set, read_landmarks
from raymark.methods import definition_of
from raymark.workflow import inputs
from raymark.workflow.linked_folders import claim_linked_folders

WILDCARD = re.compile(r"\{\s*\w")


def preflight(project: Project, sheet: Mapping[str, Subject], sources: Collection[str]) -> None:
    """Refuse (InputError) what some job would otherwise find out later; claim linked result folders.

    `sheet` has every subject that a data set names; `sources` are the ids of the table of sources.
    """
    claim_linked_folders()
    tables.check_choices(project)
    used = {subject for dataset in project.datasets.values() for subject in dataset.subjects}
    used |= {atlas for subject in used if (atlas := atlas_of(sheet[subject]))}
    check_files(project.config.subjects, used, sources, project.calibrated)
    _check_left_out(project, sheet)
    _check_names_of_files(project)
    _check_roles(project)
    _check_mirroring(project)
    for file in project.config.methods:  # this imports torch, once: a second
        method = project.methods[Path(file).stem]
        definition_of(method.module, method.network, file)
    for dataset in project.datasets.values():
        _check_landmarks(
            dataset, {sheet[subject].landmarks: subject for subject in dataset.subjects}
        )


def _check_left_out(project: Project, sheet: Mapping[str, Subject]) -> None:
    """See that a data set has the patient whom it leaves out: with another, all would be trained on."""
    for name, dataset in project.datasets.items():
        patients = sorted({sheet[subject].patient for subject in dataset.subjects})
        if dataset.leave_out is not None and dataset.leave_out not in patients:
            problem = f"{dataset.leave_out!r} is no patient of its subjects"
            raise InputError(
                f"data set {name}, leave_out", problem, f"Known: {', '.join(patients)}"
            )


def _check_names_of_files(project: Project) -> None:
    """Refuse names of files that Snakemake would take for patterns."""
    files = []
    for name, dataset in project.datasets.items():
        for subject in dataset.subjects:
            by_atlas = atlas_of(project.sheet[subject]) is not None
            steps = inputs.ingest, inputs.atlas if by_atlas else inputs.landmarks
            files += [file for step in steps for file in step(project, name, subject).values()]
    files += [list(inputs.import_2d(project, name).values()) for name in project.imports]
    for file in _flat(files):
        if WILDCARD.search(file):
            problem = "has braces in its name, which Snakemake takes for a wildcard"
            raise InputError(file, problem, "Rename it, or name a link to it")


def _flat(files: Iterable) -> Iterator[str]:
    for file in files:
        if isinstance(file, str):
            yield file
        else:
            yield from _flat(file)


def _files(project: Project) -> dict[str, str]:
    """Return how messages name each rendered data set: by its file, or as one of several made of it."""
    files = {Path(file).stem: file for file in project.config.datasets}
    return {name: files.get(name, f"data set {name}") for name in project.datasets}


def _check_roles(project: Project) -> None:
    """See that every rendered data set that is trained on has views to train and to validate on."""
    trained = {experiment.dataset for experiment in project.config.experiments}
    for name, file in _files(project).items():
        roles = {view_set.role for view_set in project.datasets[name].view_sets.values()}
        for role in ("train", "validation"):
            if name in trained and role not in roles:
                problem = f"no view set has `role: {role}`, which every training needs"
                remedy = "Add one; config/datasets/pelvis.yaml is an example"
                raise InputError(f"{file}, view_sets", problem, remedy)


def _check_mirroring(project: Project) -> None:
    """See that what is mirrored has both sides of every one-sided landmark, to exchange their names."""
    for name, file in _files(project).items():
        dataset = project.datasets[name]
        names = landmark_names(dataset)
        alone = unpaired(names, flip_pairs(names))
        flipping = [n for n, v in dataset.view_sets.items() if v.flip_probability > 0]
        if alone and flipping:
            raise InputError(
                f"{file}, view_sets.{flipping[0]}.flip_probability",
                f"mirrors images, but these landmarks lack their other side: {', '.join(alone)}",
                "Add the other sides to the landmarks used, or set it to 0",
            )


def _check_landmarks(dataset: Dataset, subjects: Mapping[str, str]) -> None:
    """See that files of points and recipes have the landmarks of the data set.

    `subjects` maps cells of the sheet's column `landmarks` to a subject: of a file for many, one is
    looked at. Where the points lie is for the step that has the CT.
    """
    used, landmark_set = landmark_names(dataset), read_landmark_set(dataset.landmarks)
    known = landmark_set.names
    for reference, subject in subjects.items():
        kind, _, file = reference.partition(":")
        if kind in ("source", "calibrated", "atlas") or reference.lower().endswith(
            "_ctd.json"
        ):  # fetched, or by its CT
            continue
        if kind == "recipe":
            names = read_landmark_set(file).names
        else:
            table, _ = read_landmarks(reference, subject, landmark_set.others)
            file, names = reference, table["landmark"].tolist()
        check_names(names, needed_names(names, used, known), file)
