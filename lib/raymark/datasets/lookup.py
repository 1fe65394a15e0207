"""A data set by its name, whether it is rendered or imported, and where its shards lie."""

from raymark import layout
from raymark.config.dataset import Dataset
from raymark.config.project import Project
from raymark.config.subjects import read_subjects
from raymark.core.errors import InputError
from raymark.datasets.imported import Imported, read_imported


def images_of(project: Project, name: str) -> Dataset | Imported:
    """Return a data set of the configuration, or else one that `raymark import-2d` wrote."""
    if name in project.datasets:
        return project.datasets[name]
    settings = project.imports.get(name)
    imported = read_imported(name, settings and settings.title)
    if imported is None:
        what = f"data set {name!r}"
        if settings is None:
            raise project.unknown(what, [*project.datasets, *project.imports])
        raise InputError(what, "has not been imported yet", "Run raymark import-2d with its file")
    return imported


def shards_of(project: Project, dataset: str, *view_sets: str) -> list[str]:
    """Return the paths of the shards of some view sets, in their order."""
    return [path for name in view_sets for path in _shards(project, dataset, name)]


def shards_with_role(project: Project, dataset: str, role: str) -> list[str]:
    """Return the paths of the shards of a data set's train, validation or evaluate view sets."""
    view_sets = images_of(project, dataset).view_sets
    names = [name for name, view_set in view_sets.items() if view_set.role == role]
    return shards_of(project, dataset, *names)


def _shards(project: Project, dataset: str, view_set: str) -> list[str]:
    from raymark.views.plan import shards_of_view_set

    settings = images_of(project, dataset)
    if view_set not in settings.view_sets:
        remedy = f"Known: {', '.join(settings.view_sets)}"
        raise InputError(f"view set {view_set!r} of {dataset}", "is not known", remedy)
    if isinstance(settings, Imported):
        return settings.view_sets[view_set].shards
    place = {"dataset": dataset, "view_set": view_set}
    sheet = read_subjects(project.config.subjects)
    return [
        layout.SHARD.format(**place, subject=subject, shard=layout.shard_name(shard))
        for subject, shard in shards_of_view_set(settings, view_set, sheet)
    ]
