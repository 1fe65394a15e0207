"""What the tables and figures are made from: the errors of every experiment, and what to call them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from raymark import layout
from raymark.config.papers import FOLDER, Paper, read_paper
from raymark.config.project import Project
from raymark.config.results import Experiment
from raymark.config.subjects import read_subjects
from raymark.core.stored_tables import stored_table
from raymark.datasets.available import Absence, absences, present, present_imports
from raymark.datasets.imported import mm_per_px, read_images
from raymark.datasets.lookup import dataset_of, landmark_names
from raymark.evaluation.errors import MEAN_POSITION, measured, read_errors
from raymark.landmarks.table import read_landmark_set

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
            (self._part(*names, rows) for names, rows in table.groupby(keys, sort=True)),
            key=self._order,
        )

    def _part(self, dataset, view_set, seen, method, rows: pd.DataFrame) -> Part:
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

    def parts_of(self, papers: set[str]) -> list[Part]:
        """List the parts of the experiments of some papers, and the baselines beside them."""
        shown = [e for e in self.project.config.experiments if e.paper in papers]
        wanted = {(e.dataset, e.method, v) for e in shown for v in e.evaluate}
        wanted |= {(e.dataset, MEAN_POSITION, v) for e in shown for v in e.evaluate}
        return [p for p in self.parts if (p.dataset, p.method, p.view_set) in wanted]

    def lines(self, papers: set[str] | None = None) -> list[Part]:
        """List what becomes a row: the parts, of some papers or all, and what has no data."""
        wanted = {
            (e.dataset, e.method, v)
            for e in self.project.config.experiments
            for v in e.evaluate
            if papers is None or e.paper in papers
        }
        absent = [
            Part(a.dataset, a.view_set, UNSEEN, a.method, self.errors.iloc[:0], 0, 0, a.reason)
            for a in self.absences
            if (a.dataset, a.method, a.view_set) in wanted
        ]
        parts = self.parts if papers is None else self.parts_of(papers)
        return sorted([*parts, *absent], key=self._order)

    def method_title(self, method: str) -> str:
        return BASELINE_TITLE if method == MEAN_POSITION else self.project.methods[method].title

    def experiment(self, part: Part, papers: set[str]) -> Experiment | None:
        """Return the experiment of one of `papers` that a part belongs to."""
        for experiment in self.project.config.experiments:
            same = (experiment.dataset, experiment.method) == (part.dataset, part.method)
            if same and experiment.paper in papers:
                return experiment
        return None


def read_results(project: Project, papers_folder: str | Path = FOLDER) -> Results:
    """Read what the workflow wrote for every experiment of a project."""
    sheet = read_subjects(project.config.subjects)
    paths, diverged, views_seen = set(), set(), {}
    for experiment in present(project, sheet):
        for view_set in experiment.evaluate:
            place = {"dataset": experiment.dataset, "view_set": view_set}
            paths.add(layout.MEAN_POSITION.format(**place))
            for seed in experiment.seeds:
                paths.add(layout.ERRORS.format(**place, method=experiment.method, seed=seed))
        for run in _runs(experiment):
            if bool(read_losses(*run)["diverged"].iloc[-1]):
                diverged.add(run)
            place = run[:2]
            views_seen[place] = max(views_seen.get(place, 0), _views_seen(project, *run))
    named = {e.paper for e in project.config.experiments if e.paper}
    papers = {name: read_paper(name, papers_folder) for name in sorted(named)}
    there = [*project.datasets, *present_imports(project)]
    landmarks = {name: s.known_landmarks for name, s in project.imports.items()}
    landmarks |= {name: landmark_names(dataset_of(project, name)) for name in there}
    return Results(
        project,
        read_errors(sorted(paths)),
        landmarks,
        frozenset(diverged),
        papers,
        views_seen,
        tuple(absences(project, sheet)),
        {name: mm_per_px(read_images(name)) for name in present_imports(project)},
        {n: read_landmark_set(d.landmarks).types for n, d in project.datasets.items()},
    )


def read_losses(dataset: str, method: str, seed: int) -> pd.DataFrame:
    """Read the table of losses of one training, one row per epoch."""
    path = layout.LOSSES.format(dataset=dataset, method=method, seed=seed)
    numbers = ("epoch", "views", "train_loss", "validation_loss", "validation_rmse_px")
    again = "Delete it with its model and train again"
    return stored_table(path, "a table of losses", again, ("diverged",), numbers)


def _views_seen(project: Project, dataset: str, method: str, seed: int) -> int:
    """Count the views that a training has seen, with those of the model it started from."""
    seen = int(read_losses(dataset, method, seed)["views"].sum())
    first = project.methods[method].start_from
    return seen + (_views_seen(project, dataset, first, seed) if first else 0)


def _runs(experiment: Experiment) -> Iterator[tuple[str, str, int]]:
    for seed in experiment.seeds:
        yield experiment.dataset, experiment.method, seed
