"""The pipeline's four jobs: files under results/ in, files under results/ out."""

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from raymark import layout
from raymark.config.project import Project
from raymark.core.digests import code_digest, text_digest
from raymark.core.files import sha256_of
from raymark.core.stored_tables import store_table
from raymark.correspondence.config import (
    Correspondence,
    Role,
    correspondence_of,
    cts_for,
    has_unseen_patients,
    subjects_for,
)
from raymark.correspondence.evaluation import evaluate_network, evaluate_sift
from raymark.correspondence.follow_up import align, match_slices, same_slices
from raymark.correspondence.matches import MATCHERS, read_all_matches
from raymark.correspondence.matching import Points, match_by_network, match_by_sift
from raymark.correspondence.report import (
    cumulative_curves,
    follow_up_overlays,
    match_overlays,
)
from raymark.correspondence.second_scan import measure_follow_up, scan_again
from raymark.correspondence.slices import Stack, apart, spread, stack_of
from raymark.correspondence.training import load_model, train
from raymark.ct import Volume, read_label_map, read_volume

SHOWN = 3  # slices in the figure of overlays


def train_network(project: Project) -> None:
    """Train on the training slices of every CT."""
    settings = _settings(project)
    cts = cts_for("train", project, project.sheet)
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


BY_MATCHER = dict(zip(MATCHERS, (_match_by_network, evaluate_sift), strict=True))


def match_test_slices(project: Project, matcher: str) -> None:
    """Match every test slice with its transformed copies by one of `BY_MATCHER`."""
    settings = _settings(project)
    matches = BY_MATCHER[matcher](_stacks("test", settings, project), settings)
    path = layout.CORRESPONDENCE_MATCHES.format(matcher=matcher)
    store_table(pa.Table.from_pandas(matches, preserve_index=False), path)


def match_follow_ups(project: Project) -> None:
    """Match test slices of every CT with a virtual follow-up, by all methods; draw the first CT's."""
    settings = _settings(project)
    network, matching = load_model(layout.CORRESPONDENCE_MODEL)[1], settings.matching

    def by_all(image1: np.ndarray, image2: np.ndarray) -> dict[str, Points]:
        by_network = {"network": match_by_network(network, image1, image2, matching)}
        return by_network | match_by_sift(image1, image2, matching)

    tables: list[pd.DataFrame] = []
    for dataset, subject in subjects_for("test", settings, project, project.sheet):
        first = read_volume(layout.CT.format(dataset=dataset, subject=subject))
        labels = read_label_map(layout.LABELS.format(dataset=dataset, subject=subject))
        scan = scan_again(
            first, labels.labels_xyz, settings.follow_up, subject, project.config.seed
        )
        aligned = align(first, scan.volume)
        stack1 = _stack("test", first, subject, settings, project, settings.follow_up.slices)
        stack2 = same_slices(aligned, stack1, settings)
        matches = match_slices(stack1, stack2, by_all)
        measured = measure_follow_up(matches, stack1, first, aligned, scan)
        if not tables:
            stem = layout.FIGURE.removesuffix(".{format}")
            follow_up_overlays(
                measured, stack1, stack2, stem.format(figure="correspondence-follow_up")
            )
        tables.append(measured)
    matches = pa.Table.from_pandas(pd.concat(tables), preserve_index=False)
    store_table(matches, layout.CORRESPONDENCE_FOLLOW_UP)


def draw_report(project: Project) -> None:
    """Draw the figures of the matches; overlays are of the first CT."""
    settings = _settings(project)
    matches, follow_up = read_all_matches()
    figure = layout.FIGURE.removesuffix(".{format}")
    every = pd.concat([matches, follow_up], ignore_index=True)
    cumulative_curves(every, figure.format(figure="correspondence-cumulative"))
    shown = spread(_stacks("test", settings, project, first=True)[0], SHOWN)
    match_overlays(matches, shown, settings, figure.format(figure="correspondence-overlays"))


def _settings(project: Project) -> Correspondence:
    settings = correspondence_of(project)
    torch.set_num_threads(settings.training.threads)
    return settings


def _stacks(
    role: Role, settings: Correspondence, project: Project, first: bool = False
) -> list[Stack]:
    """Return the slices for a role, CT by CT, or of the `first` CT alone."""
    count = settings.slices.test_slices if role == "test" else None
    cts = cts_for(role, project, project.sheet)
    return [
        _stack(role, read_volume(path), subject, settings, project, count)
        for subject, path in list(cts.items())[: 1 if first else None]
    ]


def _stack(
    role: Role,
    volume: Volume,
    subject: str,
    settings: Correspondence,
    project: Project,
    count: int | None,
) -> Stack:
    """Return `count` (None: all) of a CT's slices for a role."""
    stack = stack_of(volume, subject, settings.slices)
    if not has_unseen_patients(settings, project, project.sheet):
        stack = apart(stack, settings.slices, role)
    return spread(stack, count)
