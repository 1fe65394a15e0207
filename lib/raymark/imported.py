"""Data sets of imported images, found by what their import wrote."""

from dataclasses import dataclass
from pathlib import Path

from raymark import layout


@dataclass(frozen=True)
class ImportedSet:
    """A view set of imported images: what it is used for, and its shards."""

    role: str
    shards: list[str]


@dataclass(frozen=True)
class Imported:
    """An imported data set, in the place of a configured one wherever only images matter."""

    name: str
    view_sets: dict[str, ImportedSet]


def read_imported(name: str) -> Imported | None:
    """Return the data set that `raymark import-2d` wrote under this name, or None."""
    from raymark.views import read_views

    if not Path(layout.IMPORTED_IMAGES.format(dataset=name)).exists():
        return None
    views = read_views(layout.VIEWS.format(dataset=name))
    view_sets = {}
    for view_set, rows in views.groupby("view_set", sort=True):
        role = "evaluate" if rows["split"].iloc[0] == "test" else rows["split"].iloc[0]
        place = {"dataset": name, "view_set": view_set}
        shards = [layout.shard_name(shard) for shard in sorted(rows["shard"].unique())]
        view_sets[view_set] = ImportedSet(
            role, [layout.IMPORTED_SHARD.format(**place, shard=shard) for shard in shards]
        )
    return Imported(name, view_sets)
