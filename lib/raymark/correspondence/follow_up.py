"""Correspondences between two CTs of one patient (section 3.2): align by an affine map, then match.

The second CT is resampled into the first one's place, slice by slice; matches are returned in the
world of each CT, as deformable registration wants them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk

from raymark.core.drawing import DOUBLE_IN, figure, pack
from raymark.core.errors import InputError
from raymark.core.files import atomic
from raymark.core.itk_threads import one_thread
from raymark.correspondence.config import Correspondence
from raymark.correspondence.drawing import draw_matches
from raymark.correspondence.matching import Points, match_by_network
from raymark.correspondence.slices import GREYS, Stack, spread, stack_of
from raymark.correspondence.training import load_model
from raymark.ct import Volume, read_ct

AIR_HU = -1000
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # from RAS, and back
SHOWN = 4  # slices in the picture
SEED = 1  # of the voxels that the registration looks at

Matcher = Callable[[np.ndarray, np.ndarray], dict[str, Points]]


@dataclass(frozen=True)
class Aligned:
    """The second CT on the grid of the first, and the affine (4, 4), RAS mm, from a point of the
    first to the same anatomy in the second as it was scanned."""

    volume: Volume
    first_to_second: np.ndarray


def match_follow_up(
    model_path: str | Path,
    first_path: str | Path,
    second_path: str | Path,
    out_dir: str | Path,
    slice_count: int | None,
) -> pd.DataFrame:
    """Match two CTs of one patient; write `matches.csv` and `matches.png` (and `.svg`).

    `slice_count` slices of the first CT, evenly spread, or all. Columns: slice_mm (height above the
    first slice of the first CT), x1_px to y2_px, and the world RAS mm x1_mm to z2_mm of both points.
    """
    settings, network = load_model(model_path)
    first = read_ct(first_path)
    aligned = align(first, read_ct(second_path))
    stack1 = spread(stack_of(first, "first", settings.slices), slice_count)
    stack2 = same_slices(aligned, stack1, settings)

    def by_network(image1: np.ndarray, image2: np.ndarray) -> dict[str, Points]:
        return {"network": match_by_network(network, image1, image2, settings.matching)}

    matches = match_slices(stack1, stack2, by_network).drop(columns="method")
    matches = matches.assign(**in_world(matches, first, aligned.first_to_second))
    with atomic(Path(out_dir) / "matches.csv") as partial:
        matches.to_csv(partial, index=False, float_format="%.3f")
    _draw(stack1, stack2, matches, Path(out_dir) / "matches")
    return matches


def align(first: Volume, second: Volume) -> Aligned:
    """Register the second CT to the first by an affine map (mutual information, SimpleITK).

    Raises InputError where the two do not overlap enough to be registered.
    """
    fixed, moving = _image(first), _image(second)
    start = sitk.CenteredTransformInitializer(
        fixed, moving, sitk.AffineTransform(3), sitk.CenteredTransformInitializerFilter.GEOMETRY
    )
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.1, SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0, minStep=1e-3, numberOfIterations=150
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2])
    method.SetSmoothingSigmasPerLevel([4.0, 2.0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(start, inPlace=False)
    try:
        with one_thread():
            found = method.Execute(fixed, moving)
    except RuntimeError as error:
        problem = f"cannot be aligned ({str(error).strip().splitlines()[-1]})"
        raise InputError("the second CT", problem, "Give two CTs of one region") from None
    resampled = sitk.Resample(moving, fixed, found, sitk.sitkBSpline, AIR_HU)
    hu_xyz = sitk.GetArrayFromImage(resampled).T.clip(AIR_HU, 32767)
    volume = Volume(np.round(hu_xyz).astype(np.int16), first.affine)
    return Aligned(volume, _affine_of(found))


def same_slices(aligned: Aligned, stack1: Stack, settings: Correspondence) -> Stack:
    """Return the aligned CT's slices at the heights of the first one's."""
    wanted = np.round(stack1.z_mm / aligned.volume.spacing_mm[2]).astype(int)
    return stack_of(aligned.volume, "second", settings.slices, wanted)


def match_slices(stack1: Stack, stack2: Stack, matcher: Matcher) -> pd.DataFrame:
    """Match slice by slice; columns slice_mm, method, x1_px, y1_px, x2_px, y2_px."""
    tables = []
    for k, z_mm in enumerate(stack1.z_mm):
        images = (stack.image_zyx[k] / np.float32(GREYS) for stack in (stack1, stack2))
        for method, points in matcher(*images).items():
            table = pd.DataFrame(np.hstack(points), columns=["x1_px", "y1_px", "x2_px", "y2_px"])
            table.insert(0, "slice_mm", z_mm)
            table.insert(1, "method", method)
            tables.append(table)
    return pd.concat(tables, ignore_index=True)


def in_world(matches: pd.DataFrame, first: Volume, first_to_second: np.ndarray) -> dict:
    """Return x1_mm to z2_mm: pixels of 1 mm of both images, which share the first CT's grid."""
    columns: dict[str, np.ndarray] = {}
    for of, onward in (("1", np.eye(4)), ("2", first_to_second)):
        pixels = matches[[f"x{of}_px", f"y{of}_px", "slice_mm"]].to_numpy()
        voxels = pixels / first.spacing_mm
        voxels[:, :2] = np.array(first.hu_xyz.shape[:2]) - 1 - voxels[:, :2]
        to_world = onward @ first.affine
        world_mm = voxels @ to_world[:3, :3].T + to_world[:3, 3]
        columns |= {f"{axis}{of}_mm": world_mm[:, i] for i, axis in enumerate("xyz")}
    return columns


def _draw(stack1: Stack, stack2: Stack, matches: pd.DataFrame, stem: Path) -> None:
    """Draw some slices of both CTs side by side, matches in the colour of their place."""
    shown = spread(stack1, SHOWN).z_mm
    shape_yx = stack1.image_zyx.shape[1:]
    panel_in = DOUBLE_IN / (2 * min(2, len(shown)))
    rows = -(-len(shown) // 2)
    with figure(DOUBLE_IN, rows * panel_in * shape_yx[0] / shape_yx[1] + 0.1, stem) as page:
        pack(page)
        panels = page.subplots(rows, 2 * min(2, len(shown)), squeeze=False)
        for axes in panels.flat:
            axes.set_axis_off()
        for z_mm, axes in zip(shown, panels.reshape(-1, 2), strict=False):
            k = int(np.flatnonzero(stack1.z_mm == z_mm)[0])
            mine = matches[matches["slice_mm"] == z_mm]
            for of, stack in (("1", stack1), ("2", stack2)):
                draw_matches(axes[int(of) - 1], stack.image_zyx[k] / GREYS, mine, of, shape_yx)


def _image(volume: Volume) -> sitk.Image:
    """Turn a volume into an image of ITK, whose world is LPS."""
    image = sitk.GetImageFromArray(volume.hu_xyz.T.astype(np.float32))
    affine = LPS @ volume.affine
    image.SetSpacing(volume.spacing_mm.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / volume.spacing_mm).ravel().tolist())
    return image


def _affine_of(transform: sitk.Transform) -> np.ndarray:
    """Read an affine transform of ITK as (4, 4) in RAS mm: what it does to four points."""
    corners = np.vstack([np.zeros(3), np.eye(3)])
    moved = np.array([transform.TransformPoint(corner.tolist()) for corner in corners])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = (moved[1:] - moved[0]).T, moved[0]
    return LPS @ affine @ LPS
