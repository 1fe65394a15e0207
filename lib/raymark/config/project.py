"""The configuration: a tree of YAML files, checked.

The main file names subjects, data sets, methods and experiments; each data set and each method is a
file of its own. Files may carry ``presets``: named overrides (``demo``, ``paper``) merged over the
file's own values when the main file asks for one. The sections are in the modules beside this one.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Self, TypeVar

from pydantic import Field, model_validator

from raymark.config import matrix
from raymark.config.dataset import Dataset
from raymark.config.imports import Calibrated, Import2d, read_calibrated, read_import
from raymark.config.method import Method
from raymark.config.papers import paper_file, read_paper
from raymark.config.presets import Preset, read_preset
from raymark.config.results import (
    Contrast,
    Evaluation,
    Experiment,
    Matrix,
    Pose,
    SetupSettings,
    TableChoice,
)
from raymark.config.sources import Source, read_sources
from raymark.config.subjects import Subject, read_subjects
from raymark.core.errors import InputError, Thing
from raymark.core.sections import Name, Section, Seed, checked
from raymark.core.yaml_files import read_yaml


class Config(Section):
    """What takes part and what is made of it."""

    preset: Preset = Field(
        "demo",
        description="which `presets` of data set, method and correspondence files to lay over; a file "
        "without them stays as it is",
    )
    seed: Seed = Field(
        0, description="changes all that is drawn about the data: virtual patients, views, noise"
    )
    subjects: str = Field("config/subjects.tsv", description="the subject sheet")
    sources: str = Field("config/sources.tsv", description="the table of sources")
    datasets: list[str] = Field(description="data set files; may be empty where there are imports")
    imports: list[str] = Field(
        [], description="import files; one whose data is not there is left out, and tables say so"
    )
    calibrated: list[str] = Field(
        [],
        description="files of calibrated data sets, whose CTs the subject sheet may name; where the data is "
        "not there, tables say so",
    )
    leave_out: dict[str, list[str]] = Field(
        {},
        description="data sets of which there is one for each of these patients, in its place and named "
        "after both: the one that has the patient as `leave_out`. Experiments that name the data set are "
        "on all of them",
    )
    methods: list[str] = Field([], description="method files; empty: X-rays are rendered, no more")
    experiments: list[Experiment] = Field(
        [],
        description="what to train and to show, unless `matrix` says it; empty: X-rays are rendered, "
        "no more",
    )
    correspondence: str | None = Field(
        None, description="the correspondence file; null: CT slices are not matched"
    )
    matrix: Matrix = Matrix()
    evaluation: Evaluation = Evaluation()
    pose: Pose = Pose()
    setup: SetupSettings = SetupSettings()
    contrast: Contrast | None = Field(
        None, description="data sets whose contrast of bone is compared; null: none"
    )
    tables: dict[Name, TableChoice] = Field(
        {}, description="what to print of a table, by its name; of one that is not here, all"
    )

    @model_validator(mode="after")
    def _experiments_are_known(self) -> Self:
        names = [Path(file).stem for file in [*self.datasets, *self.imports]]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two data sets or imports are called {name!r}; rename one")
        rendered = sorted(Path(file).stem for file in self.datasets)
        for name, patients in self.leave_out.items():
            if name not in rendered:
                raise ValueError(f"leave_out names the data set {name!r}; known: {rendered}")
            if len(self.folds(name)) < len(patients):
                raise ValueError(
                    f"two patients of leave_out.{name} have the same name in files; leave one out"
                )
        datasets = {*names, *(fold for name in self.leave_out for fold in self.folds(name))}
        methods = {Path(file).stem for file in self.methods}
        for name in self.matrix.datasets:
            if name not in datasets:
                raise ValueError(f"matrix names the data set {name!r}; known: {sorted(datasets)}")
        if self.matrix.datasets:
            return self  # its experiments take the place of those listed
        for experiment in self.experiments:
            if experiment.dataset not in datasets:
                raise ValueError(
                    f"experiment names the data set {experiment.dataset!r}; known: {sorted(datasets)}"
                )
            if experiment.method not in methods:
                raise ValueError(
                    f"experiment names the method {experiment.method!r}; known: {sorted(methods)}"
                )
        places = [(e.dataset, e.method, v) for e in self.experiments for v in e.evaluate]
        for place in places:
            if places.count(place) > 1:
                dataset, method, view_set = place
                raise ValueError(
                    f"{method!r} is evaluated twice on {view_set!r} of {dataset!r}; list its seeds in "
                    "one experiment"
                )
        return self

    def folds(self, dataset: str) -> dict[str, str]:
        """Return the patient left out by the name of each data set that takes the place of one."""
        left_out = self.leave_out.get(dataset, [])
        return {f"{dataset}_{re.sub('[^a-z0-9]', '_', p.lower())}": p for p in left_out}

    def on_folds(self) -> list[Experiment]:
        """List the experiments, those on a data set of `leave_out` once for each patient."""
        return [
            experiment.model_copy(update={"dataset": name})
            for experiment in self.experiments
            for name in self.folds(experiment.dataset) or [experiment.dataset]
        ]


Part = TypeVar("Part", Dataset, Method)


def _read_part(model: type[Part], path: str, preset: str) -> Part:
    part = checked(model, read_preset(path, preset), path)
    if part.name != Path(path).stem:
        raise InputError(path, f"name is {part.name!r}", "Name the file and the key alike")
    return part


@dataclass(frozen=True)
class Project:
    """The whole configuration: the main file and every data set and method it names."""

    config: Config
    datasets: dict[str, Dataset]
    methods: dict[str, Method]
    imports: dict[str, Import2d] = field(default_factory=dict)
    source: str = "the configuration"  # the main file, as messages name it
    left_out: dict[str, dict[str, str]] = field(default_factory=dict)  # by data set, whom and why
    calibrated: dict[str, Calibrated] = field(default_factory=dict)

    @cached_property
    def sheet(self) -> dict[str, Subject]:
        """The subject sheet, by subject."""
        return read_subjects(self.config.subjects)

    @cached_property
    def declared(self) -> dict[str, Source]:
        """The table of sources, by id."""
        return read_sources(self.config.sources)

    def unknown(self, what: str, known: Iterable[str]) -> InputError:
        """Return the error for a name that is none of those `known`: perhaps of another main file."""
        remedy = f"Known: {', '.join(known)}. `--config FILE` reads another configuration"
        return InputError(what, f"is not known in {self.source}", remedy)

    def named(self, table: Mapping[str, Thing], name: str, kind: str) -> Thing:
        """Look up what the configuration names, or names the file of."""
        if name not in table:
            raise self.unknown(f"{kind} {name!r}", table)
        return table[name]

    def title_of(self, dataset: str) -> str:
        """Return how tables and figures call a data set or an import."""
        return (self.datasets.get(dataset) or self.imports[dataset]).title

    @property
    def contrast(self) -> Contrast:
        """The data sets whose contrast is compared; InputError where the main file names none."""
        if self.config.contrast is None:
            raise InputError(
                self.source, "has no `contrast`", "Name its data sets: config/README.md"
            )
        return self.config.contrast

    @property
    def scale(self) -> str:
        """What tables say above themselves: "demo scale", or nothing at the papers' own.

        It is that of the preset: on how many patients a row stands is said by its own columns.
        """
        return "" if self.config.preset == "paper" else f"{self.config.preset} scale"

    def evaluates(self) -> bool:
        """Tell whether any experiment is evaluated."""
        return any(experiment.evaluate for experiment in self.config.experiments)

    def pose_places(self) -> list[dict]:
        """List the trainings and view sets whose poses are asked for: what fills a path's pattern."""
        return [
            {"dataset": e.dataset, "method": e.method, "seed": seed, "view_set": view_set}
            for e in self.config.experiments
            for seed in e.seeds
            for view_set in e.poses
        ]

    def setup_places(self) -> list[dict]:
        """List the trainings and view sets whose set-up errors are asked for, and their reference."""
        return [
            {"dataset": e.dataset, "method": e.method, "seed": seed, "view_set": view_set}
            | {"reference": e.setup.reference}
            for e in self.config.experiments
            if e.setup
            for seed in e.seeds
            for view_set in e.evaluate
        ]

    def view_set_title(self, dataset: str, view_set: str) -> str:
        """Return what tables call a view set; those of imports have their names alone."""
        settings = self.datasets.get(dataset)
        return (settings and settings.view_sets[view_set].title) or view_set

    def capture_places(self) -> list[dict]:
        """List the data sets and view sets whose capture range is measured."""
        return [
            {"dataset": e.dataset, "view_set": view_set}
            for e in self.config.experiments
            for view_set in e.capture_range
        ]

    def papers(self) -> list[str]:
        """Name the papers that experiments are printed beside."""
        return sorted({e.paper for e in self.config.experiments if e.paper})

    def paper_files(self) -> list[str]:
        return [paper_file(name) for name in self.papers()]

    def with_experiments(self, experiments: Iterable[Experiment]) -> "Project":
        """Return the project with only these experiments."""
        config = self.config.model_copy(update={"experiments": list(experiments)})
        return replace(self, config=config)

    def without(self, left_out: Mapping[str, Mapping[str, str]]) -> "Project":
        """Return the project whose data sets do not have the subjects `left_out` (by data set, whom and why)."""
        datasets, reasons = dict(self.datasets), dict(self.left_out)
        for name, why in left_out.items():
            subjects = [subject for subject in datasets[name].subjects if subject not in why]
            datasets[name] = datasets[name].model_copy(update={"subjects": subjects})
            reasons[name] = {**reasons.get(name, {}), **why}
        return replace(self, datasets=datasets, left_out=reasons)

    def publishing(self, metric: str) -> "Project":
        """Return the project with only the experiments whose paper publishes a metric."""
        papers = {name for name in self.papers() if read_paper(name).publishes(metric)}
        return self.with_experiments(e for e in self.config.experiments if e.paper in papers)

    def shown_settings(self) -> str:
        """Return, as JSON, what tables and figures print that none of the files they are made from holds."""
        sections = {"preset", "evaluation", "matrix", "pose", "setup", "contrast"}
        titles: list[str | None] = [self.title_of(name) for name in (*self.datasets, *self.imports)]
        titles += [
            v.title for dataset in self.datasets.values() for v in dataset.view_sets.values()
        ]
        titles += [method.title for method in self.methods.values()]
        limits = [
            (method.detection_threshold, method.training.diverged_above_share)
            for method in self.methods.values()
        ]
        return json.dumps([titles, limits, self.config.model_dump(mode="json", include=sections)])

    def experiments_with(self, paper: str) -> list[Experiment]:
        return [e for e in self.config.experiments if e.paper == paper]


def read_project(path: str | Path) -> Project:
    """Read the main file and everything it names."""
    return project_of(read_yaml(path), path)


def project_given(values: dict, in_files: dict, source: str) -> Project:
    """Read a project whose main file's values the command line changed: `values`, `in_files` before.

    What only the command line makes wrong is told of it; all else of the main file `source`.
    """
    try:
        return project_of(values, source)
    except InputError as error:
        given = [key for key in values if values[key] != in_files.get(key)]
        if not given or error.source != source:
            raise
        try:
            project_of(in_files, source)
        except InputError:
            raise error from None
        told = " ".join(f"{key}={values[key]}" for key in given)
        raise InputError(f"--config {told}", error.problem, error.remedy) from None


def project_of(values: dict, source: str | Path) -> Project:
    """Check the main file's values (`source` names them in errors) and read the files it names."""
    config = checked(Config, values, source)
    datasets = {
        name: dataset
        for file in config.datasets
        for name, dataset in _folds(config, read_dataset(file, config.preset)).items()
    }
    methods = {Path(file).stem: read_method(file, config.preset) for file in config.methods}
    imports = {Path(file).stem: _read_import(file) for file in config.imports}
    calibrated = {Path(file).stem: _read_calibrated(file) for file in config.calibrated}
    _check_starts(methods, source)
    methods = {name: matrix.with_budget(m, config.matrix) for name, m in methods.items()}
    if config.matrix.datasets:
        experiments = matrix.experiments_of(config.matrix, methods, imports)
    else:
        experiments = config.on_folds()
    config = config.model_copy(update={"experiments": experiments})
    matrix.check(config.experiments, config.matrix, methods, imports, source)
    _check_view_sets(config, datasets, imports, source)
    _check_beams(config, datasets, source)
    return Project(config, datasets, methods, imports, str(source), calibrated=calibrated)


def _folds(config: Config, dataset: Dataset) -> dict[str, Dataset]:
    """Return a data set by its name, or what leaves each patient of `leave_out` out of it."""
    folds = {
        name: dataset.model_copy(
            update={"name": name, "title": f"{dataset.title}: {patient}", "leave_out": patient}
        )
        for name, patient in config.folds(dataset.name).items()
    }
    return folds or {dataset.name: dataset}


def _check_view_sets(
    config: Config,
    datasets: dict[str, Dataset],
    imports: dict[str, Import2d],
    source: str | Path,
) -> None:
    """See that every experiment evaluates view sets that there are, and poses only where known."""
    known: Collection[str] | None  # None: only a table that is not read yet tells them
    for experiment in config.experiments:
        name = experiment.dataset
        if name in imports:
            known = imports[name].split.view_sets
            if experiment.poses or experiment.capture_range:
                problem = f"an experiment asks for poses of the import {name!r}"
                remedy = (
                    "Leave `poses` and `capture_range` out: imported images have no known geometry"
                )
                raise InputError(source, problem, remedy)
        else:
            known = datasets[name].view_sets
        for view_set in (*experiment.evaluate, *experiment.capture_range):
            if known is not None and view_set not in known:
                raise InputError(
                    source,
                    f"an experiment evaluates the view set {view_set!r}, which the data set "
                    f"{name!r} does not have",
                    f"Known: {', '.join(known)}",
                )
            role = datasets[name].view_sets[view_set].role if name in datasets else view_set
            if role in ("train", "validation"):
                raise InputError(
                    source,
                    f"an experiment evaluates the view set {view_set!r} of {name!r}, by whose images "
                    f"the methods are {'trained' if role == 'train' else 'chosen'}",
                    "Evaluate on a view set of the role `evaluate`, best of other patients",
                )


def _check_beams(config: Config, datasets: dict[str, Dataset], source: str | Path) -> None:
    """See that what set-up errors and contrast name are rendered data sets."""
    named = {
        f"setup of {e.dataset}, {e.method}": (e.dataset, e.setup.reference)
        for e in config.experiments
        if e.setup
    }
    if config.contrast:
        named["contrast"] = (config.contrast.kv, config.contrast.mv)
    for place, names in named.items():
        for name in names:
            if name not in datasets:
                problem = f"{place}: {name!r} is not a rendered data set"
                known = (
                    f"name one of {', '.join(datasets)}" if datasets else "list it in `datasets`"
                )
                remedy = f"Set `{place.split()[0]}: null`, or {known}"
                raise InputError(source, problem, remedy)


def _check_starts(methods: dict[str, Method], source: str | Path) -> None:
    """See that every training has the first model that it starts from, or refines."""
    for name in methods:
        passed = [name]
        while (start := methods[passed[-1]].first) is not None:
            key = "start_from" if methods[passed[-1]].start_from else "refines"
            does = {"start_from": "starts from", "refines": "refines"}[key]
            if start not in methods:
                problem = f"the method {passed[-1]!r} {does} {start!r}, which is not configured"
                raise InputError(source, problem, f"Add config/methods/{start}.yaml to `methods`")
            if start in passed:
                problem = f"methods start from each other: {' from '.join([*passed, start])}"
                raise InputError(source, problem, f"Set `{key}: null` in one of them")
            passed.append(start)


def _read_import(path: str) -> Import2d:
    settings = read_import(path)
    if settings.name != Path(path).stem:
        raise InputError(path, f"name is {settings.name!r}", "Name the file and the key alike")
    return settings


def _read_calibrated(path: str) -> Calibrated:
    settings = read_calibrated(path)
    if settings.name != Path(path).stem:
        raise InputError(path, f"name is {settings.name!r}", "Name the file and the key alike")
    return settings


def read_dataset(path: str, preset: str) -> Dataset:
    """Read a data set file with the values of `preset` laid over its own."""
    return _read_part(Dataset, path, preset)


def read_method(path: str, preset: str) -> Method:
    """Read a method file with the values of `preset` laid over its own."""
    return _read_part(Method, path, preset)
