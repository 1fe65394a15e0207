"""The pipeline's three jobs: files under results/ in, files under results/ out."""

import pandas as pd
import torch

from raymark import layout
from raymark.config import Project
from raymark.correspondence.config import (
    Correspondence,
    cts_for,
    has_unseen_patients,
    read_correspondence,
)
from raymark.correspondence.evaluation import evaluate_network, evaluate_sift
from raymark.correspondence.report import (
    correspondence_table,
    cumulative_curves,
    match_overlays,
    tested_on,
)
from raymark.correspondence.slices import Stack, apart, spread, stack_of
from raymark.correspondence.training import load_model, train
from raymark.ct import read_volume
from raymark.files import atomic, sha256_of
from raymark.papers import read_paper
from raymark.provenance import code_digest, text_digest
from raymark.subjects import read_subjects
from raymark.tables import write_table

SHOWN = 3  # slices in the figure of overlays


def train_network(project: Project) -> None:
    """Train on the training slices of every CT."""
    settings = _settings(project)
    cts = cts_for("train", project, read_subjects(project.config.subjects))
    code = code_digest("raymark.correspondence.training")
    data = [sha256_of(path) for path in cts.values()]
    train(
        settings,
        _stacks("train", settings, project),
        layout.CORRESPONDENCE_FOLDER,
        provenance=text_digest(settings.model_dump_json(), code, *data),
    )


def _match_by_network(stacks: list[Stack], settings: Correspondence) -> pd.DataFrame:
    return evaluate_network(load_model(layout.CORRESPONDENCE_MODEL)[1], stacks, settings)


MATCHERS = {"network": _match_by_network, "sift": evaluate_sift}


def match_test_slices(project: Project, matcher: str) -> None:
    """Match every test slice with its transformed copies by one of `MATCHERS`."""
    settings = _settings(project)
    matches = MATCHERS[matcher](_stacks("test", settings, project), settings)
    with atomic(layout.CORRESPONDENCE_MATCHES.format(matcher=matcher)) as partial:
        matches.to_parquet(partial, index=False)


def write_report(project: Project) -> None:
    """Write the table, and the figures; overlays are of the first CT."""
    settings = _settings(project)
    paths = [layout.CORRESPONDENCE_MATCHES.format(matcher=matcher) for matcher in MATCHERS]
    matches = pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)
    label = "demo scale" if project.config.preset == "demo" else ""
    where = tested_on(settings, project, read_subjects(project.config.subjects))
    table = correspondence_table(matches, read_paper("correspondence"), label, where)
    write_table(table, layout.TABLE.removesuffix(".{format}").format(table="correspondence"))
    figure = layout.FIGURE.removesuffix(".{format}")
    cumulative_curves(matches, figure.format(figure="correspondence-cumulative"))
    shown = spread(_stacks("test", settings, project, first=True)[0], SHOWN)
    match_overlays(matches, shown, settings, figure.format(figure="correspondence-overlays"))


def _settings(project: Project) -> Correspondence:
    settings = read_correspondence(project.config.preset)
    torch.set_num_threads(settings.training.threads)
    return settings


def _stacks(
    role: str, settings: Correspondence, project: Project, first: bool = False
) -> list[Stack]:
    """Return the slices for a role, CT by CT, or of the `first` CT alone."""
    sheet = read_subjects(project.config.subjects)
    whole = has_unseen_patients(settings, project, sheet)
    stacks = []
    for subject, path in list(cts_for(role, project, sheet).items())[: 1 if first else None]:
        stack = stack_of(read_volume(path), subject, settings.slices)
        stack = stack if whole else apart(stack, settings.slices, role)
        stacks.append(spread(stack, settings.slices.test_slices) if role == "test" else stack)
    return stacks
