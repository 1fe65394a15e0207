"""Cobb angles of a spine from the corners of its vertebrae, and SMAPE between two sets of angles.

A spine is an array (..., vertebra, 4, 2) of corners as (x, y) px, vertebrae from the head down, each
with its corners as the picture shows them: top left, top right, bottom left, bottom right. That is
the order of the public AP spine data (Wu et al. 2017; the AASCE challenge of 2019), which has
17 vertebrae; any number works here.

Three angles come out in that data's order: the largest one (main thoracic, MT), the one above it
(proximal thoracic, PT) and the one below it (thoracolumbar, TL). They are defined here as the data's
own computation does, so that they equal the angles it ships.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from raymark.metrics.points import PREDICTED, TRUE, points_by_view
from raymark.metrics.ratio import Ratio

ANGLES = ("mt_deg", "pt_deg", "tl_deg")
VERTEBRAE = tuple(f"t{level}" for level in range(1, 13)) + tuple(
    f"l{level}" for level in range(1, 6)
)
# Shown as usual, the patient's right is on the image's left.
CORNERS = ("superior_right", "superior_left", "inferior_right", "inferior_left")
MEAN_ANGLES = "mean_angles"


def corner_names(vertebrae: Sequence[str] = VERTEBRAE) -> list[str]:
    """Name the corners in the order above, e.g. t1_superior_right: sides are the patient's."""
    return [f"{vertebra}_{corner}" for vertebra in vertebrae for corner in CORNERS]


def shows_spine(names: Sequence[str]) -> bool:
    """Tell whether landmarks are the corners of vertebrae, in the order above."""
    return len(names) > 0 and list(names) == corner_names([n.split("_")[0] for n in names[::4]])


def cobb_angles(corners_px: np.ndarray, height_px: float | np.ndarray) -> np.ndarray:
    """Return the angles MT, PT, TL (..., 3) in degrees of spines (..., vertebra, 4, 2).

    A vertebra's direction joins the mid-points of its left and right sides; MT is the largest angle
    between two of them, the upper and the lower end vertebra. In a spine that keeps to one side of
    its chord, PT is the angle from the first vertebra to the upper end vertebra and TL that from
    the lower one to the last. In one that crosses it (S-shaped), PT is the largest angle from the
    upper end vertebra to one above. TL is the largest from the lower end vertebra to one below,
    if the two end vertebrae lie on average in the upper half of the image, whose height (...,) is
    `height_px`; else the curve is the lower one, and TL is the next one above PT.

    A spine with a corner that is not finite has NaN angles.
    """
    corners_px = np.asarray(corners_px, dtype=float)
    known = np.isfinite(corners_px).all(axis=(-3, -2, -1))
    corners_px = np.where(known[..., None, None, None], corners_px, 0.0)
    between = _angles_between(_directions(corners_px))
    count = between.shape[-1]
    largest = between.reshape(*between.shape[:-2], -1).argmax(axis=-1)
    upper, lower = np.divmod(largest, count)
    from_upper, from_lower = _row(between, upper), _row(between, lower)
    vertebra = np.arange(count)
    above = np.where(vertebra <= upper[..., None], from_upper, 0.0)
    below = np.where(vertebra >= lower[..., None], from_lower, 0.0)
    crest = above.argmax(axis=-1)
    above_crest = np.where(vertebra <= crest[..., None], _row(between, crest), 0.0)

    plates_px = _end_plate_middles(corners_px)
    bottom_y_px = plates_px[..., 1::2, 1]
    ends_y_px = _at(bottom_y_px, upper) + _at(bottom_y_px, lower)
    s_shaped = _crosses_its_chord(plates_px)
    tl_of_s = np.where(ends_y_px < height_px, below.max(axis=-1), above_crest.max(axis=-1))
    angles = [
        _at(from_upper, lower),
        np.where(s_shaped, above.max(axis=-1), from_upper[..., 0]),
        np.where(s_shaped, tl_of_s, from_lower[..., -1]),
    ]
    return np.where(known[..., None], np.stack(angles, axis=-1), np.nan)


def _directions(corners_px: np.ndarray) -> np.ndarray:
    """Return the vectors (..., vertebra, 2) from the middle of the left side to that of the right."""
    right, left = corners_px[..., [1, 3], :], corners_px[..., [0, 2], :]
    return right.mean(axis=-2) - left.mean(axis=-2)


def _angles_between(directions: np.ndarray) -> np.ndarray:
    """Return the angles (..., n, n) between all pairs of directions (..., n, 2), 0 to 180 degrees."""
    u, v = directions[..., :, None, :], directions[..., None, :, :]
    cross = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    return np.rad2deg(np.arctan2(np.abs(cross), (u * v).sum(axis=-1)))


def _end_plate_middles(corners_px: np.ndarray) -> np.ndarray:
    """Return the middles (..., 2 * vertebra, 2) of the end plates, from the head down."""
    plates = corners_px.reshape(*corners_px.shape[:-3], -1, 2, 2)
    return plates.mean(axis=-2)


def _crosses_its_chord(plates_px: np.ndarray) -> np.ndarray:
    """Tell whether end plates (..., n, 2) lie on both sides of the line from the first to the last.

    The last vertebra's own two do not count.
    """
    x, y = np.moveaxis(plates_px - plates_px[..., -1:, :], -1, 0)
    side = (y * x[..., :1] - x * y[..., :1])[..., :-2]
    return (side > 0).any(axis=-1) & (side < 0).any(axis=-1)


def _at(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    return np.take_along_axis(values, index[..., None], axis=-1)[..., 0]


def _row(matrix: np.ndarray, index: np.ndarray) -> np.ndarray:
    return np.take_along_axis(matrix, index[..., None, None], axis=-2)[..., 0, :]


def smape_percent(angles_deg: np.ndarray, truth_deg: np.ndarray) -> Ratio:
    """SMAPE of angles (n, 3) against the truth (n, 3), as the AASCE challenge defines it.

    The mean over images of 100 · Σ|a − b| / Σ(a + b), both sums over an image's three angles. (The
    SMAPE of statistics packages averages over single angles: another number.) Two straight spines
    differ by 0; an image without angles counts 100, the most there is, so that a method cannot gain
    by staying silent.
    """
    difference = np.abs(angles_deg - truth_deg).sum(axis=-1)
    total = (angles_deg + truth_deg).sum(axis=-1)
    share = np.divide(difference, total, out=np.zeros(len(total)), where=total > 0)
    missing = ~np.isfinite(angles_deg).all(axis=-1)
    return Ratio(100 * np.where(missing, 1.0, share), np.ones(len(total)))


def cobb_by_view(errors: pd.DataFrame, names: Sequence[str], height_px: float) -> pd.DataFrame:
    """Return one method's angles and the true ones: a row per view, sorted.

    `errors` is a table of errors of one method; `names` are the corners from the head down, four to
    a vertebra (`corner_names`); `height_px` is the images' height. Columns: view, patient,
    subject, the angles `ANGLES` and, with _true before _deg, the true ones.
    """
    spine = (len(names) // 4, 4, 2)
    views, points_px = points_by_view(errors, names, PREDICTED)
    _, true_px = points_by_view(errors, names, TRUE)
    angles = cobb_angles(points_px.reshape(-1, *spine), height_px)
    truth = cobb_angles(true_px.reshape(-1, *spine), height_px)
    shown = errors.drop_duplicates("view").set_index("view").loc[views]
    return pd.DataFrame(
        {
            "view": views,
            "patient": shown["patient"].to_numpy(),
            "subject": shown["subject"].to_numpy(),
        }
        | dict(zip(ANGLES, angles.T, strict=True))
        | dict(zip(true_columns(), truth.T, strict=True))
    )


def true_columns() -> list[str]:
    """Name the columns of the true angles."""
    return [angle.replace("_deg", "_true_deg") for angle in ANGLES]


def compare_angles(
    errors: pd.DataFrame, names: Sequence[str], height_px: float, training_truth: pd.DataFrame
) -> pd.DataFrame:
    """Return each method's SMAPE and mean absolute error per angle, with the constant's beside them.

    `errors` stacks the tables of errors of several methods on the same views; that of the method
    ``mean_position`` is the mean shape. `training_truth` (view, landmark, x_true_px, y_true_px)
    gives the angles whose mean is the row `MEAN_ANGLES`: a method that is not clearly better than
    both constants has learnt nothing about angles. Columns: method, images, smape_percent, and the
    mean absolute error of each angle in degrees.
    """
    _, training_px = points_by_view(training_truth.assign(instance=0), names, TRUE)
    corners_px = training_px.reshape(len(training_px), -1, 4, 2)
    constant_deg = np.nanmean(cobb_angles(corners_px, height_px), axis=0)
    rows = []
    for method, table in errors.groupby("method", sort=True):
        angles = cobb_by_view(table, names, height_px)
        truth_deg = angles[true_columns()].to_numpy()
        rows.append(_compared(method, angles[list(ANGLES)].to_numpy(), truth_deg))
    rows.append(_compared(MEAN_ANGLES, np.broadcast_to(constant_deg, truth_deg.shape), truth_deg))
    return pd.DataFrame(rows)


def _compared(method: str, angles_deg: np.ndarray, truth_deg: np.ndarray) -> dict:
    mean_error = np.nanmean(np.abs(angles_deg - truth_deg), axis=0)
    summary = {"method": method, "images": len(truth_deg)}
    summary["smape_percent"] = smape_percent(angles_deg, truth_deg).value
    return summary | dict(zip(ANGLES, mean_error, strict=True))
