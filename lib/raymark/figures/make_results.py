"""The figures made from errors and losses alone, each from the files of its experiments."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from raymark import layout
from raymark.config.papers import read_paper
from raymark.config.project import Project
from raymark.config.results import Experiment
from raymark.datasets.lookup import dataset_of
from raymark.evaluation.errors import MEAN_POSITION, read_errors
from raymark.evaluation.results import BASELINE_TITLE, read_losses, read_results
from raymark.figures.beliefs import belief_error
from raymark.figures.distribution import error_distribution
from raymark.figures.matrix import matrix
from raymark.figures.sphere import belief_sphere, sphere_accuracy, steadiest_and_most_varied
from raymark.figures.training import training_curves
from raymark.metrics.cobb import cobb_by_view
from raymark.tables._matrix import comparison_rows, place_title


def _matrix(project: Project, stem) -> None:
    results = read_results(project)
    rows = comparison_rows(results)
    places = zip(rows["dataset"], rows["view_set"], rows["evaluated_on"], strict=True)
    rows = rows.assign(place_title=[place_title(results, *place) for place in places])
    order = [results.method_title(name) for name in [*project.methods, MEAN_POSITION]]
    matrix(rows, order, stem)


def _training_curves(project: Project, dataset: str, stem) -> None:
    losses = {
        title: read_losses(dataset, experiment.method, seed)
        for experiment in _experiments(project, dataset)
        for title, seed in _seed_titles(project, experiment)
    }
    training_curves(losses, stem)


def _seed_titles(project: Project, experiment: Experiment):
    """Name an experiment's trainings: by the method, and by the seed where there are several."""
    title = project.methods[experiment.method].title
    for seed in experiment.seeds:
        yield (title if len(experiment.seeds) == 1 else f"{title}, seed {seed}"), seed


def _error_distribution(project: Project, dataset: str, view_set: str, stem) -> None:
    place = {"dataset": dataset, "view_set": view_set}
    errors_px = {}
    for experiment in _experiments(project, dataset, view_set):
        paths = [
            layout.ERRORS.format(**place, method=experiment.method, seed=seed)
            for seed in experiment.seeds
        ]
        errors_px[project.methods[experiment.method].title] = _visible_px(read_errors(paths))
    baseline = read_errors([layout.MEAN_POSITION.format(**place)])
    error_distribution(errors_px | {BASELINE_TITLE: _visible_px(baseline)}, stem)


def _visible_px(errors: pd.DataFrame) -> np.ndarray:
    return errors.loc[errors["visible"] & (errors["instance"] == 0), "error_px"].to_numpy()


def _sphere_accuracy(project: Project, dataset: str, method: str, view_set: str, stem) -> None:
    """Draw the accuracy at so many px, and at as many mm as those of the paper's detector are."""
    errors = errors_of(project, dataset, method, view_set, every_seed=False)
    near_px, ours_mm = (
        project.config.evaluation.accuracy_px,
        dataset_of(project, dataset).detector.pixel_mm,
    )
    within = {f"within {near_px:g} px = {near_px * ours_mm:.1f} mm": near_px}
    experiments = _experiments(project, dataset, view_set)
    name = next(e.paper for e in experiments if e.method == method)
    theirs_mm = read_paper(name).pixel_mm if name else None
    if theirs_mm and theirs_mm != ours_mm:
        title = f"within {near_px * theirs_mm:.1f} mm, the paper's {near_px:g} px"
        within[title] = near_px * theirs_mm / ours_mm
    sphere_accuracy(errors, within, stem)


def _belief_error(project: Project, dataset: str, method: str, view_set: str, stem) -> None:
    errors = errors_of(project, dataset, method, view_set)
    belief_error(errors, project.methods[method].detection_threshold, stem)


def _belief_sphere(project: Project, dataset: str, method: str, view_set: str, stem) -> None:
    errors = errors_of(project, dataset, method, view_set)
    belief_sphere(errors, steadiest_and_most_varied(errors), stem)


def _keypoint_accuracy(project: Project, paper: str, stem) -> None:
    from raymark.figures.keypoints import keypoint_accuracy, of_methods, of_types

    shown = project.config.model_copy(update={"experiments": project.experiments_with(paper)})
    results = read_results(replace(project, config=shown))
    compared = results.papers[paper].compared_landmarks[0]
    thresholds_px = project.config.evaluation.pck_px
    types, methods = of_types(results, paper), of_methods(results, paper, compared)
    keypoint_accuracy(types, methods, compared.replace("_", " "), thresholds_px, stem)


def _cobb_agreement(project: Project, dataset: str, view_set: str, stem) -> None:
    """Draw the angles of every training together, but for those that diverged, as the table does."""
    from raymark.figures.cobb import cobb_agreement

    experiments = _experiments(project, dataset, view_set)
    shown = [e.model_copy(update={"evaluate": [view_set]}) for e in experiments]
    config = project.config.model_copy(update={"experiments": shown})
    results = read_results(replace(project, config=config))
    place = results.landmarks[dataset], dataset_of(project, dataset).detector.height_px
    by_method = {
        results.method_title(part.method): pd.concat(
            [cobb_by_view(table, *place) for _, table in part.errors.groupby("seed")]
        )
        for part in results.parts
        if not part.diverged
    }
    cobb_agreement(by_method, stem)


def _setup_errors(project: Project, dataset: str, method: str, view_set: str, stem) -> None:
    from raymark.figures.setup import setup_errors
    from raymark.radiotherapy.setup_table import read_setup
    from raymark.tables.setup import registration_titles

    place = {"dataset": dataset, "method": method, "view_set": view_set}
    seeds = [p["seed"] for p in project.setup_places() if place.items() <= p.items()]
    table = read_setup([layout.SETUP.format(**place, seed=seed) for seed in seeds])
    titles = registration_titles(project.methods[method].title)
    errors_mm = {
        title: table.loc[table["registration"] == registration, "error_mm"].to_numpy()
        for registration, title in titles.items()
    }
    setup_errors(errors_mm, project.config.setup.within_mm, stem)


MAKERS: dict[str, Callable] = {
    "matrix": _matrix,
    "training_curves": _training_curves,
    "error_distribution": _error_distribution,
    "sphere_accuracy": _sphere_accuracy,
    "belief_error": _belief_error,
    "belief_sphere": _belief_sphere,
    "keypoint_accuracy": _keypoint_accuracy,
    "cobb_agreement": _cobb_agreement,
    "setup_errors": _setup_errors,
}


def _experiments(project: Project, dataset: str, view_set: str | None = None) -> list[Experiment]:
    return [
        e
        for e in project.config.experiments
        if e.dataset == dataset and (view_set is None or view_set in e.evaluate)
    ]


def seeds_of(project: Project, dataset: str, method: str, view_set: str) -> list[int]:
    """List the seeds of the experiment that evaluates a method on a view set."""
    experiments = _experiments(project, dataset, view_set)
    return next(e.seeds for e in experiments if e.method == method)


def errors_of(
    project: Project, dataset: str, method: str, view_set: str, every_seed: bool = True
) -> pd.DataFrame:
    """Read an experiment's errors, one row per landmark: of repeated ones the first instance."""
    seeds = seeds_of(project, dataset, method, view_set)
    place = {"dataset": dataset, "method": method, "view_set": view_set}
    wanted = seeds if every_seed else seeds[:1]
    errors = read_errors([layout.ERRORS.format(**place, seed=seed) for seed in wanted])
    return errors[errors["instance"] == 0]
