"""What every export of a view set is made from, and what a module of this package offers."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from raymark import layout
from raymark.config.dataset import Dataset
from raymark.config.project import Project
from raymark.core.errors import InputError
from raymark.core.stored_tables import stored_table
from raymark.datasets.imported import read_images
from raymark.datasets.lookup import dataset_of, shards_of
from raymark.datasets.shards import Shards
from raymark.detection.on_views import SCHEMA
from raymark.views.plan import read_views


@dataclass(frozen=True)
class View:
    """One view as its shard holds it: `arrays` by name (`raymark.datasets.shards`), `attributes` of the shard.

    `row` is that of the table of views; `pixel_mm` is the pitch of this image's own pixels.
    """

    name: str
    subject: str
    arrays: dict[str, np.ndarray]
    attributes: dict[str, Any]
    row: Any
    pixel_mm: float

    @property
    def mirrored(self) -> bool:
        """Whether the picture is mirrored, and left and right names swapped with it."""
        return bool(self.arrays["K"][0, 0] > 0)

    @property
    def missing(self) -> np.ndarray:
        """Which landmarks (landmark,) nobody marked in this image."""
        return np.isnan(self.arrays["landmarks"][:, 0])


@dataclass(frozen=True)
class Source:
    """A view set of a data set and, where a method is named, what its model found there."""

    project: Project
    dataset: str
    view_set: str
    method: str | None = None
    seed: int = 0

    @cached_property
    def shards(self) -> Shards:
        return Shards(shards_of(self.project, self.dataset, self.view_set))

    @property
    def is_rendered(self) -> bool:
        return isinstance(dataset_of(self.project, self.dataset), Dataset)

    @cached_property
    def _rows(self) -> pd.DataFrame:
        """The table of views, in the shards' order."""
        path = layout.VIEWS.format(dataset=self.dataset)
        table = read_views(path, view_set=self.view_set).set_index("view")
        if missing := set(self.shards.views) - set(table.index):
            problem = f"has no view {min(missing)!r}, which is in the shards"
            raise InputError(path, problem, "Make both again with snakemake")
        return table.loc[self.shards.views]

    @cached_property
    def _pixel_mm(self) -> np.ndarray:
        """The pitch of every view's own pixels, mm: those of imported images differ."""
        if self.is_rendered:
            return np.full(len(self.shards), self.shards.pixel_mm)
        return read_images(self.dataset).loc[self.shards.views, "pixel_mm"].to_numpy(float)

    @property
    def patients(self) -> list[str]:
        """Whose anatomy each view shows, in the shards' order."""
        return self._rows["patient"].tolist()

    def views(self) -> Iterator[View]:
        """Yield the views one by one, in the shards' order."""
        shards = self.shards
        for number, row in enumerate(self._rows.itertuples()):
            arrays = {name: a[0] for name, a in shards.read(np.array([number])).items()}
            attributes = shards.attributes[shards.place_of(number)[0]]
            names = shards.views[number], shards.subjects[number]
            yield View(*names, arrays, attributes, row, float(self._pixel_mm[number]))

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """What the model found, by view (`raymark.detection.on_views.SCHEMA`)."""
        place = {"dataset": self.dataset, "method": self.method, "seed": self.seed}
        path = layout.PREDICTIONS.format(**place, view_set=self.view_set)
        again = f"raymark predict-views {' '.join(map(str, place.values()))} {self.view_set}"
        if not Path(path).exists():
            raise InputError(path, "is not there", f"Make it with {again}")
        table = stored_table(
            path, "a table of predictions", f"Make it again with {again}", schema=SCHEMA
        )
        if missing := set(self.shards.views) - set(table["view"]):
            problem = f"lacks {min(missing)!r} and others of the view set"
            raise InputError(path, problem, f"Make it again with {again}")
        return table.set_index("view")


@dataclass(frozen=True)
class Format:
    """How a view set is written in one form.

    `write` fills an empty folder and returns how many images, or CTs, are in it. `of_predictions`
    tells whether it shows what a model found, and not the truth.
    """

    write: Callable[[Source, Path], int]
    of_predictions: bool = False


def write_json(path: Path, content: Any) -> None:
    """Write JSON in one order, with nothing in it that other readers refuse (NaN)."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def rounded(point: np.ndarray) -> list[float]:
    """Return a point's coordinates as plain numbers, to a millionth."""
    return [round(float(value), 6) for value in point]
