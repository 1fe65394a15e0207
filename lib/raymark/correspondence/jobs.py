"""The pipeline's jobs: files under results/ in, files under results/ out."""

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
    correspondence_of,
    cts_for,
    subjects_for,
)
from raymark.correspondence.evaluation import evaluate_network, evaluate_sift
from raymark.correspondence.follow_up import align, match_slices, same_slices
from raymark.correspondence.matches import MATCHERS, store_slices
from raymark.correspondence.matching import Points, match_by_network, match_by_sift
from raymark.correspondence.second_scan import measure_follow_up, scan_again
from raymark.correspondence.slices import Stack, stack_for, stacks_for
from raymark.correspondence.training import load_model, train
from raymark.ct import read_label_map, read_volume


def train_network(project: Project) -> None:
    """Train on the training slices of every CT."""
    settings = _settings(project)
    cts = cts_for("train", project, project.sheet)
    code = code_digest("raymark.correspondence.training")
    data = [sha256_of(path) for path in cts.values()]
    train(
        settings,
        list(stacks_for("train", project)),
        layout.CORRESPONDENCE_FOLDER,
        provenance=text_digest(settings.model_dump_json(), code, *data),
    )


def _match_by_network(stacks: list[Stack], settings: Correspondence) -> pd.DataFrame:
    return evaluate_network(load_model(layout.CORRESPONDENCE_MODEL)[1], stacks, settings)


BY_MATCHER = dict(zip(MATCHERS, (_match_by_network, evaluate_sift), strict=True))


def match_test_slices(project: Project, matcher: str) -> None:
    """Match every test slice with its transformed copies by one of `BY_MATCHER`."""
    settings = _settings(project)
    matches = BY_MATCHER[matcher](list(stacks_for("test", project)), settings)
    path = layout.CORRESPONDENCE_MATCHES.format(matcher=matcher)
    store_table(pa.Table.from_pandas(matches, preserve_index=False), path)


def match_follow_ups(project: Project) -> None:
    """Match test slices of every CT with a virtual follow-up, by all methods.

    The slices of the first CT and of its follow-up are kept for a figure.
    """
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
        stack1 = stack_for("test", first, subject, project, settings.follow_up.slices)
        stack2 = same_slices(aligned, stack1, settings)
        matches = match_slices(stack1, stack2, by_all)
        measured = measure_follow_up(matches, stack1, first, aligned, scan)
        if not tables:
            store_slices(stack1, stack2, layout.CORRESPONDENCE_FOLLOW_UP_SLICES)
        tables.append(measured)
    matches = pa.Table.from_pandas(pd.concat(tables), preserve_index=False)
    store_table(matches, layout.CORRESPONDENCE_FOLLOW_UP)


def _settings(project: Project) -> Correspondence:
    settings = correspondence_of(project)
    torch.set_num_threads(settings.training.threads)
    return settings
