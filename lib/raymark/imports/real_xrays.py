"""Real X-rays of known pose become a shard like a rendered one: the same landmarks, the same detector.

Every image is scaled to the detector's height, then cropped or padded about its middle to its width, and
`K` goes with it. Landmarks are the subject's 3D ones, projected.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raymark import layout
from raymark.config.dataset import Dataset
from raymark.config.imports import Calibrated
from raymark.config.project import Project
from raymark.config.subjects import calibrated_of
from raymark.core.digests import text_digest
from raymark.core.errors import InputError
from raymark.core.files import sha256_of
from raymark.core.names import flip_pairs
from raymark.datasets.lookup import landmark_names, landmark_points, subject_of
from raymark.datasets.shards import write_shard
from raymark.geometry.affine2d import resampled
from raymark.geometry.belief_maps import belief_maps
from raymark.geometry.camera import inside
from raymark.geometry.camera import project as projected
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


def write_real_shard(
    project: Project, settings: Dataset, view_set: str, subject: str, data: Sequence[str]
) -> None:
    """Write the shard of all real X-rays of a subject; `data` are the files that were taken out of its own."""
    place = calibrated_of(subject_of(project, subject).ct)
    if place is None:
        problem = "is not from a calibrated data set: there are no real X-rays of it"
        remedy = f"Leave it out, or remove the view set {view_set!r}"
        raise InputError(f"data set {settings.name}, subject {subject}", problem, remedy)
    calibrated = project.named(project.calibrated, place[0], "calibrated data set")
    names, points = landmark_names(settings), landmark_points(settings, subject)
    shard = RealShard(settings, view_set, subject, names, points, flip_pairs(names))
    content = [*map(sha256_of, data), points.tobytes().hex(), *names]
    where = {"dataset": settings.name, "view_set": view_set, "subject": subject}
    shard.write(
        read_xrays(calibrated, place[1]),
        calibrated.file,
        layout.SHARD.format(**where, shard=layout.shard_name(0)),
        text_digest(*content, settings.model_dump_json(include={"detector", "beliefs"})),
    )


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
        points_px = projected(K, xray.world_to_camera, self.landmarks_world_mm).astype(np.float32)
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
