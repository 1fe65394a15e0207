"""Steps that train, predict and measure."""

from raymark import layout
from raymark.config.method import Method
from raymark.config.project import Project, read_project
from raymark.core.errors import InputError, named
from raymark.datasets.lookup import (
    dataset_of,
    landmark_types,
    rendered,
    shards_of,
    shards_with_role,
)


def train(config: str, dataset: str, method: str, seed: int) -> None:
    from raymark.datasets.shards import Shards
    from raymark.training.train import train

    project = read_project(config)
    settings = _with_its_threads(project, method)
    first = settings.start_from
    train(
        settings,
        Shards(shards_with_role(project, dataset, "train")),
        Shards(shards_with_role(project, dataset, "validation")),
        layout.MODEL_FOLDER.format(dataset=dataset, method=method, seed=seed),
        seed,
        start_from=first and layout.MODEL.format(dataset=dataset, method=first, seed=seed),
        types=landmark_types(dataset_of(project, dataset)),
    )


def predict_views(config: str, dataset: str, method: str, seed: int, view_set: str) -> None:
    from raymark.datasets.shards import Shards
    from raymark.detection.on_views import predict

    project = read_project(config)
    _with_its_threads(project, method)
    place = {"dataset": dataset, "method": method, "seed": seed}
    predict(
        layout.MODEL.format(**place),
        Shards(shards_of(project, dataset, view_set)),
        layout.PREDICTIONS.format(**place, view_set=view_set),
        dataset,
        view_set,
    )


def evaluate(config: str, dataset: str, method: str, seed: int, view_set: str) -> None:
    from raymark.evaluation.errors import evaluate

    project = read_project(config)
    place = {"dataset": dataset, "method": method, "seed": seed, "view_set": view_set}
    evaluate(
        layout.PREDICTIONS.format(**place),
        shards_of(project, dataset, view_set),
        layout.VIEWS.format(dataset=dataset),
        dataset_of(project, dataset),
        layout.ERRORS.format(**place),
        landmark_types(dataset_of(project, dataset)),
    )


def mean_position(config: str, dataset: str, view_set: str) -> None:
    from raymark.evaluation.errors import evaluate_mean_position

    project = read_project(config)
    evaluate_mean_position(
        shards_with_role(project, dataset, "train"),
        shards_of(project, dataset, view_set),
        layout.VIEWS.format(dataset=dataset),
        dataset_of(project, dataset),
        layout.MEAN_POSITION.format(dataset=dataset, view_set=view_set),
    )


def pose(config: str, dataset: str, method: str, seed: int, view_set: str) -> None:
    from raymark.pose.estimate import estimate_poses

    project = read_project(config)
    place = {"dataset": dataset, "method": method, "seed": seed, "view_set": view_set}
    estimate_poses(
        layout.PREDICTIONS.format(**place),
        shards_of(project, dataset, view_set),
        layout.VIEWS.format(dataset=dataset),
        rendered(project, dataset),
        project.config.pose,
        layout.POSES.format(**place),
    )


def capture_range(config: str, dataset: str, view_set: str) -> None:
    from raymark.pose.estimate import measure_capture_range

    project = read_project(config)
    measure_capture_range(
        shards_of(project, dataset, view_set),
        rendered(project, dataset),
        view_set,
        project.config.pose,
        layout.CAPTURE_RANGE.format(dataset=dataset, view_set=view_set),
    )


def setup_error(config: str, dataset: str, method: str, seed: int, view_set: str) -> None:
    from raymark.landmarks.table import read_landmark_set
    from raymark.radiotherapy.setup_errors import measure_setup

    project = read_project(config)
    place = {"dataset": dataset, "method": method, "seed": seed, "view_set": view_set}
    asked = {_spoken(p): p["reference"] for p in project.setup_places()}
    reference = named(asked, _spoken(place), "set-up error of")
    settings = rendered(project, dataset)
    measure_setup(
        layout.PREDICTIONS.format(**place),
        shards_of(project, dataset, view_set),
        layout.VIEWS.format(dataset=dataset),
        settings,
        read_landmark_set(settings.landmarks).kind_of,
        rendered(project, reference).physics,
        project.config.setup,
        layout.SETUP.format(**place),
    )


def _spoken(place: dict) -> str:
    return "{dataset} {method} {seed} {view_set}".format(**place)


def contrast(config: str) -> None:
    from raymark.core.files import atomic
    from raymark.radiotherapy.contrast import contrast_table, read_tabulated
    from raymark.radiotherapy.contrast_views import beams_of, patient_views

    project = read_project(config)
    settings = project.config.contrast
    if settings is None:
        raise InputError(config, "has no `contrast`", "Name its data sets: config/README.md")
    projector = rendered(project, settings.mv).projector
    views = list(patient_views(project))
    tabulated = read_tabulated(settings.tabulated)
    table = contrast_table(beams_of(project), tabulated, projector, views)
    with atomic(layout.CONTRAST) as partial:
        table.to_csv(partial, index=False)


def correspondence_train(config: str) -> None:
    from raymark.correspondence.jobs import train_network

    train_network(read_project(config))


def correspondence_match(config: str, matcher: str) -> None:
    from raymark.correspondence.jobs import MATCHERS, match_test_slices

    named(MATCHERS, matcher, "matcher")
    match_test_slices(read_project(config), matcher)


def correspondence_follow_up(config: str) -> None:
    from raymark.correspondence.jobs import match_follow_ups

    match_follow_ups(read_project(config))


def correspondence_report(config: str) -> None:
    from raymark.correspondence.jobs import write_report

    write_report(read_project(config))


def _with_its_threads(project: Project, name: str) -> Method:
    """Return a method, with torch set to the method's number of threads."""
    import torch

    method = project.named(project.methods, name, "method")
    torch.set_num_threads(method.training.threads)
    return method
