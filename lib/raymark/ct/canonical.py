"""From a CT as it came to the volume the pipeline works on: clamped, cropped, resampled."""

from dataclasses import replace

import numpy as np
import scipy  # its modules load when they are used, and few steps use them

from raymark.config.dataset import Ct
from raymark.core.errors import InputError
from raymark.ct.grid import LabelMap, Volume
from raymark.ct.labels.names import ids_of

FWHM_PER_SIGMA = np.sqrt(8 * np.log(2))
ROUNDING = 1e-4  # shares closer than this are equal: the background wins, then the lower id


def canonical(
    volume: Volume, labels: LabelMap | None, config: Ct
) -> tuple[Volume, LabelMap | None]:
    """Clamp, crop and resample a CT and its labels as configured; no structure moves in the world.

    Order: HU below `lowest_hu` are raised to it; the box around `region_labels` is cut out with its
    margin; both are resampled to isotropic `spacing_mm` (HU linearly, low-pass filtered along axes
    that become coarser; each voxel takes the label that fills most of it). Raises InputError if the
    region's labels are missing.
    """
    hu_xyz = np.maximum(volume.hu_xyz, np.int16(config.lowest_hu))
    volume = Volume(hu_xyz, volume.affine, volume.orientation)
    if config.region_labels:
        volume, labels = _crop(volume, labels, config)
    if config.spacing_mm is not None and not np.allclose(volume.spacing_mm, config.spacing_mm):
        volume, labels = _resample(volume, labels, config.spacing_mm)
    return volume, labels


def _crop(volume: Volume, labels: LabelMap | None, config: Ct) -> tuple[Volume, LabelMap]:
    wanted = config.region_labels
    ids = [] if labels is None else [id for name in wanted for id in ids_of(name, labels.names)]
    if labels is None or not (region := np.isin(labels.labels_xyz, ids)).any():
        raise InputError(
            "ct.region_labels",
            f"asks to crop to the labels {wanted}, the subject has none of them",
            "Name structures that the subject's label map holds, or leave region_labels empty",
        )
    sides = []
    for axis, spacing_mm in enumerate(volume.spacing_mm):
        others = tuple({0, 1, 2} - {axis})
        inside = np.flatnonzero(region.any(axis=others))
        margin = int(np.ceil(config.region_margin_mm / spacing_mm))
        sides.append(slice(max(0, inside[0] - margin), inside[-1] + margin + 1))
    box = tuple(sides)
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [side.start for side in sides]
    return (
        Volume(volume.hu_xyz[box].copy(), affine, volume.orientation),
        replace(labels, labels_xyz=labels.labels_xyz[box].copy(), affine=affine),
    )


def _resample(
    volume: Volume, labels: LabelMap | None, spacing_mm: float
) -> tuple[Volume, LabelMap | None]:
    """Resample to isotropic voxels along the same axes; the first voxel keeps its centre."""
    step = spacing_mm / volume.spacing_mm  # in old voxels
    shape = np.floor((np.array(volume.hu_xyz.shape) - 1) / step + 1e-6).astype(int) + 1
    affine = volume.affine.copy()
    affine[:3, :3] *= step
    hu_xyz = np.rint(_at_multiples(volume.hu_xyz, step, np.zeros(3), shape)).astype(np.int16)
    resampled = Volume(hu_xyz, affine, volume.orientation)
    if labels is None:
        return resampled, None
    shared = _largest_share(labels.labels_xyz, step, shape)
    return resampled, replace(labels, labels_xyz=shared, affine=affine)


def _at_multiples(
    voxels: np.ndarray, step: np.ndarray, start: np.ndarray, shape: np.ndarray
) -> np.ndarray:
    """Interpolate linearly at ``start + i * step``, after a low-pass filter where step > 1.

    The Gaussian's width turns a resolution of one old voxel into one of one new voxel (both as full
    width at half maximum), as in Cardoso et al., "Scale factor point spread function matching", 2015.
    """
    sigma = np.sqrt(np.maximum(step**2 - 1, 0)) / FWHM_PER_SIGMA
    smooth = scipy.ndimage.gaussian_filter(voxels.astype(np.float32), sigma, mode="nearest")
    return scipy.ndimage.affine_transform(
        smooth, step, offset=start, output_shape=tuple(shape), order=1, mode="nearest"
    )


def _largest_share(labels_xyz: np.ndarray, step: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Give every new voxel the label that fills most of it, the background where none does.

    Each label is resampled like HU, as a map of ones. Nearest neighbours would shift a label by up to
    half a voxel wherever new centres fall between old ones.
    """
    result, share, filled = (np.zeros(shape, t) for t in (labels_xyz.dtype, "f4", "f4"))
    reach = np.ceil(3 * np.maximum(step, 1)).astype(int)  # of filter and interpolation
    for label, box in enumerate(scipy.ndimage.find_objects(labels_xyz), start=1):
        if box is None:
            continue
        low = np.maximum([side.start for side in box] - reach, 0)
        high = np.minimum([side.stop for side in box] + reach, labels_xyz.shape)
        first = np.ceil(low / step).astype(int)
        count = np.minimum(np.floor((high - 1) / step + 1e-6).astype(int) + 1, shape) - first
        inside = labels_xyz[tuple(map(slice, low, high))] == label
        of_label = _at_multiples(inside, step, first * step - low, count)
        new_box = tuple(map(slice, first, first + count))
        ahead = of_label > share[new_box] + ROUNDING
        result[new_box][ahead] = label
        share[new_box][ahead] = of_label[ahead]
        filled[new_box] += of_label
    result[share <= 1 - filled + ROUNDING] = 0
    return result
