"""A virtual follow-up: the patient of a CT scanned again, some time later (section 3.2).

The body has changed shape a little, lies otherwise, carries a contrast agent, and the noise is
another. Where every point went is known, so that matches are measured where the paper could only
look at them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.spatial.transform import Rotation

from raymark.config.dataset import Cohort
from raymark.core.seeds import generator
from raymark.correspondence.config import FollowUp
from raymark.correspondence.follow_up import Aligned, in_world
from raymark.correspondence.matches import FOLLOW_UP
from raymark.correspondence.slices import Stack
from raymark.ct.grid import Volume
from raymark.patients.deformation import Deformation
from raymark.patients.virtual_patients import draw_deformation, make_virtual_patient

PARTIAL_VOLUME_VOXELS = 0.7  # contrast fades over an organ's border
NOISE_GRAIN_VOXELS = 0.6


@dataclass(frozen=True)
class SecondScan:
    """The second CT, and where the anatomy of the first lies in it."""

    volume: Volume
    deformation: Deformation
    lying: np.ndarray  # (4, 4), RAS mm, after the deformation

    def of_first(self, points_mm: np.ndarray) -> np.ndarray:
        """Return where points (n, 3) of the first CT's world lie in the second's."""
        deformed_mm = self.deformation.forward(points_mm)
        return deformed_mm @ self.lying[:3, :3].T + self.lying[:3, 3]


def scan_again(
    first: Volume, labels_xyz: np.ndarray, settings: FollowUp, subject: str, seed: int
) -> SecondScan:
    """Make the follow-up of a CT, fixed by `subject` and `seed`; labels are on the CT's grid."""
    random = generator("follow-up", subject, seed)
    corners = np.array([[0, 0, 0], np.array(first.hu_xyz.shape) - 1], dtype=float)
    ends_mm = corners @ first.affine[:3, :3].T + first.affine[:3, 3]
    cohort = Cohort(deformation=settings.deformation, scale=(1.0, 1.0))
    named: dict[str, Any] = {"dataset": "follow-up", "subject": subject, "seed": seed}
    deformation, _ = draw_deformation(first.hu_xyz.shape, first.affine, ends_mm, cohort, **named)
    patient = make_virtual_patient(first.hu_xyz, labels_xyz, first.affine, ends_mm, cohort, **named)
    assert patient.labels_xyz is not None  # it was made with labels
    hu_xyz = patient.hu_xyz + _contrast(patient.labels_xyz, settings.contrast_hu)
    hu_xyz += settings.noise_hu * _noise(hu_xyz.shape, random)
    lying = _lying(settings, ends_mm.mean(axis=0), random)
    hu_xyz = np.round(hu_xyz).clip(first.hu_xyz.min(), 32767).astype(np.int16)
    return SecondScan(Volume(hu_xyz, lying @ patient.affine), deformation, lying)


def measure_follow_up(
    matches: pd.DataFrame, stack1: Stack, first: Volume, aligned: Aligned, scan: SecondScan
) -> pd.DataFrame:
    """Measure matches with a virtual follow-up in space; columns as of
    `raymark.correspondence.matches`, and `unmatched_mm`: how far off the affine registration alone would have put the same points.
    """
    every = pd.MultiIndex.from_product(
        [stack1.z_mm, matches["method"].unique()], names=["slice_mm", "method"]
    ).to_frame(index=False)
    rows = every.merge(matches, how="left")  # a slice without a match has a row of missing numbers
    found = in_world(rows, first, aligned.first_to_second)
    first_mm, second_mm = (
        np.column_stack([found[f"{axis}{of}_mm"] for axis in "xyz"]) for of in "12"
    )
    true_mm, affine = scan.of_first(first_mm), aligned.first_to_second
    registered_mm = first_mm @ affine[:3, :3].T + affine[:3, 3]
    return rows.rename(columns={"slice_mm": "z_mm"}).assign(
        subject=stack1.subject,
        transformation=FOLLOW_UP,
        error_mm=np.linalg.norm(second_mm - true_mm, axis=1),
        unmatched_mm=np.linalg.norm(registered_mm - true_mm, axis=1),
    )


def _contrast(labels_xyz: np.ndarray, contrast_hu: dict[int, float]) -> np.ndarray:
    raised = np.zeros(labels_xyz.shape, dtype=np.float32)
    for label, hu in contrast_hu.items():
        raised[labels_xyz == label] = hu
    return ndimage.gaussian_filter(raised, PARTIAL_VOLUME_VOXELS)


def _noise(shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    grain = ndimage.gaussian_filter(
        random.standard_normal(shape, dtype=np.float32), NOISE_GRAIN_VOXELS
    )
    return grain / grain.std()


def _lying(settings: FollowUp, centre_mm: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return how the patient lies the second time, against the first: a rigid map about the middle."""
    turned = Rotation.from_euler(
        "xyz", random.uniform(-1, 1, 3) * settings.rotation_deg, degrees=True
    ).as_matrix()
    lying = np.eye(4)
    lying[:3, :3] = turned
    shift_mm = random.uniform(-1, 1, 3) * settings.shift_mm
    lying[:3, 3] = centre_mm - turned @ centre_mm + shift_mm
    return lying
