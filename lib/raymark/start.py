"""What is checked once, where the workflow starts, and not by every job again.

A job needs only its own inputs: a CT may have moved once its volume is made.
"""

from collections.abc import Collection
from pathlib import Path

from raymark.config import Project
from raymark.errors import InputError
from raymark.subjects import check_files


def check_start(project: Project, sources: Collection[str]) -> None:
    """Refuse (InputError) what some job would otherwise find out later; `sources` are known ids."""
    used = {subject for dataset in project.datasets.values() for subject in dataset.subjects}
    check_files(project.config.subjects, used, sources)
    _check_roles(project)


def _check_roles(project: Project) -> None:
    """See that every rendered data set that is trained on has views to train and to validate on."""
    trained = {experiment.dataset for experiment in project.config.experiments}
    for file in project.config.datasets:
        name = Path(file).stem
        roles = {view_set.role for view_set in project.datasets[name].view_sets.values()}
        for role in ("train", "validation"):
            if name in trained and role not in roles:
                problem = f"no view set has `role: {role}`, which every training needs"
                remedy = "Add one; config/datasets/pelvis.yaml is an example"
                raise InputError(f"{file}, view_sets", problem, remedy)
