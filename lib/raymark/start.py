"""What is checked once, where the workflow starts, and not by every job again.

A job needs only its own inputs: a CT may have moved once its volume is made.
"""

from collections.abc import Collection

from raymark.config import Project
from raymark.subjects import check_files


def check_start(project: Project, sources: Collection[str]) -> None:
    """Refuse (InputError) what some job would otherwise find out later; `sources` are known ids."""
    used = {subject for dataset in project.datasets.values() for subject in dataset.subjects}
    check_files(project.config.subjects, used, sources)
