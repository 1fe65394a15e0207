"""Several landmarks of one type in an image: what is found of them, image by image.

Tables of errors are those of `raymark.evaluation.errors`: a landmark of the type that no instance is paired
with has no point and is not detected; an instance that is none of them is detected, not visible.
"""

import pandas as pd

from raymark.metrics.ratio import Ratio


def of_images(table: pd.DataFrame, threshold_px: float) -> pd.DataFrame:
    """Return one row per image that shows a landmark of `table`, sorted by seed and view.

    `table` has the errors of one type's landmarks and left instances. Columns: seed, view, patient,
    subject; shown, how many landmarks the image shows; found, how many instances are detected in it, false
    ones among them; right, whether any landmark is found within `threshold_px` (≤).
    """
    near = table["visible"] & table["detected"] & (table["error_px"] <= threshold_px)
    rows = table.assign(near=near).groupby(["seed", "view"], sort=True)
    images = rows.agg(
        patient=("patient", "first"),
        subject=("subject", "first"),
        shown=("visible", "sum"),
        found=("detected", "sum"),
        right=("near", "any"),
    )
    return images[images["shown"] > 0].reset_index()


def image_pck(images: pd.DataFrame) -> Ratio:
    """The share of images with at least one landmark found within the distance.

    LandmarkNet's "PCK (patient)" (section Results): one right landmark makes an image right. With one
    landmark in every image it is the PCK itself.
    """
    return _share(images["right"])


def counted(images: pd.DataFrame) -> Ratio:
    """The share of images in which as many instances are detected as the image shows."""
    return _share(images["found"] == images["shown"])


def _share(right: pd.Series) -> Ratio:
    values = right.to_numpy(float)
    return Ratio(values, values * 0 + 1)
