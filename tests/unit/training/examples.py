"""Small images whose landmarks a small network can learn: one blob per landmark, all different."""

import numpy as np

from raymark.config.method import Method, Training
from raymark.geometry.camera import Detector, carm_camera

TINY = {
    "appearance_context": {
        "depth": 2,
        "channels": 8,
        "attention_reduction": 2,
        "context_map": [16, 16],
        "context_channels": 8,
        "sigma_px": 3,
    },
    "scn": {  # without penalty on its weights, which would give each of them a gradient of its own
        "levels": 3,
        "channels": 12,
        "dropout": 0,
        "configuration_stride": 8,
        "configuration_kernel": 5,
        "weight_penalty": 0,
    },
    "cpm": {
        "stages": 2,
        "sigma_px": 8,
        "features": 8,
        "feature_kernel": 3,
        "shared": 8,
        "hidden": 16,
        "refinement": 16,
        "refinement_kernel": 3,
        "normalisation": "group",
    },
    "deeplabv3": {
        "sigma_px": 4,
        "blocks": [1, 1, 1],
        "atrous": [2],
        "rates": [1, 2],
        "width": 8,
        "pooled": 16,
    },
    "dsnt": {"blocks": [1, 1, 1, 1], "width": 8},
    "landmarknet": {
        "level_sigma_cells": 1,
        "blocks": [1, 1, 1, 1],
        "width": 8,
        "pyramid": 16,
        "detection": 8,
    },
    "member_chain": {"channels": 8, "depth": 2, "sigma_px": 4},
    "patches": {"size": 32, "pitches_px": [2.0, 1.0], "neighbours": 2, "channels": 8},
    "prm": {"stacks": 2, "depth": 2, "features": 16, "narrowing": 4, "levels": 2},
    "unet": {"depth": 3, "channels": 8, "radius_px": 3},
    "unet_pel": {"depth": 3, "channels": 8, "radius_px": 3, "pose": {"least_landmarks": 3}},
}
# Training settings with which a tiny network learns eight images, where the usual ones do not serve.
LEARNING: dict[str, dict] = {
    "appearance_context": {"epochs": 25},
    "landmarknet": {"epochs": 40},
    "patches": {"epochs": 160},
    "prm": {"epochs": 25},
    "scn": {"epochs": 40},
    "unet_pel": {"epochs": 30},
}


class Blobs:
    """Views in memory: images (view, y, x) with a Gaussian blob at each of three landmarks.

    Each view has a C-arm camera of its own, under which its landmarks in space are seen there.
    """

    pixel_mm = 2.0
    widths_px, heights = (2.0, 5.0, 3.0), (1.0, 0.7, -1.0)

    def __init__(self, count: int, shape_yx: tuple[int, int] = (52, 60), seed: int = 0):
        self.landmarks = ["left_blob", "right_blob", "hole"]
        self.flip_pairs = [("left_blob", "right_blob")]
        random = np.random.default_rng(seed)
        height, width = shape_yx
        points = random.uniform(8, [width - 9, height - 9], (count, 3, 2))
        y, x = np.mgrid[:height, :width]
        away = [(x - p[..., 0, None, None]) ** 2 + (y - p[..., 1, None, None]) ** 2 for p in points]
        scale = 2 * np.square(self.widths_px)[:, None, None]
        image = [np.tensordot(self.heights, np.exp(-d / scale), 1) for d in away]
        self.arrays = {
            "image": np.array(image, dtype=np.float16),
            "landmarks": points.astype(np.float32),
            "visible": np.ones((count, 3), bool),
            **_geometry(points, shape_yx, self.pixel_mm, seed),
        }
        self.views = [f"set-patient-{index:06d}" for index in range(count)]
        self.subjects = ["patient"] * count
        self.digest = f"{count} {shape_yx} {seed}"

    def __len__(self) -> int:
        return len(self.views)

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return {name: array[indices] for name, array in self.arrays.items()}


def _geometry(points_px, shape_yx, pixel_mm, seed) -> dict[str, np.ndarray]:
    """Cameras, and 3D landmarks at depths of 710 to 790 mm, that project onto `points_px`."""
    random = np.random.default_rng([seed, 1])
    K, world_to_camera = np.zeros((len(points_px), 3, 3)), np.zeros((len(points_px), 4, 4))
    world = np.zeros((*points_px.shape[:2], 3), np.float32)
    for view, points in enumerate(points_px):
        primary_deg, secondary_deg = random.uniform(-30, 30, 2)
        camera = carm_camera(
            Detector(*shape_yx, pixel_mm),
            primary_deg=primary_deg,
            secondary_deg=secondary_deg,
            isocentre_world_mm=np.array([5.0, -10.0, 20.0]),
            source_to_isocentre_mm=750,
            source_to_detector_mm=1000,
        )
        rays = np.c_[points, np.ones(len(points))] @ camera.pixel_to_ray.T
        world[view] = camera.source_world_mm + random.uniform(710, 790, (len(points), 1)) * rays
        K[view], world_to_camera[view] = camera.K, camera.world_to_camera
    return {"K": K, "world_to_camera": world_to_camera, "landmarks_world": world}


def method(module: str = "cpm", **training) -> Method:
    """A method with a tiny network; keywords set its training."""
    settings = {"epochs": 3, "batch": 4, "learning_rate": 5e-3} | training
    return Method(
        name=module,
        title=module,
        module=module,
        network=TINY[module],
        training=Training(**settings),
    )
