"""Affine registration of X-ray images to a template by mutual information.

Deep appearance-context paper, section IV.A: a training image, cropped so that it holds all landmarks,
is the template; every image is registered to it under an affine model, and detected points are
taken back. What the paper leaves open is fixed here: which training image, how wide the crop, the
optimiser (regular steps on Mattes' mutual information of all pixels, coarse to fine) and what counts
as a failure.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from raymark.config.imports import Registration
from raymark.core.errors import InputError
from raymark.core.itk_threads import one_thread
from raymark.geometry.affine2d import Affine, resampled, shown
from raymark.imports.planned_image import FAILED, REGISTERED, TEMPLATE, Planned
from raymark.imports.xray_file import read_xray

if TYPE_CHECKING:
    import SimpleITK

BINS = 32
SHRINK = (8, 4, 2)  # of the image that the networks see; its own grid adds nothing to six numbers
ITERATIONS = 200  # per level
LARGEST_STRETCH = 2.0  # an affine that doubles or halves a length has lost the anatomy


def to_template(
    registration: Registration, shape_yx: tuple[int, int], planned: list[Planned], source: object
) -> list[Planned]:
    """Register every image to the template; return them with their maps into its crop of `shape_yx`.

    Only points of training images are looked at. Raises InputError where the template is no
    training image, or there is none; `source` names the settings.
    """
    template = _template_of(registration.template, planned, source)
    crop = crop_of(template.points_px, registration.margin, shape_yx)
    fixed_yx = resampled(read_xray(template.path).image_yx, crop, shape_yx)
    on_template_yx = shown(template.shape_yx, crop, shape_yx)
    result = []
    for image in planned:
        if image is template:
            result.append(replace(image, to_shard=crop, alignment=TEMPLATE))
            continue
        start = aligned_by_size(image.shape_yx, template.shape_yx, crop)
        height, width = (round(start.scale * side) for side in image.shape_yx)
        to_moving = Affine.scaling(start.scale, np.zeros(2))
        moving_yx = resampled(read_xray(image.path).image_yx, to_moving, (height, width))
        found = register(fixed_yx, on_template_yx, moving_yx, start)
        alignment = REGISTERED if found else FAILED
        result.append(replace(image, to_shard=found or start, alignment=alignment))
    return result


def _template_of(name: str | None, planned: list[Planned], source: object) -> Planned:
    train = [image for image in planned if image.view_set == "train"]
    if not train:
        problem = "there is no training image to be the template"
        remedy = "Use a split with training images, or no registration"
        raise InputError(f"{source}, registration", problem, remedy)
    if name is None:
        points_px = [image.points_px for image in train]
        return train[central_image(points_px, [image.shape_yx[0] for image in train])]
    for image in train:
        if image.annotation.image == name:
            return image
    remedy = f"Name one as the annotations do, e.g. {train[0].annotation.image}"
    problem = f"{name!r} is not a training image"
    raise InputError(f"{source}, registration.template", problem, remedy)


def central_image(points_px: Sequence[np.ndarray], heights_px: Sequence[float]) -> int:
    """Return which image's landmarks (landmark, xy) lie nearest to the mean of all images'.

    Positions are compared as shares of each image's height; of equals the first is taken.
    """
    shares = np.stack(
        [points / height for points, height in zip(points_px, heights_px, strict=True)]
    )
    away = np.linalg.norm(shares - shares.mean(axis=0), axis=-1).mean(axis=-1)
    return int(away.argmin())


def crop_of(points_px: np.ndarray, margin: float, shape_yx: tuple[int, int]) -> Affine:
    """Return the map from a template to its crop of `shape_yx`.

    The crop shows the box around the points (landmark, xy), widened on each side by `margin` of
    its size, as large as it fits and in the middle.
    """
    low, high = points_px.min(axis=0), points_px.max(axis=0)
    size_px = np.maximum((high - low) * (1 + 2 * margin), 1.0)
    target_px = np.array(shape_yx[::-1], dtype=float)
    scale = float((target_px / size_px).min())
    return Affine.scaling(scale, (target_px - 1) / 2 - scale * (low + high) / 2)


def aligned_by_size(
    shape_yx: tuple[int, int], template_shape_yx: tuple[int, int], crop: Affine
) -> Affine:
    """Return where an image comes to lie in the template's crop when heights and middles agree."""
    scale = template_shape_yx[0] / shape_yx[0]
    middle_px, template_middle_px = (
        (np.array(shape[::-1]) - 1) / 2 for shape in (shape_yx, template_shape_yx)
    )
    return crop.after(Affine.scaling(scale, template_middle_px - scale * middle_px))


def register(
    fixed_yx: np.ndarray, on_template_yx: np.ndarray, moving_yx: np.ndarray, start: Affine
) -> Affine | None:
    """Return the affine map from an image to the template's crop, or None where there is none.

    `fixed_yx` is the crop, `on_template_yx` tells which of its pixels show the template,
    `moving_yx` the image at the crop's scale, whose pixel (0, 0) `start` puts at its shift; the
    result maps the same points as `start`. None: the optimiser failed, its result has less mutual
    information than `start`, or it stretches a length more than `LARGEST_STRETCH`-fold.
    Equal input gives equal output, whatever the number of cores.
    """
    import SimpleITK as sitk

    fixed, moving = (sitk.GetImageFromArray(a.astype(np.float32)) for a in (fixed_yx, moving_yx))
    moving.SetOrigin(start.shift_px.tolist())
    first = sitk.AffineTransform(2)
    first.SetCenter([(size - 1) / 2 for size in fixed_yx.shape[::-1]])
    to_moving = sitk.AffineTransform(first)
    try:
        with one_thread():
            method = _method(sitk.GetImageFromArray(on_template_yx.astype(np.uint8)))
            method.SetInitialTransform(to_moving, inPlace=True)
            method.Execute(fixed, moving)
            costs = [_cost(method, fixed, moving, transform) for transform in (first, to_moving)]
    except RuntimeError:  # the images came apart
        return None
    found = _affine_of(to_moving)
    stretches = np.linalg.svd(found.matrix_xy, compute_uv=False)
    lost = max(stretches.max(), 1 / stretches.min()) > LARGEST_STRETCH
    if lost or costs[1] > costs[0]:
        return None
    return found.inverse().after(start)


def _method(mask: "SimpleITK.Image") -> "SimpleITK.ImageRegistrationMethod":
    import SimpleITK as sitk

    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetMetricFixedMask(mask)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0,
        minStep=1e-4,
        numberOfIterations=ITERATIONS,
        relaxationFactor=0.6,
        gradientMagnitudeTolerance=1e-5,
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(SHRINK)
    method.SetSmoothingSigmasPerLevel([shrink / 2 for shrink in SHRINK])
    return method


def _cost(
    method: "SimpleITK.ImageRegistrationMethod",
    fixed: "SimpleITK.Image",
    moving: "SimpleITK.Image",
    transform: "SimpleITK.Transform",
) -> float:
    method.SetInitialTransform(transform, inPlace=False)
    return method.MetricEvaluate(fixed, moving)


def _affine_of(transform: "SimpleITK.AffineTransform") -> Affine:
    matrix_xy = np.array(transform.GetMatrix()).reshape(2, 2)
    centre, moved = np.array(transform.GetCenter()), np.array(transform.GetTranslation())
    return Affine(matrix_xy, moved + centre - matrix_xy @ centre)
