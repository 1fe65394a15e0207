"""What several figures read: errors of an experiment, all results of some experiments, images."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from raymark import layout
from raymark.config.project import Project
from raymark.config.results import Experiment
from raymark.datasets.lookup import of_experiments, shard_files
from raymark.datasets.shards import Shards
from raymark.evaluation.errors import read_errors
from raymark.figures._places import experiment


def error_files(project: Project, dataset: str, method: str, view_set: str) -> list[str]:
    """List an experiment's tables of errors, one for each training."""
    return of_experiments(layout.ERRORS, [experiment(project, dataset, method, view_set)])


def first_instances(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Read tables of errors, one row per landmark: of repeated ones the first instance."""
    errors = read_errors(paths)
    return errors[errors["instance"] == 0]


def landmark_files(project: Project, *datasets: str) -> list[str]:
    """List the landmark files of some data sets; imported images have none."""
    return [project.datasets[name].landmarks for name in datasets if name in project.datasets]


def narrowed(project: Project, experiments: list[Experiment]) -> Project:
    """Return a project of some experiments and of their data sets, nothing else."""
    used = {e.dataset for e in experiments}
    return replace(
        project,
        config=project.config.model_copy(update={"experiments": experiments}),
        datasets={name: d for name, d in project.datasets.items() if name in used},
        imports={name: i for name, i in project.imports.items() if name in used},
    )


def result_files(project: Project) -> list[str]:
    """List what `raymark.evaluation.results.read_results` reads of a project."""
    experiments = project.config.experiments
    patterns = layout.ERRORS, layout.MEAN_POSITION, layout.LOSSES
    files = [file for pattern in patterns for file in of_experiments(pattern, experiments)]
    for e in experiments:
        first = project.methods[e.method].start_from
        while first:  # whose views count too
            files += [
                layout.LOSSES.format(dataset=e.dataset, method=first, seed=seed) for seed in e.seeds
            ]
            first = project.methods[first].start_from
    imported = [file for name in project.imports for file in shard_files(project, name)]
    return [*files, *project.paper_files(), *landmark_files(project, *project.datasets), *imported]


def images_of(shards: Shards, views: Iterable[str]) -> dict[str, np.ndarray]:
    """Read the images (y, x) of some views by their names."""
    place, views = {view: number for number, view in enumerate(shards.views)}, list(views)
    images = shards.read(np.array([place[view] for view in views]))["image"]
    return dict(zip(views, images, strict=True))
