"""From a table of points, one row per view and landmark, to arrays in a stated order."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

PREDICTED = ("x_px", "y_px")
TRUE = ("x_true_px", "y_true_px")


def points_by_view(
    table: pd.DataFrame, names: Sequence[str], columns: tuple[str, str] = PREDICTED
) -> tuple[pd.Index, np.ndarray]:
    """Return the views (sorted) and their points (view, landmark, xy) in the order of `names`.

    `table` has view, landmark, instance and `columns`, as predictions and errors have. Of several
    instances the first counts; a landmark without a row, or without a position, is NaN.
    """
    first = table[table["instance"] == 0].set_index(["view", "landmark"])
    x, y = (first[column].unstack().reindex(columns=list(names)) for column in columns)
    return x.index, np.stack([x.to_numpy(float), y.to_numpy(float)], axis=-1)
