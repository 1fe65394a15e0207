"""What the tables and figures are made from: the errors of every experiment, and what to call them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from raymark import layout
from raymark.config import Project
from raymark.evaluation import MEAN_POSITION, read_errors
from raymark.landmarks import read_landmark_set
from raymark.papers import FOLDER, Paper, read_paper
from raymark.sections import Dataset, Experiment

SEEN = "new views of training patients"
UNSEEN = "unseen patients"
BASELINE_TITLE = "Mean position (no image)"


@dataclass(frozen=True)
class Part:
    """One method's errors on one kind of patients of one view set, all its seeds together."""

    dataset: str
    view_set: str
    evaluated_on: str
    method: str
    errors: pd.DataFrame
    seeds: int
    diverged_seeds: int

    @property
    def diverged(self) -> bool:
        return self.diverged_seeds == self.seeds


@dataclass(frozen=True)
class Results:
    """All errors tables stacked, landmark names in order by data set, the (dataset, method, seed)
    that diverged, and published figures by paper."""

    project: Project
    errors: pd.DataFrame
    landmarks: dict[str, list[str]]
    diverged: frozenset[tuple[str, str, int]] = frozenset()
    papers: dict[str, Paper] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return "demo scale" if self.project.config.preset == "demo" else ""

    @cached_property
    def parts(self) -> list[Part]:
        """Cut the errors into what becomes one row of a table, in the configuration's order.

        Runs that diverged take part only where a method has no other. Of several instances of one
        landmark the first, which a method is surest of, is measured.
        """
        table = self.errors[self.errors["instance"] == 0]
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
        datasets, methods = list(self.project.datasets), [*self.project.methods, MEAN_POSITION]
        view_sets = list(self.project.datasets[part.dataset].view_sets)
        return (
            datasets.index(part.dataset),
            view_sets.index(part.view_set),
            part.evaluated_on != SEEN,
            methods.index(part.method),
        )

    def parts_of(self, papers: set[str]) -> list[Part]:
        """List the parts of the experiments of some papers, and the baselines beside them."""
        shown = [e for e in self.project.config.experiments if e.paper in papers]
        wanted = {(e.dataset, e.method, v) for e in shown for v in e.evaluate}
        wanted |= {(e.dataset, MEAN_POSITION, v) for e in shown for v in e.evaluate}
        return [p for p in self.parts if (p.dataset, p.method, p.view_set) in wanted]

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
    experiments = project.config.experiments
    paths, diverged = set(), set()
    for experiment in experiments:
        for view_set in experiment.evaluate:
            place = {"dataset": experiment.dataset, "view_set": view_set}
            paths.add(layout.MEAN_POSITION.format(**place))
            for seed in experiment.seeds:
                paths.add(layout.ERRORS.format(**place, method=experiment.method, seed=seed))
        for run in _runs(experiment):
            if bool(read_losses(*run)["diverged"].iloc[-1]):
                diverged.add(run)
    papers = {e.paper: read_paper(e.paper, papers_folder) for e in experiments if e.paper}
    landmarks = {n: landmark_names(d) for n, d in project.datasets.items()}
    return Results(project, read_errors(sorted(paths)), landmarks, frozenset(diverged), papers)


def landmark_names(dataset: Dataset) -> list[str]:
    """List the landmarks that a data set uses, in its order."""
    return dataset.use_landmarks or read_landmark_set(dataset.landmarks).names


def read_losses(dataset: str, method: str, seed: int) -> pd.DataFrame:
    """Read the table of losses of one training, one row per epoch."""
    return pd.read_csv(layout.LOSSES.format(dataset=dataset, method=method, seed=seed))


def _runs(experiment: Experiment) -> Iterator[tuple[str, str, int]]:
    for seed in experiment.seeds:
        yield experiment.dataset, experiment.method, seed
