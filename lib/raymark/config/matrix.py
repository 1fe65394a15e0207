"""The matrix: every method on some data sets, each seeing equally many views of them.

Which pairs take part is decided from the configuration alone, before any job starts.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

from raymark.config.method import Method
from raymark.config.results import Experiment, Matrix
from raymark.core.errors import InputError


def reason_against(method: Method, imported: bool, matrix: Matrix) -> str | None:
    """Say why a method cannot be trained on a data set, or not with the others' budget; else None.

    `imported`: whether the images came with annotations instead of being rendered from CTs.
    """
    if method.needs_3d and imported:
        return "its loss needs 3D landmarks and cameras, which imported images do not have"
    if method.start_from and matrix.views_seen:
        return f"it starts from the trained model of {method.start_from} and would see more views than the others"
    return None


def experiments_of(
    matrix: Matrix, methods: Mapping[str, Method], imports: Collection[str]
) -> list[Experiment]:
    """List one experiment for each method that can be trained on each data set of the matrix."""
    return [
        Experiment(dataset=dataset, method=name, evaluate=view_sets)
        for dataset, view_sets in matrix.datasets.items()
        for name, method in methods.items()
        if reason_against(method, dataset in imports, matrix) is None
    ]


def check(
    experiments: list[Experiment],
    matrix: Matrix,
    methods: Mapping[str, Method],
    imports: Collection[str],
    source: str | Path,
) -> None:
    """Refuse (InputError) experiments that cannot be trained, and a baseline that is no method."""
    if matrix.baseline and matrix.baseline not in methods:
        problem = f"{matrix.baseline!r} is not a configured method"
        raise InputError(f"{source}, matrix.baseline", problem, f"Known: {', '.join(methods)}")
    for experiment in experiments:
        imported = experiment.dataset in imports
        reason = reason_against(methods[experiment.method], imported, matrix)
        if reason:
            problem = f"{experiment.method!r} cannot be trained on {experiment.dataset!r}: {reason}"
            raise InputError(source, problem, "Leave this experiment out")


def with_budget(method: Method, matrix: Matrix) -> Method:
    """Return the method with the matrix's number of views in the place of its own epochs."""
    if matrix.views_seen is None:
        return method
    budget = {"views_seen": matrix.views_seen, "patience": None}
    return method.model_copy(update={"training": method.training.model_copy(update=budget)})
