"""Landmarks by atlas: a labelled CT is laid on an unlabelled one, and its points and labels go along.

A search over all shifts on a coarse grid finds where the two overlap; a rigid and an affine
registration follow, and demons on bone (Thirion, "Image matching as a diffusion process", 1998; with
symmetric forces, Vercauteren et al., 2009) on ever finer grids. Nothing is drawn at random and one
thread sums, so equal CTs give equal points. Points are world RAS mm; ITK is told RAS coordinates, which
it takes as it takes its own.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.signal import fftconvolve

from raymark.core.errors import InputError
from raymark.core.files import atomic
from raymark.core.itk_threads import one_thread
from raymark.ct.grid import LabelMap, Volume
from raymark.landmarks.point_files import XYZ
from raymark.landmarks.table import landmark_table

if TYPE_CHECKING:
    import SimpleITK

# What is compared: air and lung, soft tissue and bone apart, contrast agent little like bone.
HU_KNOTS, GREY_KNOTS = (-900, -120, 120, 300, 1000), (0.0, 0.35, 0.4, 0.6, 1.0)
AIR_HU = -1000
SEARCH_MM, LINEAR_MM = 10.0, 6.0
LEAST_OVERLAP = 0.3  # of the smaller volume, in the search
FINEST_MM = 4.0
DEMONS = ((10.0, 60), (6.0, 60), (FINEST_MM, 40))  # spacing mm, iterations
SMOOTH_FIELD_MM, SMOOTH_UPDATE_MM = 8.0, 8.0
UNIT_MM, FIRST_STEP, LAST_STEP, LINEAR_STEPS = 100.0, 0.04, 5e-4, 100
AROUND_MM = 20.0  # about a point, within which the fit is judged
LEAST_ALIKE = 0.6  # correlation about a point below which it is left out
LEAST_TYPICAL = 0.75  # median of these below which the atlas is refused


@dataclass(frozen=True)
class Warp:
    """The map from the atlas to a CT: x -> linear (x + displacement(x)), in world mm.

    `linear` (4, 4); `displacement_mm` (x, y, z, 3) on a grid with `affine` (4, 4), its edge's beyond.
    """

    linear: np.ndarray
    displacement_mm: np.ndarray
    affine: np.ndarray

    def forward(self, points_mm: np.ndarray) -> np.ndarray:
        """Return where points (..., 3) of the atlas lie in the CT."""
        return _moved(self.linear, points_mm + self._shift(points_mm))

    def inverse(self, points_mm: np.ndarray) -> np.ndarray:
        """Return which points of the atlas lie at points (..., 3) of the CT, to about 0.01 mm.

        By fixed-point iteration, which a displacement that does not fold meets.
        """
        targets = _moved(np.linalg.inv(self.linear), points_mm)
        guess = targets.copy()
        for _ in range(20):
            guess = targets - self._shift(guess)
        return guess

    def _shift(self, points_mm: np.ndarray) -> np.ndarray:
        at = np.moveaxis(_moved(np.linalg.inv(self.affine), points_mm), -1, 0)
        parts = [
            map_coordinates(self.displacement_mm[..., axis], at, order=1, mode="nearest")
            for axis in range(3)
        ]
        return np.stack(parts, axis=-1)


def register_atlas(atlas: Volume, target: Volume) -> Warp:
    """Lay an atlas on a CT of the same part of another body; see `alike` for whether it fits."""
    with one_thread():
        linear = _linear(atlas, target)
        return Warp(linear, *_demons(atlas, target, linear))


def alike(warp: Warp, atlas: Volume, target: Volume, points_mm: np.ndarray) -> np.ndarray:
    """Return how alike atlas and CT are about each point (n, 3) of the atlas: correlations (n,).

    Compared is what lies within AROUND_MM along each axis. NaN for a point that comes to lie outside of
    the CT, or about which less than half is inside.
    """
    reach = np.arange(-AROUND_MM, AROUND_MM + 1, FINEST_MM)
    around = np.stack(np.meshgrid(reach, reach, reach), axis=-1).reshape(-1, 3)
    points = points_mm[:, None] + around
    here = _at(_grey(atlas, FINEST_MM), atlas.affine, points)
    there = _at(_grey(target, FINEST_MM), target.affine, warp.forward(points))
    inside = np.isfinite(_at(target.hu_xyz, target.affine, warp.forward(points_mm)))
    seen = np.isfinite(here) & np.isfinite(there)
    found = np.full(len(points_mm), np.nan)
    for n in np.flatnonzero(inside & (seen.mean(axis=1) >= 0.5)):
        found[n] = np.corrcoef(here[n, seen[n]], there[n, seen[n]])[0, 1]
    return found


def by_atlas(
    warp: Warp,
    atlas: Volume,
    target: Volume,
    table: pd.DataFrame,
    subject: str,
    name: str,
    source: str | Path,
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Return a subject's landmark table by the atlas `name`, how each point fits, and doubts.

    A point outside of the CT, or about which it is not like the atlas, is left out and named in the
    doubts. InputError, naming the CT's file `source`, where the CT as a whole is not like the atlas.
    """
    points = table[XYZ].to_numpy(float)
    scores = alike(warp, atlas, target, points)
    fit = pd.DataFrame({"landmark": table["landmark"], "alike": scores})
    fit["kept"] = scores >= LEAST_ALIKE
    inside = np.isfinite(scores)
    typical = float(np.median(scores[inside])) if inside.any() else 0.0
    if typical < LEAST_TYPICAL:
        raise InputError(
            source,
            f"the atlas {name!r} does not fit it: about its landmarks the two CTs correlate by "
            f"{typical:.2f}, less than {LEAST_TYPICAL}",
            "Name an atlas of the same part of the body, or mark this CT's landmarks",
        )
    carried = landmark_table(subject, table["landmark"], warp.forward(points), f"atlas:{name}")
    doubts = [f"landmarks by atlas ({name}), not by its own labels"]
    for why, left in (
        ("outside of the CT", ~inside),
        ("too unlike the atlas", inside & ~fit["kept"].to_numpy()),
    ):
        if left.any():
            doubts.append(f"left out, {why}: {', '.join(table.loc[left, 'landmark'])}")
    return carried[fit["kept"].to_numpy()], fit, doubts


def write_fit(fit: pd.DataFrame, path: str | Path) -> None:
    """Write how each point fits as CSV, whole or not at all."""
    with atomic(path) as partial:
        fit.to_csv(partial, index=False, float_format="%.3f", lineterminator="\n")


def carried_labels(warp: Warp, labels: LabelMap, target: Volume) -> LabelMap:
    """Return the atlas's labels on the CT's grid: each voxel has that of the nearest one of the atlas."""
    carried = np.empty(target.hu_xyz.shape, labels.labels_xyz.dtype)
    to_voxel = np.linalg.inv(labels.affine)
    row = np.stack(np.meshgrid(*map(np.arange, carried.shape[1:]), indexing="ij"), axis=-1)
    for x in range(carried.shape[0]):
        indices = np.concatenate([np.full((*row.shape[:2], 1), x), row], axis=-1)
        at = _moved(to_voxel, warp.inverse(_moved(target.affine, indices)))
        carried[x] = map_coordinates(
            labels.labels_xyz, np.moveaxis(at, -1, 0), order=0, mode="constant"
        )
    return replace(labels, labels_xyz=carried, affine=target.affine)


def _grey(volume: Volume, spacing_mm: float) -> np.ndarray:
    """Return what is compared, (x, y, z) from 0 (air) to 1 (cortical bone), smooth enough for a grid."""
    grey = np.interp(volume.hu_xyz.astype(np.float32), HU_KNOTS, GREY_KNOTS).astype(np.float32)
    sigma = np.sqrt(np.maximum((spacing_mm / volume.spacing_mm) ** 2 - 1, 0)) / 2.355
    return gaussian_filter(grey, sigma, mode="nearest")


def _image(voxels_xyz: np.ndarray, affine: np.ndarray) -> "SimpleITK.Image":
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels_xyz.transpose(2, 1, 0)))
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    return image


def _grid(volume: Volume, spacing_mm: float) -> tuple[tuple[int, ...], np.ndarray]:
    """Return shape and affine of the volume's box in voxels of `spacing_mm`, corner on corner."""
    step = spacing_mm / volume.spacing_mm
    shape = np.maximum(np.floor((np.array(volume.hu_xyz.shape) - 1) / step).astype(int) + 1, 4)
    affine = volume.affine.copy()
    affine[:3, :3] *= step
    return tuple(shape.tolist()), affine


def _resampled(volume: Volume, spacing_mm: float) -> np.ndarray:
    """Return `_grey` of a volume on its `_grid`."""
    shape, affine = _grid(volume, spacing_mm)
    return _at(_grey(volume, spacing_mm), volume.affine, _points(shape, affine))


def _points(shape_xyz: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    return _moved(affine, np.moveaxis(np.indices(shape_xyz, dtype=np.float64), 0, -1))


def _at(voxels: np.ndarray, affine: np.ndarray, points_mm: np.ndarray) -> np.ndarray:
    """Interpolate voxels linearly at points (..., 3); NaN outside of their grid."""
    at = np.moveaxis(_moved(np.linalg.inv(affine), points_mm), -1, 0)
    edge = 1e-6  # what rounding moves a voxel on the edge out by
    at = np.where(np.abs(at - np.rint(at)) < edge, np.rint(at), at)
    return map_coordinates(voxels, at, np.float32, order=1, mode="constant", cval=np.nan)


def _moved(affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ affine[:3, :3].T + affine[:3, 3]


def _centre(volume: Volume) -> np.ndarray:
    return _moved(volume.affine, (np.array(volume.hu_xyz.shape) - 1) / 2)


def _best_shift(atlas: Volume, target: Volume) -> np.ndarray:
    """Return the shift (3,) mm from atlas to CT with the largest correlation where they overlap.

    All shifts of whole coarse voxels are tried; the grids' axes are taken for the world's, from which
    they are a few degrees away. Masked correlation by Fourier transform (Padfield, 2012).
    """
    a, b = (_resampled(v, SEARCH_MM) for v in (atlas, target))

    def correlate(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return fftconvolve(y, x[::-1, ::-1, ::-1])

    one_a, one_b = np.ones_like(a), np.ones_like(b)
    count = correlate(one_a, one_b)
    sum_a, sum_b = correlate(a, one_b), correlate(one_a, b)
    both = correlate(a, b) - sum_a * sum_b / count
    spread_a = correlate(a**2, one_b) - sum_a**2 / count
    spread_b = correlate(one_a, b**2) - sum_b**2 / count
    enough = count > LEAST_OVERLAP * min(a.size, b.size)
    spread = np.sqrt(np.maximum(spread_a * spread_b, 1e-12))
    score = np.where(enough, both / spread, -1)
    best = np.unravel_index(np.argmax(score), score.shape)
    steps = np.array(best) - (np.array(a.shape) - 1)
    return target.affine[:3, 3] - atlas.affine[:3, 3] + steps * SEARCH_MM


def _linear(atlas: Volume, target: Volume) -> np.ndarray:
    """Return the affine map (4, 4) from atlas to CT: the best shift, made rigid, then affine.

    ITK is given lengths in units of UNIT_MM, in which a step of the matrix and one of the shift move
    the body about as far.
    """
    import SimpleITK as sitk

    images = []
    for volume in (atlas, target):
        grid = _grid(volume, LINEAR_MM)[1]
        grid[:3] /= UNIT_MM
        images.append(_image(_resampled(volume, LINEAR_MM), grid))
    rigid = sitk.Euler3DTransform()
    rigid.SetCenter((_centre(atlas) / UNIT_MM).tolist())
    rigid.SetTranslation((_best_shift(atlas, target) / UNIT_MM).tolist())
    _fit(rigid, *images)
    affine = sitk.AffineTransform(3)
    affine.SetCenter(rigid.GetCenter())
    affine.SetMatrix(rigid.GetMatrix())
    affine.SetTranslation(rigid.GetTranslation())
    _fit(affine, *images)
    matrix, centre = np.eye(4), np.array(affine.GetCenter())
    matrix[:3, :3] = np.reshape(affine.GetMatrix(), (3, 3))
    shift = np.array(affine.GetTranslation()) + centre - matrix[:3, :3] @ centre
    matrix[:3, 3] = UNIT_MM * shift
    return matrix


def _fit(
    transform: "SimpleITK.Transform", fixed: "SimpleITK.Image", moving: "SimpleITK.Image"
) -> None:
    """Move a transform to where the images correlate best, by gradient descent."""
    import SimpleITK as sitk

    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=FIRST_STEP,
        minStep=LAST_STEP,
        numberOfIterations=LINEAR_STEPS,
        relaxationFactor=0.5,
        gradientMagnitudeTolerance=1e-8,
    )
    method.SetInitialTransform(transform, inPlace=True)
    method.Execute(fixed, moving)


def _demons(atlas: Volume, target: Volume, linear: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the displacement (x, y, z, 3) mm that comes before the linear map, and its grid's affine."""
    import SimpleITK as sitk

    field = None
    for spacing_mm, iterations in DEMONS:
        shape, affine = _grid(atlas, spacing_mm)
        fixed = _resampled(atlas, spacing_mm)
        moving = _at(
            _grey(target, spacing_mm), target.affine, _moved(linear, _points(shape, affine))
        )
        beyond = np.isnan(moving)
        moving[beyond] = fixed[beyond]  # pulls nowhere
        filter_ = sitk.FastSymmetricForcesDemonsRegistrationFilter()
        filter_.SetNumberOfIterations(iterations)
        filter_.SetSmoothDisplacementField(True)
        filter_.SetStandardDeviations(SMOOTH_FIELD_MM / spacing_mm)
        filter_.SetSmoothUpdateField(True)
        filter_.SetUpdateFieldStandardDeviations(SMOOTH_UPDATE_MM / spacing_mm)
        images = _image(fixed, affine), _image(moving, affine)
        if field is None:
            field = filter_.Execute(*images)
        else:
            field = filter_.Execute(*images, sitk.Resample(field, images[0]))
    assert field is not None  # there is a spacing at least
    displacement = sitk.GetArrayFromImage(field).transpose(2, 1, 0, 3)
    return np.ascontiguousarray(displacement, dtype=np.float64), affine
