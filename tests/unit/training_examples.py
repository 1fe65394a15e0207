"""Small images whose landmarks a small network can learn: one blob per landmark, all different."""

import numpy as np

from raymark.config import Method, Training

TINY = {
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
    "unet": {"depth": 3, "channels": 8, "radius_px": 3},
}
# Training settings with which a tiny network learns eight images, where the usual ones do not serve.
LEARNING: dict[str, dict] = {}


class Blobs:
    """Views in memory: images (view, y, x) with a Gaussian blob at each of three landmarks."""

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
            "K": np.tile(np.eye(3), (count, 1, 1)),
            "world_to_camera": np.tile(np.eye(4), (count, 1, 1)),
            "landmarks_world": np.zeros((count, 3, 3), np.float32),
        }
        self.views = [f"set-patient-{index:06d}" for index in range(count)]
        self.subjects = ["patient"] * count
        self.digest = f"{count} {shape_yx} {seed}"

    def __len__(self) -> int:
        return len(self.views)

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return {name: array[indices] for name, array in self.arrays.items()}


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
