"""Data sets of imported images, found by what their import wrote."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from raymark import layout
from raymark.config.dataset import DetectorConfig
from raymark.core.stored_tables import stored_table
from raymark.geometry.affine2d import Affine

MATRIX = ("matrix_xx", "matrix_xy", "matrix_yx", "matrix_yy")


@dataclass(frozen=True)
class ImportedSet:
    """A view set of imported images: what it is used for, and its shards."""

    role: str
    shards: list[str]


@dataclass(frozen=True)
class Imported:
    """An imported data set, in the place of a configured one wherever only images matter."""

    name: str
    title: str
    view_sets: Mapping[str, ImportedSet]

    @cached_property
    def landmarks(self) -> list[str]:
        from raymark.datasets.shards import read_attributes

        return read_attributes(self._first_shard)["landmarks"]

    @cached_property
    def detector(self) -> DetectorConfig:
        """The images' size in px and their median pixel pitch."""
        from raymark.datasets.shards import Shards

        shards = Shards([self._first_shard])
        height_px, width_px = shards.shape_yx
        return DetectorConfig(height_px=height_px, width_px=width_px, pixel_mm=shards.pixel_mm)

    @property
    def _first_shard(self) -> str:
        return next(iter(self.view_sets.values())).shards[0]


def read_imported(name: str, title: str | None = None) -> Imported | None:
    """Return the data set that `raymark import-2d` wrote under this name, or None."""
    from raymark.views.plan import read_views

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
    return Imported(name, title or name, view_sets)


def read_images(name: str) -> pd.DataFrame:
    """Read the list of an import's images, by view; InputError where it is none."""
    path = layout.IMPORTED_IMAGES.format(dataset=name)
    numbers = ("pixel_mm", "scale", *MATRIX, "shift_x_px", "shift_y_px")
    columns = ("view", "view_set", "patient", "file", "alignment")
    again = "Make it again with raymark import-2d"
    return stored_table(path, "a list of images", again, columns, numbers).set_index("view")


def affine_of(image: pd.Series) -> Affine:
    """Return where a point of the file lies in the shard, from its row of the list of images."""
    matrix_xy = image[list(MATRIX)].to_numpy(float).reshape(2, 2)
    return Affine(matrix_xy, image[["shift_x_px", "shift_y_px"]].to_numpy(float))


def mm_per_px(images: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return each view's matrix (2, 2) that turns a vector in shard px into the file's own mm."""
    matrices_xy = images[list(MATRIX)].to_numpy(float).reshape(-1, 2, 2)
    file_pixel_mm = (images["pixel_mm"] * images["scale"]).to_numpy()
    to_mm = file_pixel_mm[:, None, None] * np.linalg.inv(matrices_xy)
    return dict(zip(images.index, to_mm, strict=True))
