"""Predictions against the truth: one table of errors that every table and figure is made from.

Every row of the predictions is kept, but for landmarks that nobody marked in an X-ray. A landmark that was not detected, or that is not on the image,
still has the error of its point where it has one; `detected` and `visible` say what the metrics
count. `error_detector_mm` is measured in the plane of the detector, `error_isocentre_mm` is that
divided by the view's magnification of the isocentre; of imported X-rays it is in the file's own mm,
wherever registration or scaling took its points.

A method that finds instances of a landmark type does not name them. They are compared with the
landmarks of that type in the image (`raymark.landmarks.types`): each of these has one row, with the
instance it is paired with or without a point; an instance that is left has a row of its own under
the type's name, which is not on the image.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from raymark.config.dataset import Dataset
from raymark.core.errors import InputError
from raymark.core.stored_tables import store_table, stored_table
from raymark.datasets.imported import Imported, read_images
from raymark.datasets.imported import mm_per_px as own_mm_per_px
from raymark.datasets.shards import Shards
from raymark.landmarks.types import Types, named_instances
from raymark.metrics.errors import detector_mm, isocentre_mm, radial_errors

MEAN_POSITION = "mean_position"
PREDICTION_COLUMNS = [
    *("dataset", "method", "seed", "view_set", "view", "subject", "landmark", "instance"),
    *("x_px", "y_px", "confidence", "detected"),
]
ERROR_COLUMNS = [
    *PREDICTION_COLUMNS,
    *("patient", "x_true_px", "y_true_px", "visible"),
    *("error_px", "error_detector_mm", "error_isocentre_mm"),
    *("primary_deg", "secondary_deg", "seen_in_training"),
]
_OF_THE_VIEW = [
    *("patient", "primary_deg", "secondary_deg", "seen_in_training"),
    *("source_to_isocentre_mm", "source_to_detector_mm"),
]


def truth_of(shards: Shards) -> pd.DataFrame:
    """List where the landmarks of all views of some shards lie, in their order.

    Columns: view, landmark, x_true_px, y_true_px, visible.
    """
    index = pd.MultiIndex.from_product([shards.views, shards.landmarks], names=["view", "landmark"])
    xy_px = shards.small["landmarks"].astype(float)
    columns = {
        "x_true_px": xy_px[..., 0].ravel(),
        "y_true_px": xy_px[..., 1].ravel(),
        "visible": shards.small["visible"].astype(bool).ravel(),
    }
    return pd.DataFrame(columns, index=index).reset_index()


def read_predictions(path: str | Path) -> pd.DataFrame:
    """Read a table of predictions; InputError where it is none."""
    again = "Make it again with raymark predict-views"
    numbers = ("seed", "instance", "x_px", "y_px", "confidence", "detected")
    return stored_table(path, "a table of predictions", again, PREDICTION_COLUMNS, numbers)


def evaluate(
    predictions_path: str | Path,
    shard_paths: Sequence[str | Path],
    views: pd.DataFrame,
    dataset: Dataset | Imported,
    out_path: str | Path,
    types: Types | None = None,
) -> None:
    """Write the errors table of one file of predictions, which may be of landmark `types`.

    `views` has the rows of the table of views and `seen_in_training` (`raymark.datasets.lookup.views_of`).
    """
    shards = Shards(shard_paths)
    table = errors_table(
        read_predictions(predictions_path),
        truth_of(shards),
        views,
        shards.pixel_mm,
        predictions_path,
        types,
        _own_mm(dataset),
    )
    write_errors(_annotated(table, dataset), out_path)


def evaluate_mean_position(
    training_shard_paths: Sequence[str | Path],
    shard_paths: Sequence[str | Path],
    views: pd.DataFrame,
    dataset: Dataset | Imported,
    out_path: str | Path,
) -> None:
    """Write the errors table of the baseline that looks at no image.

    `views` as for `evaluate`, those of the training's view sets among them.
    """
    shards = Shards(shard_paths)
    training = Shards(training_shard_paths)
    truth, training_truth = truth_of(shards), truth_of(training)
    # A collimated image is the middle of the whole one: positions count from the middle.
    for axis, size, whole in zip("yx", shards.shape_yx, training.shape_yx, strict=True):
        training_truth[f"{axis}_true_px"] += (size - whole) / 2
    alike = views_alike(views, training.views, shards.views)
    training_truth = training_truth[training_truth["view"].isin(alike)]
    predictions = mean_position_predictions(training_truth, truth, views)
    table = errors_table(predictions, truth, views, shards.pixel_mm, mm_per_px=_own_mm(dataset))
    write_errors(_annotated(table, dataset), out_path)


def _annotated(table: pd.DataFrame, dataset: Dataset | Imported) -> pd.DataFrame:
    """Leave out the landmarks that nobody marked in an X-ray: a point there is neither right nor wrong."""
    return table[table["x_true_px"].notna()] if isinstance(dataset, Imported) else table


def _own_mm(dataset: Dataset | Imported) -> dict[str, np.ndarray] | None:
    """Return what turns px into mm of each X-ray of an import; None for rendered views."""
    return own_mm_per_px(read_images(dataset.name)) if isinstance(dataset, Imported) else None


def errors_table(
    predictions: pd.DataFrame,
    truth: pd.DataFrame,
    views: pd.DataFrame,
    pixel_mm: float,
    source: str | Path = "predictions",
    types: Types | None = None,
    mm_per_px: Mapping[str, np.ndarray] | None = None,
) -> pd.DataFrame:
    """Join predictions with the truth and measure them; columns `ERROR_COLUMNS`.

    `truth` as from `truth_of`; `views` is the table of views with a column `seen_in_training`;
    `source` names the predictions in errors; `types` are the landmark types whose instances may be
    among the predictions; `mm_per_px` has each view's matrix (2, 2) from px to the X-ray's own mm,
    without it the views' distances give the magnification. Rows are sorted by view, landmark and instance.
    Raises InputError where predictions and truth are not of the same views and landmarks.
    """
    _check_columns(predictions, source)
    predictions, truth = named_instances(predictions, truth, types or {})
    _check_same_rows(predictions, truth, source)
    table = predictions[PREDICTION_COLUMNS].merge(truth, on=["view", "landmark"], validate="m:1")
    of_the_view = views.set_index("view")[_OF_THE_VIEW]
    table = table.join(of_the_view, on="view", validate="m:1")
    points = table[["x_px", "y_px"]].to_numpy(float)
    table["error_px"] = radial_errors(points, table[["x_true_px", "y_true_px"]].to_numpy(float))
    table["error_detector_mm"] = detector_mm(table["error_px"], pixel_mm)
    if mm_per_px is None:
        table["error_isocentre_mm"] = isocentre_mm(
            table["error_detector_mm"],
            table["source_to_isocentre_mm"],
            table["source_to_detector_mm"],
        )
    else:
        off_px = points - table[["x_true_px", "y_true_px"]].to_numpy(float)
        to_mm = np.stack([mm_per_px[view] for view in table["view"]])
        table["error_isocentre_mm"] = np.linalg.norm(np.einsum("rij,rj->ri", to_mm, off_px), axis=1)
    table = table.sort_values(["view", "landmark", "instance"], kind="stable")
    return table[ERROR_COLUMNS].reset_index(drop=True)


def views_alike(
    views: pd.DataFrame, training_views: Sequence[str], shown_views: Sequence[str]
) -> set[str]:
    """Return the training views of the view set whose mean direction is nearest to the shown views'.

    A C-arm knows its angles: a baseline from frontal and lateral images together would be too weak.
    Of view sets equally near, as where all are of one direction or of none, all count.
    """
    training = views[views["view"].isin(training_views)]
    shown = views[views["view"].isin(shown_views)]
    angles = ["primary_deg", "secondary_deg"]
    centres = training.groupby("view_set")[angles].mean()
    away_deg = np.hypot(*(centres[angle] - shown[angle].mean() for angle in angles)).round(6)
    nearest = centres.index[~(away_deg > away_deg.min())]
    return set(training.loc[training["view_set"].isin(nearest), "view"])


def mean_position_predictions(
    training_truth: pd.DataFrame, truth: pd.DataFrame, views: pd.DataFrame
) -> pd.DataFrame:
    """Predict every landmark at the mean of its visible positions in the training views.

    It looks at no image: a number that is not clearly better than its number means nothing.
    """
    visible = training_truth[training_truth["visible"]]
    mean = visible.groupby("landmark")[["x_true_px", "y_true_px"]].mean()
    mean.columns = ["x_px", "y_px"]
    table = truth[["view", "landmark"]].join(mean, on="landmark")
    table = table.join(views.set_index("view")[["dataset", "view_set", "subject"]], on="view")
    known = table["x_px"].notna()
    table = table.assign(
        method=MEAN_POSITION,
        seed=0,
        instance=0,
        confidence=known.astype(float),
        detected=known,
    )
    return table[PREDICTION_COLUMNS]


def write_errors(table: pd.DataFrame, path: str | Path) -> None:
    """Write an errors table as Parquet; the same table gives the same bytes."""
    arrow = pa.Table.from_pandas(table[ERROR_COLUMNS], preserve_index=False)
    store_table(arrow, path)


def read_errors(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Read and stack errors tables, none of them too; InputError where a file is none."""
    again = "Make it again with raymark evaluate"
    tables = [stored_table(path, "a table of errors", again, ERROR_COLUMNS) for path in paths]
    tables = [table[ERROR_COLUMNS] for table in tables] or [pd.DataFrame(columns=ERROR_COLUMNS)]
    return pd.concat(tables, ignore_index=True)


def measured(errors: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of an errors table that metrics count.

    Of several points for one landmark that is the first, which a method is surest of; instances of a
    type that are none of its landmarks count each.
    """
    return errors[(errors["instance"] == 0) | errors["x_true_px"].isna()]


def _check_columns(predictions: pd.DataFrame, source: str | Path) -> None:
    missing = sorted(set(PREDICTION_COLUMNS) - set(predictions.columns))
    if missing:
        raise InputError(source, f"lacks the columns {', '.join(missing)}", "See docs/detection.md")
    repeated = predictions.duplicated(["view", "landmark", "instance"])
    if repeated.any():
        row = predictions[repeated].iloc[0]
        raise InputError(
            source,
            f"has landmark {row.landmark!r} of view {row['view']!r} twice",
            "Number the instances of one landmark from 0",
        )


def _check_same_rows(predictions: pd.DataFrame, truth: pd.DataFrame, source: str | Path) -> None:
    predicted = pd.MultiIndex.from_frame(predictions[["view", "landmark"]])
    true = pd.MultiIndex.from_frame(truth[["view", "landmark"]])
    for rows, problem in (
        (true.difference(predicted), "has no prediction for"),
        (predicted.difference(true), "predicts what the shards do not hold:"),
    ):
        if len(rows):
            view, landmark = rows[0]
            raise InputError(
                source,
                f"{problem} landmark {landmark!r} of view {view!r} ({len(rows)} such rows)",
                "Predict again from the shards that are evaluated",
            )
