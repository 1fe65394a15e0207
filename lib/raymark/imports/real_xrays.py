"""Real X-rays of known pose become a shard like a rendered one: the same landmarks, the same detector.

Every image is scaled to the detector's height, then cropped or padded about its middle to its width, and
`K` goes with it. Landmarks are the subject's 3D ones, projected.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raymark.config.dataset import Dataset
from raymark.config.imports import Calibrated
from raymark.core.errors import InputError
from raymark.datasets.shards import write_shard
from raymark.geometry.affine2d import resampled
from raymark.geometry.belief_maps import belief_maps
from raymark.geometry.camera import inside, project
from raymark.imports import deepfluoro, exchange_folder
from raymark.imports.calibrated import CalibratedSubject, CalibratedXray
from raymark.imports.planned_image import scaled_and_cropped

READERS = {"deepfluoro": deepfluoro, "exchange_folder": exchange_folder}
SAME_PITCH = 0.01


def read_subject(settings: Calibrated, subject: str) -> CalibratedSubject:
    """Return a subject of a calibrated data set; InputError where the file has none of that name."""
    reader = READERS[settings.layout]
    known = reader.subjects(settings.file)
    if subject not in known:
        remedy = f"It has {', '.join(known)}"
        raise InputError(settings.file, f"has no subject {subject!r}", remedy)
    return reader.read_subject(settings.file, subject)


def read_xrays(settings: Calibrated, subject: str) -> Iterator[CalibratedXray]:
    """Yield a subject's X-rays."""
    return READERS[settings.layout].read_xrays(settings.file, subject)


@dataclass(frozen=True)
class RealShard:
    """What a shard of real X-rays is of: whose they are, and the landmarks (landmark, 3) in world mm."""

    dataset: Dataset
    view_set: str
    subject: str
    names: list[str]
    landmarks_world_mm: np.ndarray
    flip_pairs: list[tuple[str, str]]

    def write(
        self, xrays: Iterable[CalibratedXray], source: str, path: str | Path, digest: str
    ) -> None:
        """Write all X-rays as one shard; `source` names their file in errors, `digest` what made it."""
        views = {xray.name: self._view(xray, source) for xray in xrays}
        if not views:
            raise InputError(source, f"has no X-ray of {self.subject}", "Choose another view set")
        beliefs = self.dataset.beliefs
        attributes = {
            "dataset": self.dataset.name,
            "view": [f"{self.view_set}-{self.subject}-{name}" for name in views],
            "subject": [self.subject] * len(views),
            "landmarks": self.names,
            "flip_pairs": [list(pair) for pair in self.flip_pairs],
            "pixel_mm": self.dataset.detector.pixel_mm,
            "stride": beliefs.stride,
            "sigma_px": beliefs.sigma_px,
            "digest": digest,
        }
        write_shard(path, views.values(), len(views), attributes)

    def _view(self, xray: CalibratedXray, source: str) -> dict[str, np.ndarray]:
        """Return the arrays of one X-ray, as `raymark.datasets.shards` stores them."""
        detector, beliefs = self.dataset.detector, self.dataset.beliefs
        shape_yx = detector.height_px, detector.width_px
        to_shard = scaled_and_cropped(xray.image_yx.shape, *shape_yx)
        pixel_mm = xray.pixel_mm / to_shard.scale
        if abs(pixel_mm / detector.pixel_mm - 1) > SAME_PITCH:
            problem = f"has pixels of {pixel_mm:.4g} mm at {detector.height_px} rows"
            remedy = (
                f"Set detector.pixel_mm of {self.dataset.name} to that, so that both look alike"
            )
            raise InputError(f"{source}, {self.subject}/{xray.name}", problem, remedy)
        homography = np.eye(3)
        homography[:2, :2], homography[:2, 2] = to_shard.matrix_xy, to_shard.shift_px
        K = homography @ xray.K
        points_px = project(K, xray.world_to_camera, self.landmarks_world_mm).astype(np.float32)
        # What lies outside its own image stays invisible where padding surrounds it.
        own_px = to_shard.inverse()(points_px)
        visible = inside(points_px, shape_yx) & inside(own_px, xray.image_yx.shape)
        return {
            "image": resampled(xray.image_yx, to_shard, shape_yx),
            "landmarks": points_px,
            "visible": visible,
            "beliefs": belief_maps(points_px, visible, shape_yx, beliefs.stride, beliefs.sigma_px),
            "landmarks_world": self.landmarks_world_mm,
            "K": K,
            "world_to_camera": xray.world_to_camera,
        }
