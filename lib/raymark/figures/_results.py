"""What several figures read: errors of an experiment, landmark files, images."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from raymark import layout
from raymark.config.project import Project
from raymark.datasets.lookup import of_experiments
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


def images_of(shards: Shards, views: Iterable[str]) -> dict[str, np.ndarray]:
    """Read the images (y, x) of some views, or of none, by their names."""
    place, views = {view: number for number, view in enumerate(shards.views)}, list(views)
    if not views:
        return {}
    images = shards.read(np.array([place[view] for view in views]))["image"]
    return dict(zip(views, images, strict=True))
