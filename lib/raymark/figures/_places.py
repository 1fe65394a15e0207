"""What figures are drawn of, and the report's chapters that they belong to."""

from raymark.config.project import Project
from raymark.config.results import Experiment
from raymark.datasets.lookup import only_rendered
from raymark.tables.base import chapter_of_paper

Of = list[tuple[str, ...]]


def where_evaluated(project: Project) -> Of:
    """Ask for one figure of the whole project, where it evaluates anything."""
    return [()] if experiments(project) else []


def data_sets(project: Project) -> Of:
    """List the data sets that are trained on."""
    return list(dict.fromkeys((e.dataset,) for e in project.config.experiments))


def shown_data_sets(project: Project) -> Of:
    """List the data sets that are trained on, and those that are rendered for nothing but themselves."""
    return [*data_sets(project), *((name,) for name in only_rendered(project))]


def rendered_data_sets(project: Project) -> Of:
    return [of for of in shown_data_sets(project) if of[0] in project.datasets]


def experiments(project: Project) -> Of:
    """List every data set, method and evaluated view set."""
    return [(e.dataset, e.method, v) for e in project.config.experiments for v in e.evaluate]


def standard_experiments(project: Project) -> Of:
    """List the experiments on images without a scenario, such as a tool in the image.

    Scenarios are shown by the figures that have images.
    """
    return [of for of in experiments(project) if not _is_scenario(project, of[0], of[-1])]


def standard_view_sets(project: Project) -> Of:
    """List every data set and evaluated view set without a scenario."""
    return list(dict.fromkeys((of[0], of[-1]) for of in standard_experiments(project)))


def grid_experiments(project: Project) -> Of:
    """List the experiments on grids of views, which maps of the view sphere need."""
    return [of for of in experiments(project) if is_grid(project, of[0], of[-1])]


def set_up_experiments(project: Project) -> Of:
    """List the experiments that measure set-up errors."""
    return _named(project.setup_places())


def posed_experiments(project: Project) -> Of:
    """List the experiments that estimate poses."""
    return _named(project.pose_places())


def is_grid(project: Project, dataset: str, view_set: str) -> bool:
    """Tell whether the views of a view set are a grid."""
    return (
        dataset in project.datasets
        and project.datasets[dataset].view_sets[view_set].sampling.kind == "grid"
    )


def _is_scenario(project: Project, dataset: str, view_set: str) -> bool:
    if dataset not in project.datasets:
        return False
    return bool(project.datasets[dataset].view_sets[view_set].scenario())


def _named(places: list[dict]) -> Of:
    return list(dict.fromkeys((p["dataset"], p["method"], p["view_set"]) for p in places))


# what an experiment is


def experiments_on(project: Project, dataset: str, view_set: str) -> list[Experiment]:
    """List the experiments that evaluate on a view set, as if they did on no other."""
    return [
        e.model_copy(update={"evaluate": [view_set]})
        for e in project.config.experiments
        if e.dataset == dataset and view_set in e.evaluate
    ]


def experiment(project: Project, dataset: str, method: str, view_set: str) -> Experiment:
    """Return the experiment that evaluates a method on a view set, as if it did on no other."""
    return next(e for e in experiments_on(project, dataset, view_set) if e.method == method)


def first_training(project: Project, dataset: str, method: str, view_set: str) -> dict:
    """Return what fills a path's pattern (`raymark.layout`) for an experiment's first training."""
    seed = experiment(project, dataset, method, view_set).seeds[0]
    return {"dataset": dataset, "method": method, "seed": seed, "view_set": view_set}


# chapters


def of_data_set(project: Project, dataset: str, *_: str) -> str:
    return f"Data set – {project.title_of(dataset)}"


def of_experiment(project: Project, dataset: str, method: str, view_set: str) -> str:
    """Name the chapter of the paper that an experiment is compared with, else of its data set."""
    name = experiment(project, dataset, method, view_set).paper
    return chapter_of_paper(name) if name else of_data_set(project, dataset)
