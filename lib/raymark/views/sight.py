"""Views that cannot be meant, refused before they cost anything: most often a size in another unit."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from raymark.config.dataset import Dataset
from raymark.core.errors import InputError
from raymark.ct import Volume
from raymark.geometry.camera import inside
from raymark.views.plan import camera_of, detector_of, evenly

# Views behind a collimator still show two landmarks of three; a pitch ten times too small leaves a
# hundredth of the area.
LEAST_SHARE_ON_IMAGE = 0.02
LARGEST_DETECTOR_MM = 2000.0  # the largest flat panels are a quarter of this
VIEWS_TRIED = 200


def check_on_image(
    table: pd.DataFrame, dataset: Dataset, points_mm: Mapping[str, np.ndarray]
) -> None:
    """Refuse (InputError) a detector of impossible size, and a view set that misses its landmarks.

    `table` is that of `raymark.views.plan`; `points_mm` gives every subject's landmarks (landmark, 3) in
    the world. Of a large view set some views are tried, evenly over it.
    """
    detector = dataset.detector
    longest_mm = detector.pixel_mm * max(detector.height_px, detector.width_px)
    if longest_mm > LARGEST_DETECTOR_MM:
        raise InputError(
            f"data set {dataset.name}, detector.pixel_mm",
            f"{detector.pixel_mm:g} mm a pixel make a detector of {longest_mm / 1000:.2g} m",
            "Give the pitch in mm, e.g. 0.616",
        )
    for name, rows in table.groupby("view_set", sort=False):
        share = _share_on_image(rows, dataset, points_mm)
        if share < LEAST_SHARE_ON_IMAGE:
            view_set = dataset.view_sets[name]
            distances = view_set.source_to_isocentre_mm, view_set.source_to_detector_mm
            isocentre, panel = ("{:g} to {:g}".format(*ends) for ends in distances)
            raise InputError(
                f"data set {dataset.name}, view_sets.{name}",
                f"only {100 * share:.2g} % of the landmarks are on its images",
                f"Check detector.pixel_mm ({detector.pixel_mm:g}), source_to_isocentre_mm "
                f"({isocentre}), source_to_detector_mm ({panel}) and translation_mm: all are in mm",
            )


def check_source_outside(table: pd.DataFrame, dataset: Dataset, volume: Volume) -> None:
    """Refuse (InputError) a view of `table` whose X-ray source stands inside the CT."""
    to_voxel = np.linalg.inv(volume.affine)
    detector = detector_of(dataset.detector)
    for row in table.itertuples():
        source_mm = camera_of(row, detector).source_world_mm
        voxel = to_voxel[:3, :3] @ source_mm + to_voxel[:3, 3]
        if ((voxel >= -0.5) & (voxel <= np.array(volume.hu_xyz.shape) - 0.5)).all():
            raise InputError(
                f"data set {dataset.name}, view_sets.{row.view_set}.source_to_isocentre_mm",
                f"at {row.source_to_isocentre_mm:g} mm the X-ray source of the view {row.view} "
                "stands inside the CT",
                "Give the distances in mm, e.g. [750, 750]",
            )


def _share_on_image(rows: pd.DataFrame, dataset: Dataset, points_mm: Mapping) -> float:
    """Return the share of the landmarks of a view set's views that lie on their images."""
    share = dataset.view_sets[rows["view_set"].iloc[0]].field_of_view_share
    detector = detector_of(dataset.detector, share)
    tried = rows.iloc[evenly(range(len(rows)), VIEWS_TRIED)]
    on_image = [
        inside(camera_of(row, detector).project(points_mm[row.subject]), detector.shape_yx)
        for row in tried.itertuples()
    ]
    return float(np.mean(on_image))
