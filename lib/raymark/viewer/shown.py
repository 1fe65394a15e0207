"""What a page shows: a CT, its landmarks and labels, the views planned of it, poses found, a model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from raymark.config.dataset import Dataset, ViewSet
from raymark.config.subjects import Subject, parent_of
from raymark.ct import LabelMap, Volume
from raymark.geometry.camera import Camera
from raymark.imports.stored_image import Xray
from raymark.imports.xray_file import read_xray
from raymark.pose.pose_file import read_pose, view_of
from raymark.views.plan import evenly, isocentre_among, plan_view, views_per_subject

POINTS_SHOWN = 600  # of a view set; more hide each other
OWN = "own"  # whose CT it is that no subject sheet names

Finder = Callable[[Xray], pd.DataFrame]  # as `raymark.detection.on_files.find_landmarks` finds


@dataclass(frozen=True)
class Posed:
    """An X-ray with its pose: `camera` in its own pixels, `image_yx` (bone bright) where its file is there."""

    name: str
    camera: Camera
    source_to_detector_mm: float
    image_yx: np.ndarray | None


@dataclass(frozen=True)
class Shown:
    """A CT called `title`, and what is known about it.

    `points_mm` (landmark, 3) are those of `names`, in world RAS mm. `dataset` gives detector, beam and
    view sets, those of `planned` are drawn of `subject`, whose row the `sheet` has.
    """

    title: str
    volume: Volume
    dataset: Dataset
    names: Sequence[str]
    points_mm: np.ndarray
    labels: LabelMap | None = None
    planned: Sequence[str] = ()
    subject: str = OWN
    sheet: dict[str, Subject] | None = None
    base_seed: int = 0
    poses: Sequence[Posed] = ()
    find: Finder | None = None

    @cached_property
    def middle_mm(self) -> np.ndarray:
        """The middle (3,) of the CT."""
        return self.volume.affine[:3] @ [*((n - 1) / 2 for n in self.volume.hu_xyz.shape), 1.0]

    @cached_property
    def isocentre_mm(self) -> np.ndarray:
        """The point (3,) about which views are planned; without landmarks, the middle of the CT."""
        if not len(self.names):
            return self.middle_mm
        return isocentre_among(self.names, self.points_mm, self.dataset)

    def views(self, name: str, view_set: ViewSet, isocentre_mm: np.ndarray) -> list[dict[str, Any]]:
        """Return views of a view set, evenly over it where they are many: rows of the table of views."""
        dataset = self.dataset.model_copy(update={"view_sets": {name: view_set}})
        row = Subject(OWN, OWN, "", "", "", view_set.of)
        sheet = self.sheet or {parent_of(self.subject): row}
        return [
            plan_view(dataset, name, sheet, self.subject, index, isocentre_mm, self.base_seed)
            for index in evenly(range(views_per_subject(view_set)), POINTS_SHOWN)
        ]


def read_poses(path: str) -> list[Posed]:
    """Read the views of a pose file, each with its X-ray where that is there and of the pose's size.

    InputError where a view does not tell its size or its distance.
    """
    poses = []
    for number in range(1, len(read_pose(path)) + 1):
        view, distance_mm = view_of(path, number)
        camera = Camera(view.K, view.world_to_camera, view.height_px, view.width_px)
        name = Path(view.xray).name or f"view {number}"
        poses.append(Posed(name, camera, distance_mm, _image(path, view.xray, camera.shape_yx)))
    return poses


def _image(path: str, xray: str, shape_yx: tuple[int, int]) -> np.ndarray | None:
    """Return an X-ray that a pose file names, from where it was registered or beside the file."""
    for file in (Path(xray), Path(path).parent / Path(xray).name):
        if xray and file.is_file():
            image_yx = read_xray(str(file)).image_yx
            return image_yx if image_yx.shape == shape_yx else None
    return None


def finder(model: str) -> Finder:
    """Return what finds a trained model's landmarks in an X-ray."""
    from raymark.detection.on_files import find_landmarks
    from raymark.training.model_files import load_model

    network, trained = load_model(model)
    return lambda xray: find_landmarks(network, trained, xray)
