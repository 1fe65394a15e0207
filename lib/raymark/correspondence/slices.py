"""Axial slices of a canonical CT as images of 1 mm pixels, with a mask of the body."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from raymark.config.project import Project
from raymark.correspondence.config import (
    Role,
    Slices,
    correspondence_of,
    cts_for,
    has_unseen_patients,
)
from raymark.ct.grid import Volume
from raymark.ct.store import read_volume

PIXEL_MM = 1.0  # so that px and mm are one
GREYS = 255  # eight bits: 2 HU of a window of 600 HU, below the noise of a CT


@dataclass(frozen=True)
class Stack:
    """A CT's slices from caudal to cranial.

    `image_zyx` is uint8, the HU window on 0 to 255; `body_zyx` bool; `z_mm` (n,) the height of each
    slice along the body, from the CT's first. As radiologists see them: anterior up, the patient's
    right on the left.
    """

    subject: str
    z_mm: np.ndarray
    image_zyx: np.ndarray
    body_zyx: np.ndarray

    def __len__(self) -> int:
        return len(self.z_mm)

    def of(self, chosen: np.ndarray) -> "Stack":
        """Return the chosen slices (indices or a mask) as a stack."""
        return replace(
            self,
            z_mm=self.z_mm[chosen],
            image_zyx=self.image_zyx[chosen],
            body_zyx=self.body_zyx[chosen],
        )


def stack_of(
    volume: Volume, subject: str, settings: Slices, wanted: Iterable[int] | None = None
) -> Stack:
    """Resample slices of a CT to 1 mm in their plane: the `wanted` ones, or all that show a body.

    Section 2.1 of the paper resamples likewise. The image is interpolated cubically: linearly, it
    would have corners on a coarse CT's own grid, which are found as landmarks. It is cut to the
    window first, so that the skin leaves no ringing.
    """
    spacing_mm = volume.spacing_mm
    low, high = settings.window_hu
    images, bodies = [], []
    chosen = list(range(volume.hu_xyz.shape[2]) if wanted is None else wanted)
    for k in chosen:
        hu_yx = volume.hu_xyz[::-1, ::-1, k].T.astype(np.float32)
        grey_yx = (hu_yx.clip(low, high) - low) * GREYS / (high - low)
        image_yx = _at_one_mm(grey_yx, spacing_mm, order=3)
        images.append(image_yx.round().clip(0, GREYS).astype(np.uint8))
        bodies.append(body_mask(_at_one_mm(hu_yx, spacing_mm, order=1), settings))
    z_mm = spacing_mm[2] * np.array(chosen)
    stack = Stack(subject, z_mm, np.stack(images), np.stack(bodies))
    return stack.of(np.any(stack.body_zyx, axis=(1, 2))) if wanted is None else stack


def body_mask(hu_yx: np.ndarray, settings: Slices) -> np.ndarray:
    """Mark the body (bool, y, x) of a slice of 1 mm pixels (section 2.4).

    A threshold, then an opening that parts the table from the back, then the large connected parts.
    Gas and lungs, the holes in them, belong to the body.
    """
    dense = ndimage.binary_opening(hu_yx > settings.body_hu, iterations=2)
    parts, _ = ndimage.label(dense)
    return ndimage.binary_fill_holes(_large(parts, settings.least_body_mm2))


def apart(stack: Stack, settings: Slices, role: Role) -> Stack:
    """Return the slices of a CT that serves training and testing for one `role` of the two.

    The upper `test_share` of its height is for testing; the `gap_mm` below it is for neither.
    """
    start_mm = stack.z_mm[-1] - settings.test_share * np.ptp(stack.z_mm)
    if role == "test":
        return stack.of(stack.z_mm >= start_mm)
    return stack.of(stack.z_mm < start_mm - settings.gap_mm)


def stacks_for(role: str, project: Project) -> Iterator[Stack]:
    """Yield the slices of every CT to train or test on, CT by CT."""
    settings = correspondence_of(project)
    count = settings.slices.test_slices if role == "test" else None
    for subject, path in cts_for(role, project, project.sheet).items():
        yield stack_for(role, read_volume(path), subject, project, count)


def stack_for(
    role: str, volume: Volume, subject: str, project: Project, count: int | None
) -> Stack:
    """Return `count` (None: all) of a CT's slices for a role."""
    settings = correspondence_of(project)
    stack = stack_of(volume, subject, settings.slices)
    if not has_unseen_patients(settings, project, project.sheet):
        stack = apart(stack, settings.slices, role)
    return spread(stack, count)


def spread(stack: Stack, count: int | None) -> Stack:
    """Return `count` slices evenly spread over the stack, or all of it."""
    if count is None or count >= len(stack):
        return stack
    return stack.of(((np.arange(count) + 0.5) * len(stack) / count).astype(int))


def _at_one_mm(image_yx: np.ndarray, spacing_mm: np.ndarray, order: int) -> np.ndarray:
    """Resample to 1 mm; the first pixel keeps the first voxel's centre. Spacings along x, y, z."""
    steps = PIXEL_MM / spacing_mm[1::-1]
    shape = ((np.array(image_yx.shape) - 1) / steps + 1e-6).astype(int) + 1
    return ndimage.affine_transform(
        image_yx, steps, output_shape=tuple(shape), order=order, mode="nearest"
    )


def _large(parts_yx: np.ndarray, least_px: float) -> np.ndarray:
    sizes = np.bincount(parts_yx.ravel())
    sizes[0] = 0
    return (sizes >= least_px)[parts_yx]
