"""A small folder of annotated images, and the settings that import it."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from raymark.config.imports import Import2d
from raymark.datasets.imported import read_imported
from raymark.datasets.shards import Shards

ROOT = Path(__file__).parents[3]
NAMES = ["left_blob", "right_blob", "tip"]


def blobs(points_px, shape_yx, width_px=3.0) -> np.ndarray:
    """An 8-bit image with a bright Gaussian blob at every point (x, y)."""
    y, x = np.mgrid[: shape_yx[0], : shape_yx[1]]
    away = [(x - p[0]) ** 2 + (y - p[1]) ** 2 for p in points_px]
    return np.uint8(20 + 200 * np.exp(-np.min(away, axis=0) / (2 * width_px**2)))


def write_table(path, header, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def read_rows(path):
    with open(path, encoding="utf-8") as file:
        return list(csv.reader(file))


def write_images() -> None:
    """Write twelve images of six patients, of several sizes, in a spreadsheet's layout."""
    rows = []
    rng = np.random.default_rng(0)
    Path("images/deeper").mkdir(parents=True)
    for number in range(12):
        height, width = 120 + 4 * number, 60 + 3 * number
        folder = "deeper" if number % 2 else "."
        points = rng.uniform([8, 8], [width - 9, height - 9], (3, 2)).round(2)
        Image.fromarray(blobs(points, (height, width))).save(f"images/{folder}/x{number:02d}.png")
        for name, (x, y) in zip(NAMES, points, strict=True):
            rows.append([f"x{number:02d}.png", name, x, y, f"p{number // 2}"])
    write_table("points.csv", ["image", "landmark", "x_px", "y_px", "patient"], rows)


def settings(**changes) -> Import2d:
    values = {
        "name": "made",
        "title": "Made",
        "images": "images",
        "annotations": {"layout": "csv", "file": "points.csv"},
        "height_px": 80,
        "width_px": 64,
        "scale": {"kind": "pixel", "pixel_mm": 0.2},
        "split": {"kind": "folds", "folds": 3},
        "beliefs": {"stride": 4, "sigma_px": 3},
        "images_per_shard": 3,
    }
    return Import2d.model_validate(values | changes)


def shards_of(view_set="train"):
    return Shards(read_imported("made").view_sets[view_set].shards)
