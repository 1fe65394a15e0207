"""The shard rule: some views of one subject, from canonical CT to one file of X-ray images."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from raymark.config.dataset import Dataset, Physics, Tools
from raymark.core.seeds import generator
from raymark.core.threads import in_order, thread_count
from raymark.ct import Volume, read_volume
from raymark.datasets.shards import write_shard
from raymark.geometry.belief_maps import belief_maps
from raymark.geometry.camera import Camera, inside
from raymark.projectors import projector_class
from raymark.rendering.metal_tools import rods_of_view, shadow
from raymark.rendering.physics import (
    EnergyIntegratingDetector,
    Shadow,
    densities_from_hu,
    spectrum_of,
)
from raymark.views.plan import camera_of, detector_of

REPORT_EVERY_S = 5.0


def render_shard(
    volume: Volume,
    landmarks_world_mm: np.ndarray,
    names: list[str],
    flip_pairs: list[tuple[str, str]],
    views: pd.DataFrame,
    dataset: Dataset,
    path: str | Path,
    digest: str,
) -> None:
    """Render the rows of `views` (all of one subject) and write them as one shard.

    `landmarks_world_mm` (landmark, 3) is in the order of `names`. `digest` says what made the shard;
    it is stored with it.
    """
    scene = Scene(volume, landmarks_world_mm, names, flip_pairs, dataset)
    attributes = {
        "dataset": dataset.name,
        "view": views["view"].tolist(),
        "subject": views["subject"].tolist(),
        "landmarks": names,
        "flip_pairs": [list(pair) for pair in flip_pairs],
        "pixel_mm": dataset.detector.pixel_mm,
        "stride": dataset.beliefs.stride,
        "sigma_px": dataset.beliefs.sigma_px,
        "physics": dataset.physics.model_dump(),
        "projector": dataset.projector,
        "digest": digest,
    }
    if scenario := scenario_of(dataset, views):
        attributes["scenario"] = scenario
    rendered = reported(scene.render_all(views), len(views))
    write_shard(path, rendered, len(views), attributes)


def scenario_of(dataset: Dataset, views: pd.DataFrame) -> dict:
    """Return what the view set of these views, all of one, sets besides the standard image."""
    return dataset.view_sets[views["view_set"].iloc[0]].scenario()


class Scene:
    """One subject in front of the detector, ready for any view."""

    def __init__(
        self,
        volume: Volume,
        landmarks_world_mm: np.ndarray,
        names: list[str],
        flip_pairs: list[tuple[str, str]],
        dataset: Dataset,
    ):
        density_mxyz = densities_from_hu(volume.hu_xyz)
        projector = projector_class(dataset.projector)
        self.projector = projector(density_mxyz, volume.affine)
        physics = dataset.physics
        self.detection = EnergyIntegratingDetector(spectrum_of(physics), physics.photons_per_px)
        self.detector, self.view_sets = dataset.detector, dataset.view_sets
        self.beliefs = dataset.beliefs
        self.landmarks_world_mm = landmarks_world_mm
        self.mirrored = mirror_order(names, flip_pairs)

    def render_all(self, views: pd.DataFrame) -> Iterator[dict[str, np.ndarray]]:
        """Yield what `render` returns for each row of `views`, several of them at work at a time."""
        threads = thread_count() if self.projector.side_by_side else 1
        return in_order(self.render, views.itertuples(), threads)

    def render(self, view: Any) -> dict[str, np.ndarray]:
        """Return the arrays of one row of the views table, as `raymark.datasets.shards` stores them."""
        view_set = self.view_sets[view.view_set]
        camera = camera_of(view, detector_of(self.detector, view_set.field_of_view_share))
        line_integrals_myx = self.projector.project(camera)
        metal = self._shadow(view_set.tools, camera, view.seed)
        image = self.detection.log_image(line_integrals_myx, generator("noise", view.seed), metal)
        # A mirrored image shows the left side's anatomy where the right side is expected: the
        # names swap, so that a picture of either kind reads alike.
        world = self.landmarks_world_mm[self.mirrored] if view.flip else self.landmarks_world_mm
        landmarks_px = camera.project(world).astype(np.float32)
        visible = inside(landmarks_px, camera.shape_yx)
        beliefs = belief_maps(
            landmarks_px, visible, camera.shape_yx, self.beliefs.stride, self.beliefs.sigma_px
        )
        return {
            "image": image,
            "landmarks": landmarks_px,
            "visible": visible,
            "beliefs": beliefs,
            "landmarks_world": world,
            "K": camera.K,
            "world_to_camera": camera.world_to_camera,
        }

    def _shadow(self, tools: Tools | None, camera: Camera, seed: int) -> Shadow | None:
        if tools is None:
            return None
        rods = rods_of_view(tools, self.landmarks_world_mm, seed)
        return shadow(camera, rods, self.detection.metal_attenuation(tools.metal))


def noiseless_scene(ct: str, dataset: Dataset, beam: Physics) -> Scene:
    """Return a CT in front of a data set's detector, without landmarks and without noise."""
    quiet = beam.model_copy(update={"photons_per_px": None})
    return Scene(
        read_volume(ct), np.zeros((0, 3)), [], [], dataset.model_copy(update={"physics": quiet})
    )


def noiseless_image(scene: Scene, camera: Camera) -> np.ndarray:
    """Return the image (y, x) of a noiseless scene."""
    line_integrals_myx = scene.projector.project(camera)
    return scene.detection.log_image(line_integrals_myx, generator("none")).astype(np.float32)


def mirror_order(names: list[str], flip_pairs: list[tuple[str, str]]) -> np.ndarray:
    """Return for each landmark the number of the one whose place it takes in a mirrored image."""
    other = dict(flip_pairs) | {right: left for left, right in flip_pairs}
    return np.array([names.index(other.get(name, name)) for name in names])


def reported(views: Iterator[dict], count: int) -> Iterator[dict]:
    """Pass views on, telling how many are done every few seconds."""
    start = last = time.monotonic()
    for done, view in enumerate(views, start=1):
        yield view
        now = time.monotonic()
        if now - last > REPORT_EVERY_S or done == count:
            last = now
            print(f"{done}/{count} views, {done / (now - start):.1f} per second", file=sys.stderr)
