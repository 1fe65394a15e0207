"""What each subcommand does: names of the configuration in, files under results/ out.

Paths come from `raymark.layout`, work is done elsewhere; the heavy libraries are imported inside the
steps that need them, so that every command starts fast.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from raymark import layout
from raymark.config import Dataset, Method, Project, read_project
from raymark.errors import InputError
from raymark.files import sha256_of
from raymark.imported import Imported, read_imported
from raymark.subjects import Subject, parent_of, read_subjects


def fetch(config: str, source: str) -> None:
    from raymark.sources import fetch, read_sources

    sources = read_sources(read_project(config).config.sources)
    declared = _named(sources, source, "source")
    fetch(declared, layout.SOURCE.format(source=source, file=Path(declared.member).name))


def ingest(config: str, dataset: str, subject: str) -> None:
    from raymark.ct import ingest

    project = read_project(config)
    row = _subject(project, subject)
    ingest(
        _file_of(project, row.ct),
        _file_of(project, row.labels) if row.labels else None,
        _dataset(project, dataset).ct,
        out_volume=layout.CT.format(dataset=dataset, subject=subject),
        out_labels=layout.LABELS.format(dataset=dataset, subject=subject),
        out_quality=layout.QUALITY.format(dataset=dataset, subject=subject),
        subject=subject,
    )


def landmarks(config: str, dataset: str, subject: str) -> None:
    from raymark.ct import read_label_map
    from raymark.landmarks import (
        check_landmarks,
        compute_landmarks,
        read_landmark_set,
        write_landmarks,
    )

    project = read_project(config)
    row = _subject(project, subject)
    landmark_set = read_landmark_set(_dataset(project, dataset).landmarks)
    labels_path = layout.LABELS.format(dataset=dataset, subject=subject)
    labels = read_label_map(labels_path)
    source = _file_of(project, row.landmarks)
    if row.landmarks.startswith("recipe:"):
        recipes = read_landmark_set(source)
        grid = labels.labels_xyz, labels.affine
        table = compute_landmarks(*grid, recipes, subject, labels_path)
    else:
        from raymark.landmarks import read_landmarks

        table = read_landmarks(source, subject)
    shape = labels.labels_xyz.shape
    names, pairs = landmark_set.names, landmark_set.flip_pairs
    table = check_landmarks(table, names, shape, labels.affine, pairs, source)
    write_landmarks(table, layout.LANDMARKS.format(dataset=dataset, subject=subject))


def virtual_patient(config: str, dataset: str, subject: str) -> None:
    from raymark.cohort import make_virtual_patient, write_virtual_patient
    from raymark.ct import read_label_map, read_volume

    project = read_project(config)
    parent = _subject(project, subject).subject
    if parent == subject:
        raise InputError(
            subject, "is not a virtual patient", f"Ask for {subject}-v001, for example"
        )
    volume = read_volume(layout.CT.format(dataset=dataset, subject=parent))
    labels = read_label_map(layout.LABELS.format(dataset=dataset, subject=parent))
    table = pd.read_csv(layout.LANDMARKS.format(dataset=dataset, subject=parent))
    patient = make_virtual_patient(
        volume.hu_xyz,
        labels.labels_xyz,
        volume.affine,
        table[["x_mm", "y_mm", "z_mm"]].to_numpy(),
        _dataset(project, dataset).cohort,
        dataset=dataset,
        subject=subject,
        seed=project.config.seed,
    )
    write_virtual_patient(
        patient,
        table,
        ct=layout.CT.format(dataset=dataset, subject=subject),
        labels=layout.LABELS.format(dataset=dataset, subject=subject),
        landmarks=layout.LANDMARKS.format(dataset=dataset, subject=subject),
        check=layout.DEFORMATION.format(dataset=dataset, subject=subject),
    )


def views(config: str, dataset: str) -> None:
    from raymark.views import plan_views, subjects_of, write_views

    project = read_project(config)
    settings = _dataset(project, dataset)
    sheet = read_subjects(project.config.subjects)
    shown = {s for name in settings.view_sets for s in subjects_of(settings, name, sheet)}
    isocentres = {
        subject: _landmark_points(settings, subject).mean(axis=0) for subject in sorted(shown)
    }
    table = plan_views(settings, sheet, isocentres, project.config.seed)
    write_views(layout.VIEWS.format(dataset=dataset), table)


def render(config: str, dataset: str, view_set: str, subject: str, shard: int) -> None:
    from raymark.ct import read_volume
    from raymark.provenance import text_digest
    from raymark.rendering import render_shard
    from raymark.views import read_views

    settings = _dataset(read_project(config), dataset)
    names, pairs = _landmark_names(settings)
    place = {"view_set": view_set, "subject": subject, "shard": shard}
    table = read_views(layout.VIEWS.format(dataset=dataset), **place)
    if table.empty:
        raise InputError(
            f"shard {shard} of {dataset}, {view_set}, {subject}",
            "has no views",
            "See the views table for what there is",
        )
    ct = layout.CT.format(dataset=dataset, subject=subject)
    points = _landmark_points(settings, subject)
    content = [sha256_of(ct), points.tobytes().hex(), table.to_csv(index=False)]
    render_shard(
        read_volume(ct),
        points,
        names,
        pairs,
        table,
        settings,
        layout.SHARD.format(dataset=dataset, **(place | {"shard": layout.shard_name(shard)})),
        digest=text_digest(*content, settings.model_dump_json(exclude={"view_sets", "cohort"})),
    )


def train(config: str, dataset: str, method: str, seed: int) -> None:
    from raymark.shards import Shards
    from raymark.training import train

    project = read_project(config)
    settings = _with_its_threads(project, method)
    first = settings.start_from
    train(
        settings,
        Shards(_shards_with_role(project, dataset, "train")),
        Shards(_shards_with_role(project, dataset, "validation")),
        layout.MODEL_FOLDER.format(dataset=dataset, method=method, seed=seed),
        seed,
        start_from=first and layout.MODEL.format(dataset=dataset, method=first, seed=seed),
    )


def predict_views(config: str, dataset: str, method: str, seed: int, view_set: str) -> None:
    from raymark.prediction import predict
    from raymark.shards import Shards

    project = read_project(config)
    _with_its_threads(project, method)
    place = {"dataset": dataset, "method": method, "seed": seed}
    predict(
        layout.MODEL.format(**place),
        Shards(_shards(project, dataset, view_set)),
        layout.PREDICTIONS.format(**place, view_set=view_set),
        dataset,
        view_set,
    )


def evaluate(config: str, dataset: str, method: str, seed: int, view_set: str) -> None:
    from raymark.evaluation import evaluate

    project = read_project(config)
    place = {"dataset": dataset, "method": method, "seed": seed, "view_set": view_set}
    evaluate(
        layout.PREDICTIONS.format(**place),
        _shards(project, dataset, view_set),
        layout.VIEWS.format(dataset=dataset),
        _images(project, dataset),
        layout.ERRORS.format(**place),
    )


def pose(config: str, dataset: str, method: str, seed: int, view_set: str) -> None:
    from raymark.poses import estimate_poses

    project = read_project(config)
    place = {"dataset": dataset, "method": method, "seed": seed, "view_set": view_set}
    estimate_poses(
        layout.PREDICTIONS.format(**place),
        _shards(project, dataset, view_set),
        layout.VIEWS.format(dataset=dataset),
        _dataset(project, dataset),
        project.config.pose,
        layout.POSES.format(**place),
    )


def capture_range(config: str, dataset: str, view_set: str) -> None:
    from raymark.poses import measure_capture_range

    project = read_project(config)
    measure_capture_range(
        _shards(project, dataset, view_set),
        _dataset(project, dataset),
        view_set,
        project.config.pose,
        layout.CAPTURE_RANGE.format(dataset=dataset, view_set=view_set),
    )


def mean_position(config: str, dataset: str, view_set: str) -> None:
    from raymark.evaluation import evaluate_mean_position

    project = read_project(config)
    evaluate_mean_position(
        _shards_with_role(project, dataset, "train"),
        _shards(project, dataset, view_set),
        layout.VIEWS.format(dataset=dataset),
        _images(project, dataset),
        layout.MEAN_POSITION.format(dataset=dataset, view_set=view_set),
    )


def correspondence_train(config: str) -> None:
    from raymark.correspondence.jobs import train_network

    train_network(read_project(config))


def correspondence_match(config: str, matcher: str) -> None:
    from raymark.correspondence.jobs import MATCHERS, match_test_slices

    _named(MATCHERS, matcher, "matcher")
    match_test_slices(read_project(config), matcher)


def correspondence_report(config: str) -> None:
    from raymark.correspondence.jobs import write_report

    write_report(read_project(config))


def match_cts(
    model_path: str, first_path: str, second_path: str, out_dir: str, slice_count: int | None
) -> None:
    from raymark.correspondence.follow_up import match_follow_up

    matches = match_follow_up(model_path, first_path, second_path, out_dir, slice_count)
    print(
        f"{len(matches)} matches on {matches['slice_mm'].nunique()} slices: {out_dir}/matches.csv"
    )


def table(config: str, table: str) -> None:
    from raymark.tables import TABLES, make_table, write_table

    _named(TABLES, table, "table")
    stem = layout.TABLE.format(table=table, format="csv").removesuffix(".csv")
    write_table(make_table(table, read_project(config)), stem)


def figure(config: str, figure: str) -> None:
    from raymark.figures.make import make_figure

    stem = layout.FIGURE.format(figure=figure, format="svg").removesuffix(".svg")
    make_figure(figure, read_project(config), stem)


def schemas(root: str) -> None:
    from raymark.reference import write_reference

    write_reference(root)


def predict(model_path: str, image_paths: list[str], out_dir: str, pixel_mm: float | None) -> None:
    from raymark.detect import predict_images

    predict_images(model_path, image_paths, out_dir, pixel_mm)


def export(model_path: str, out_path: str) -> None:
    from raymark.export import export_onnx

    print(f"{out_path}: takes {export_onnx(model_path, out_path)}")


def progress(log: str | None) -> None:
    from datetime import datetime

    from raymark.progress import newest_log, progress, read_run

    print(progress(read_run(log or newest_log()), datetime.now()))


def check(folder: str, delete: bool) -> None:
    from raymark.shards import check_shard

    paths, damaged = sorted(Path(folder).rglob("*.zarr.zip")), []
    for path in paths:
        try:
            check_shard(path)
        except InputError as error:
            damaged.append(path)
            print(error)
            if delete:
                path.unlink()
    print(
        f"{len(paths)} shards, {len(damaged)} damaged{' and deleted' * (delete and bool(damaged))}"
    )
    if damaged and not delete:
        raise InputError(damaged[0], "is damaged", "Delete the damaged: raymark check --delete")


def import_2d(import_path: str) -> None:
    from raymark.import2d import import_2d, odd_scales
    from raymark.settings2d import read_import

    images = import_2d(read_import(import_path), import_path)
    for view_set, rows in images.groupby("view_set", sort=True):
        print(f"{view_set}: {len(rows)} images of {rows['patient'].nunique()} patients")
    for row in odd_scales(images).itertuples():
        print(
            f"{row.file}: {row.pixel_mm:.3g} mm per pixel, far from the others': check its points"
        )


def _named(table: dict, name: str, kind: str):
    """Look a name up; an unknown one is the user's mistake."""
    if name not in table:
        raise InputError(f"{kind} {name!r}", "is not known", f"Known: {', '.join(table)}")
    return table[name]


def _dataset(project: Project, name: str) -> Dataset:
    return _named(project.datasets, name, "data set")


def _landmark_names(settings: Dataset) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the landmarks a data set uses, in its order, and those of them that swap sides."""
    from raymark.landmarks import flip_pairs, read_landmark_set

    landmark_set = read_landmark_set(settings.landmarks)
    names = settings.use_landmarks or landmark_set.names
    unknown = [name for name in names if name not in landmark_set.names]
    if unknown:
        raise InputError(
            f"data set {settings.name}, use_landmarks",
            f"{unknown[0]!r} is not in {settings.landmarks}",
            f"Known: {', '.join(landmark_set.names)}",
        )
    return names, flip_pairs(names)


def _landmark_points(settings: Dataset, subject: str) -> np.ndarray:
    """Return the used landmarks of a subject, (landmark, 3) in world mm, in the data set's order."""
    path = layout.LANDMARKS.format(dataset=settings.name, subject=subject)
    table = pd.read_csv(path).set_index("landmark")
    names, _ = _landmark_names(settings)
    return table.loc[names, ["x_mm", "y_mm", "z_mm"]].to_numpy()


def _with_its_threads(project: Project, name: str) -> Method:
    """Return a method, with torch set to the method's number of threads."""
    import torch

    method = _named(project.methods, name, "method")
    torch.set_num_threads(method.training.threads)
    return method


def _images(project: Project, name: str) -> Dataset | Imported:
    """Return a data set of the configuration, or else one that `raymark import-2d` wrote."""
    configured = project.datasets.get(name)
    return configured or read_imported(name) or _dataset(project, name)


def _shards(project: Project, dataset: str, view_set: str) -> list[str]:
    """Return the paths of a view set's shards."""
    from raymark.views import shards_of_view_set

    settings = _images(project, dataset)
    shown = _named(settings.view_sets, view_set, "view set")
    if not isinstance(settings, Dataset):
        return shown.shards
    place = {"dataset": dataset, "view_set": view_set}
    sheet = read_subjects(project.config.subjects)
    return [
        layout.SHARD.format(**place, subject=subject, shard=layout.shard_name(shard))
        for subject, shard in shards_of_view_set(settings, view_set, sheet)
    ]


def _shards_with_role(project: Project, dataset: str, role: str) -> list[str]:
    view_sets = _images(project, dataset).view_sets
    names = [name for name, view_set in view_sets.items() if view_set.role == role]
    return [path for name in names for path in _shards(project, dataset, name)]


def _subject(project: Project, name: str) -> Subject:
    return _named(read_subjects(project.config.subjects), parent_of(name), "subject")


def _file_of(project: Project, reference: str) -> str:
    """Turn a cell of the subject sheet into the file it means."""
    from raymark.sources import read_sources

    kind, _, name = reference.partition(":")
    if kind != "source":
        return name if kind == "recipe" else reference
    source = _named(read_sources(project.config.sources), name, "source")
    return layout.SOURCE.format(source=name, file=Path(source.member).name)
