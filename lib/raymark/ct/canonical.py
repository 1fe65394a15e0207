"""From a CT as it came to the volume the pipeline works on: clamped, cropped, resampled."""

import numpy as np
from scipy import ndimage

from raymark.config import Ct
from raymark.ct.grid import LabelMap, Volume
from raymark.errors import InputError

FWHM_PER_SIGMA = np.sqrt(8 * np.log(2))


def canonical(
    volume: Volume, labels: LabelMap | None, config: Ct
) -> tuple[Volume, LabelMap | None]:
    """Clamp, crop and resample a CT and its labels as configured; no structure moves in the world.

    Order: HU below `lowest_hu` are raised to it; the box around `region_labels` is cut out with its
    margin; both are resampled to isotropic `spacing_mm` (HU linearly, low-pass filtered along axes that
    become coarser; labels by nearest neighbours). Raises InputError if the region's labels are missing.
    """
    hu_xyz = np.maximum(volume.hu_xyz, np.int16(config.lowest_hu))
    volume = Volume(hu_xyz, volume.affine, volume.orientation)
    if config.region_labels:
        volume, labels = _crop(volume, labels, config)
    if config.spacing_mm is not None and not np.allclose(volume.spacing_mm, config.spacing_mm):
        volume, labels = _resample(volume, labels, config.spacing_mm)
    return volume, labels


def _crop(volume: Volume, labels: LabelMap | None, config: Ct) -> tuple[Volume, LabelMap]:
    region = None if labels is None else np.isin(labels.labels_xyz, config.region_labels)
    if region is None or not region.any():
        raise InputError(
            "ct.region_labels",
            f"asks to crop to the labels {config.region_labels}, the subject has none of them",
            "Name labels that the subject's label map holds, or leave region_labels empty",
        )
    box = []
    for axis, spacing_mm in enumerate(volume.spacing_mm):
        others = tuple({0, 1, 2} - {axis})
        inside = np.flatnonzero(region.any(axis=others))
        margin = int(np.ceil(config.region_margin_mm / spacing_mm))
        box.append(slice(max(0, inside[0] - margin), inside[-1] + margin + 1))
    box = tuple(box)
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [side.start for side in box]
    return (
        Volume(volume.hu_xyz[box].copy(), affine, volume.orientation),
        LabelMap(labels.labels_xyz[box].copy(), affine),
    )


def _resample(
    volume: Volume, labels: LabelMap | None, spacing_mm: float
) -> tuple[Volume, LabelMap | None]:
    """Resample to isotropic voxels along the same axes; the first voxel keeps its centre."""
    step = spacing_mm / volume.spacing_mm  # in old voxels
    shape = tuple(int(n) for n in np.floor((np.array(volume.hu_xyz.shape) - 1) / step + 1e-6) + 1)
    affine = volume.affine.copy()
    affine[:3, :3] *= step
    resampled = Volume(_resample_hu(volume.hu_xyz, step, shape), affine, volume.orientation)
    if labels is None:
        return resampled, None
    # Half-way positions go to the even voxel: neither side gains, so that no label drifts.
    nearest = [np.rint(np.arange(n) * s).astype(int) for n, s in zip(shape, step, strict=True)]
    return resampled, LabelMap(labels.labels_xyz[np.ix_(*nearest)], affine)


def _resample_hu(hu_xyz: np.ndarray, step: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Interpolate linearly at multiples of `step`, after a low-pass filter where step > 1.

    The Gaussian's width turns a resolution of one old voxel into one of one new voxel (both as full
    width at half maximum), as in Cardoso et al., "Scale factor point spread function matching", 2015.
    """
    sigma = np.sqrt(np.maximum(step**2 - 1, 0)) / FWHM_PER_SIGMA
    smooth = ndimage.gaussian_filter(hu_xyz.astype(np.float32), sigma, mode="nearest")
    fine = ndimage.affine_transform(smooth, step, output_shape=shape, order=1, mode="nearest")
    return np.rint(fine).astype(np.int16)
