"""What the tables and figures are made from: the errors of every experiment, and what to call them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from raymark import layout
from raymark.config.dataset import Dataset
from raymark.config.papers import Paper, Row, read_paper
from raymark.config.project import Project
from raymark.config.results import Experiment
from raymark.core.stored_tables import stored_table
from raymark.datasets.available import Absence, absences, present, present_imports
from raymark.datasets.imported import mm_per_px, read_images
from raymark.datasets.lookup import (
    OF_AN_IMPORT,
    dataset_of,
    landmark_names,
    landmark_types,
    of_experiments,
)
from raymark.evaluation.errors import MEAN_POSITION, measured, read_errors

VALIDATION_RMSE = ("validation_rmse_px", "validation_rmse_share")
SEEN = "new views of training patients"
UNSEEN = "unseen patients"
BASELINE_TITLE = "Mean position (no image)"


@dataclass(frozen=True)
class Part:
    """One method's errors on one kind of patients of one view set, all its seeds together.

    `missing` says why there are none: what was asked for and has no data.
    """

    dataset: str
    view_set: str
    evaluated_on: str
    method: str
    errors: pd.DataFrame
    seeds: int
    diverged_seeds: int
    missing: str = ""

    @property
    def diverged(self) -> bool:
        return self.diverged_seeds == self.seeds > 0


@dataclass(frozen=True)
class Results:
    """All errors tables stacked, landmark names in order by data set, the (dataset, method, seed)
    that diverged, published figures by paper, and how many views the trainings of a (dataset, method)
    have seen, the most of several seeds; what was asked for and has no data; and, of imports, what
    turns px of a view into mm of the X-ray (`raymark.datasets.imported.mm_per_px`); and the landmark types of
    each data set."""

    project: Project
    errors: pd.DataFrame
    landmarks: dict[str, list[str]]
    diverged: frozenset[tuple[str, str, int]] = frozenset()
    papers: dict[str, Paper] = field(default_factory=dict)
    views_seen: dict[tuple[str, str], int] = field(default_factory=dict)
    absences: tuple[Absence, ...] = ()
    mm_per_px: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    types: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return self.project.scale

    @cached_property
    def parts(self) -> list[Part]:
        """Cut the errors into what becomes one row of a table, in the configuration's order.

        Runs that diverged take part only where a method has no other.
        """
        table = measured(self.errors)
        keys = ["dataset", "view_set", "seen_in_training", "method"]
        return sorted(
            (self._part(place, rows) for place, rows in table.groupby(keys, sort=True)),
            key=self._order,
        )

    def _part(self, place: tuple[str, str, bool, str], rows: pd.DataFrame) -> Part:
        dataset, view_set, seen, method = place
        seeds = set(rows["seed"])
        bad = {seed for seed in seeds if (dataset, method, seed) in self.diverged}
        if bad != seeds:
            rows = rows[~rows["seed"].isin(bad)]
        evaluated_on = SEEN if seen else UNSEEN
        return Part(dataset, view_set, evaluated_on, method, rows, len(seeds), len(bad))

    def _order(self, part: Part) -> tuple:
        datasets = [*self.project.datasets, *self.project.imports]
        methods = [*self.project.methods, MEAN_POSITION]
        configured = self.project.datasets.get(part.dataset)
        view_sets = list(configured.view_sets) if configured else [part.view_set]
        return (
            datasets.index(part.dataset),
            view_sets.index(part.view_set),
            part.view_set,
            part.evaluated_on != SEEN,
            methods.index(part.method),
        )

    def lines(self) -> list[Part]:
        """List what becomes a row: the parts, and what has no data."""
        absent = [
            Part(a.dataset, a.view_set, UNSEEN, a.method, self.errors.iloc[:0], 0, 0, a.reason)
            for a in self.absences
        ]
        return sorted([*self.parts, *absent], key=self._order)

    def method_title(self, method: str) -> str:
        return BASELINE_TITLE if method == MEAN_POSITION else self.project.methods[method].title

    def published(self, part: Part) -> tuple[Paper, Row] | None:
        """Return the paper that a part's experiment is compared with, and its row about the part."""
        for experiment in self.project.config.experiments:
            same = (experiment.dataset, experiment.method) == (part.dataset, part.method)
            if same and experiment.paper in self.papers:
                paper = self.papers[experiment.paper]
                row = paper.row(part.method, part.evaluated_on, part.dataset)
                return (paper, row) if row else None
        return None


def files_of(project: Project) -> list[str]:
    """List every file that `read_results` reads; of an import, those by which its shards are found."""
    experiments = present(project, project.sheet)
    return sorted(
        {
            *_errors_of(experiments),
            *(_losses_of(*training) for training in _trainings(project, experiments)),
            *(dataset.landmarks for dataset in _rendered(project).values()),
            *(path.format(dataset=name) for name in _imported(project) for path in OF_AN_IMPORT),
            *project.paper_files(),
        }
    )


def read_results(project: Project) -> Results:
    """Read what the workflow wrote for every experiment of a project: the files of `files_of`."""
    experiments = present(project, project.sheet)
    losses = {place: read_losses(project, *place) for place in _trainings(project, experiments)}
    views_seen: dict[tuple[str, str], int] = {}
    for dataset, method, seed in _runs(experiments):
        seen = sum(losses[dataset, m, seed]["views"].sum() for m in _lineage(project, method))
        views_seen[dataset, method] = max(views_seen.get((dataset, method), 0), int(seen))
    imported = _imported(project)
    landmarks = {name: s.known_landmarks for name, s in project.imports.items()}
    there = [*_rendered(project), *imported]
    landmarks |= {name: landmark_names(dataset_of(project, name)) for name in there}
    return Results(
        project,
        read_errors(_errors_of(experiments)),
        landmarks,
        frozenset(place for place, table in losses.items() if bool(table["diverged"].iloc[-1])),
        {paper: read_paper(paper) for paper in project.papers()},
        views_seen,
        tuple(absences(project, project.sheet)),
        {name: mm_per_px(read_images(name)) for name in imported},
        {name: landmark_types(project, name) for name in there},
    )


def read_losses(project: Project, dataset: str, method: str, seed: int) -> pd.DataFrame:
    """Read the table of losses of one training, one row per epoch; its last row says whether it diverged.

    It has where a figure was not finite, as the file says, and where the validation RMSE never came below
    the method's `diverged_above_share` of the image's diagonal.
    """
    numbers = ("epoch", "views", "train_loss", "validation_loss", *VALIDATION_RMSE)
    again = "Delete it with its model and train again"
    path = _losses_of(dataset, method, seed)
    table = stored_table(path, "a table of losses", again, ("diverged",), numbers)
    limit = project.methods[method].training.diverged_above_share
    if not table["validation_rmse_share"].min() < limit:
        table.loc[table.index[-1], "diverged"] = True
    return table


def _losses_of(dataset: str, method: str, seed: int) -> str:
    return layout.LOSSES.format(dataset=dataset, method=method, seed=seed)


def _errors_of(experiments: list[Experiment]) -> list[str]:
    patterns = (layout.ERRORS, layout.MEAN_POSITION)
    return sorted(path for each in patterns for path in of_experiments(each, experiments))


def _runs(experiments: list[Experiment]) -> Iterator[tuple[str, str, int]]:
    for experiment in experiments:
        for seed in experiment.seeds:
            yield experiment.dataset, experiment.method, seed


def _trainings(project: Project, experiments: list[Experiment]) -> set[tuple[str, str, int]]:
    """Name the trainings of some experiments, and those whose models they started from."""
    return {
        (dataset, name, seed)
        for dataset, method, seed in _runs(experiments)
        for name in _lineage(project, method)
    }


def _lineage(project: Project, method: str) -> list[str]:
    """List a method, the one whose model its training needs, that one's, and so on."""
    names = [method]
    while first := project.methods[names[-1]].first:
        names.append(first)
    return names


def _rendered(project: Project) -> dict[str, Dataset]:
    used = {experiment.dataset for experiment in project.config.experiments}
    return {name: dataset for name, dataset in project.datasets.items() if name in used}


def _imported(project: Project) -> list[str]:
    used = {experiment.dataset for experiment in project.config.experiments}
    return [name for name in present_imports(project) if name in used]
