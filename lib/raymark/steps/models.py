"""Steps that train, predict and measure."""

from raymark import layout
from raymark.config import read_project
from raymark.material import images_of, shards_of, shards_with_role
from raymark.steps.places import dataset_of, named, with_its_threads


def train(config: str, dataset: str, method: str, seed: int) -> None:
    from raymark.shards import Shards
    from raymark.training import train

    project = read_project(config)
    settings = with_its_threads(project, method)
    first = settings.start_from
    train(
        settings,
        Shards(shards_with_role(project, dataset, "train")),
        Shards(shards_with_role(project, dataset, "validation")),
        layout.MODEL_FOLDER.format(dataset=dataset, method=method, seed=seed),
        seed,
        start_from=first and layout.MODEL.format(dataset=dataset, method=first, seed=seed),
    )


def predict_views(config: str, dataset: str, method: str, seed: int, view_set: str) -> None:
    from raymark.prediction import predict
    from raymark.shards import Shards

    project = read_project(config)
    with_its_threads(project, method)
    place = {"dataset": dataset, "method": method, "seed": seed}
    predict(
        layout.MODEL.format(**place),
        Shards(shards_of(project, dataset, view_set)),
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
        shards_of(project, dataset, view_set),
        layout.VIEWS.format(dataset=dataset),
        images_of(project, dataset),
        layout.ERRORS.format(**place),
    )


def mean_position(config: str, dataset: str, view_set: str) -> None:
    from raymark.evaluation import evaluate_mean_position

    project = read_project(config)
    evaluate_mean_position(
        shards_with_role(project, dataset, "train"),
        shards_of(project, dataset, view_set),
        layout.VIEWS.format(dataset=dataset),
        images_of(project, dataset),
        layout.MEAN_POSITION.format(dataset=dataset, view_set=view_set),
    )


def pose(config: str, dataset: str, method: str, seed: int, view_set: str) -> None:
    from raymark.poses import estimate_poses

    project = read_project(config)
    place = {"dataset": dataset, "method": method, "seed": seed, "view_set": view_set}
    estimate_poses(
        layout.PREDICTIONS.format(**place),
        shards_of(project, dataset, view_set),
        layout.VIEWS.format(dataset=dataset),
        dataset_of(project, dataset),
        project.config.pose,
        layout.POSES.format(**place),
    )


def capture_range(config: str, dataset: str, view_set: str) -> None:
    from raymark.poses import measure_capture_range

    project = read_project(config)
    measure_capture_range(
        shards_of(project, dataset, view_set),
        dataset_of(project, dataset),
        view_set,
        project.config.pose,
        layout.CAPTURE_RANGE.format(dataset=dataset, view_set=view_set),
    )


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
