"""Textured slices that stand for CTs, matches on them, and settings small enough for a test."""

import numpy as np
import pandas as pd
from scipy import ndimage

from raymark.correspondence.config import Correspondence
from raymark.correspondence.slices import Stack

TINY = Correspondence.model_validate(
    {
        "transformations": {
            "rotation_deg": 10,
            "displacement_mm": [2, 4],
            "gaussian_mm": [20, 30],
        },
        "network": {"filters": 4, "normalisation": "group"},
        "training": {
            "epochs": 1,
            "pairs_per_epoch": 240,
            "batch": 2,
            "image_px": 80,
            "landmarks": 100,
            "learning_rate": 3e-3,
            "threads": 1,
        },
    }
)


def textured(count: int, seed: int = 0, side: int = 112) -> Stack:
    """Slices of blobs of many sizes inside a disc of body, with air about it."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    body = np.hypot(x, y) < 0.46 * side
    images = []
    for _ in range(count):
        layers = [ndimage.gaussian_filter(random.normal(size=body.shape), s) for s in (2, 4, 8)]
        texture = sum(layer / layer.std() for layer in layers)
        grey = 128 + 40 * texture
        images.append(np.where(body, np.clip(grey, 20, 255), 0).astype(np.uint8))
    return Stack(
        subject=f"texture{seed}",
        z_mm=5.0 * np.arange(count),
        image_zyx=np.stack(images),
        body_zyx=np.repeat(body[None], count, axis=0),
    )


def matches_of(method, errors_by_pair, kind="elastic"):
    """Matches on slices at heights 0, 5, ...; a pair without errors has no match."""
    rows = []
    for pair, errors_mm in enumerate(errors_by_pair):
        for error_mm in errors_mm or [np.nan]:
            rows.append(
                {"subject": "texture0", "z_mm": 5.0 * pair, "transformation": kind,
                 "method": method, "x1_px": 20.0, "y1_px": 30.0, "x2_px": 22.0, "y2_px": 30.0,
                 "error_mm": error_mm}
            )  # fmt: skip
    return pd.DataFrame(rows)
