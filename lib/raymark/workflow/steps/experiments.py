"""Steps that train, predict and measure."""

from typing import TYPE_CHECKING, Any

from raymark import layout
from raymark.workflow.steps.arguments import DatasetName, Matcher, MethodName, Seed, ViewSetName

if TYPE_CHECKING:
    from raymark.config.method import Method
    from raymark.config.project import Project


def train(project: "Project", dataset: DatasetName, method: MethodName, seed: Seed) -> None:
    """Train a method; resumes if it was interrupted."""
    from raymark.datasets.lookup import landmark_types, shards_with_role
    from raymark.datasets.shards import Shards
    from raymark.training.train import train
    from raymark.workflow import inputs

    settings = _with_its_threads(project, method)
    first = next(iter(inputs.train(project, dataset, method, seed)["first"]), None)
    refined = settings.refines and project.methods[settings.refines]
    threshold = refined.detection_threshold if refined else None
    train(
        settings,
        Shards(shards_with_role(project, dataset, "train")),
        Shards(shards_with_role(project, dataset, "validation")),
        layout.MODEL_FOLDER.format(dataset=dataset, method=method, seed=seed),
        seed,
        start_from=first if settings.start_from else None,
        types=landmark_types(project, dataset),
        refines=first if settings.refines else None,
        refined_threshold=threshold,
    )


def predict_views(
    project: "Project", dataset: DatasetName, method: MethodName, seed: Seed, view_set: ViewSetName
) -> None:
    """Predict a view set's landmarks."""
    from raymark.datasets.lookup import shards_of
    from raymark.datasets.shards import Shards
    from raymark.detection.on_views import predict
    from raymark.workflow import inputs

    settings = _with_its_threads(project, method)
    place = _place(dataset, method, seed, view_set)
    predict(
        inputs.predict(project, **place)["model"],
        Shards(shards_of(project, dataset, view_set)),
        layout.PREDICTIONS.format(**place),
        dataset,
        view_set,
        settings.detection_threshold,
    )


def evaluate(
    project: "Project", dataset: DatasetName, method: MethodName, seed: Seed, view_set: ViewSetName
) -> None:
    """Compare predictions with truth."""
    from raymark.datasets.lookup import dataset_of, landmark_types, shards_of, views_of
    from raymark.evaluation.errors import evaluate
    from raymark.workflow import inputs

    place = _place(dataset, method, seed, view_set)
    evaluate(
        inputs.evaluate(project, **place)["predictions"],
        shards_of(project, dataset, view_set),
        views_of(project, dataset, view_set),
        dataset_of(project, dataset),
        layout.ERRORS.format(**place),
        landmark_types(project, dataset),
    )


def mean_position(project: "Project", dataset: DatasetName, view_set: ViewSetName) -> None:
    """Evaluate the baseline that looks at no image."""
    from raymark.datasets.lookup import (
        dataset_of,
        shards_of,
        shards_with_role,
        view_sets_with_role,
        views_of,
    )
    from raymark.evaluation.errors import evaluate_mean_position

    settings = dataset_of(project, dataset)
    evaluate_mean_position(
        shards_with_role(project, dataset, "train"),
        shards_of(project, dataset, view_set),
        views_of(project, dataset, *view_sets_with_role(settings, "train"), view_set),
        settings,
        layout.MEAN_POSITION.format(dataset=dataset, view_set=view_set),
    )


def pose(
    project: "Project", dataset: DatasetName, method: MethodName, seed: Seed, view_set: ViewSetName
) -> None:
    """Estimate and refine poses."""
    from raymark.datasets.lookup import cts_of, rendered, shards_of, views_of
    from raymark.pose.estimate import estimate_poses
    from raymark.workflow import inputs

    place = _place(dataset, method, seed, view_set)
    estimate_poses(
        inputs.pose(project, **place)["predictions"],
        shards_of(project, dataset, view_set),
        views_of(project, dataset, view_set),
        cts_of(project, dataset, view_set),
        rendered(project, dataset),
        project.config.pose,
        layout.POSES.format(**place),
    )


def capture_range(project: "Project", dataset: DatasetName, view_set: ViewSetName) -> None:
    """Try from how far refinement finds back."""
    from raymark.datasets.lookup import cts_of, rendered, shards_of
    from raymark.pose.estimate import measure_capture_range

    measure_capture_range(
        shards_of(project, dataset, view_set),
        cts_of(project, dataset, view_set),
        rendered(project, dataset),
        view_set,
        project.config.pose,
        layout.CAPTURE_RANGE.format(dataset=dataset, view_set=view_set),
    )


def setup_error(
    project: "Project", dataset: DatasetName, method: MethodName, seed: Seed, view_set: ViewSetName
) -> None:
    """Measure set-up errors."""
    from raymark.core.errors import named
    from raymark.datasets.lookup import cts_of, rendered, shards_of, views_of
    from raymark.landmarks.table import read_landmark_set
    from raymark.radiotherapy.setup_errors import measure_setup
    from raymark.workflow import inputs

    place = _place(dataset, method, seed, view_set)
    asked = {_spoken(p): p["reference"] for p in project.setup_places()}
    reference = named(asked, _spoken(place), "set-up error of")
    files = inputs.setup_error(project, **place)
    measure_setup(
        files["predictions"],
        shards_of(project, dataset, view_set),
        views_of(project, dataset, view_set),
        cts_of(project, dataset, view_set),
        rendered(project, dataset),
        read_landmark_set(files["names"]).kind_of,
        rendered(project, reference).physics,
        project.config.setup,
        layout.SETUP.format(**place),
    )


def _spoken(place: dict) -> str:
    return "{dataset} {method} {seed} {view_set}".format(**place)


def contrast(project: "Project") -> None:
    """Measure the contrast of bone, kilovoltage against megavoltage."""
    from raymark.core.files import atomic
    from raymark.datasets.lookup import rendered
    from raymark.radiotherapy.contrast import contrast_table, read_tabulated
    from raymark.radiotherapy.contrast_views import beams_of, patient_views
    from raymark.workflow import inputs

    projector = rendered(project, project.contrast.mv).projector
    files = inputs.contrast(project)
    views = list(patient_views(project, files))
    tabulated = read_tabulated(files["tabulated"])
    table = contrast_table(beams_of(project), tabulated, projector, views)
    with atomic(layout.CONTRAST) as partial:
        table.to_csv(partial, index=False)


def correspondence_train(project: "Project") -> None:
    """Train the network that matches CT slices."""
    from raymark.correspondence.jobs import train_network

    train_network(project)


def correspondence_match(project: "Project", matcher: Matcher) -> None:
    """Match the test slices with their transformed copies."""
    from raymark.core.errors import named
    from raymark.correspondence.jobs import BY_MATCHER, match_test_slices

    named(BY_MATCHER, matcher, "matcher")
    match_test_slices(project, matcher)


def correspondence_follow_up(project: "Project") -> None:
    """Match the test slices with a virtual second scan."""
    from raymark.correspondence.jobs import match_follow_ups

    match_follow_ups(project)


def _place(dataset: str, method: str, seed: int, view_set: str) -> dict[str, Any]:
    """Return what fills a path's pattern (`raymark.layout`) for one training and view set."""
    return {"dataset": dataset, "method": method, "seed": seed, "view_set": view_set}


def _with_its_threads(project: "Project", name: str) -> "Method":
    """Return a method, with torch set to the method's number of threads."""
    import torch

    method = project.named(project.methods, name, "method")
    torch.set_num_threads(method.training.threads)
    return method
