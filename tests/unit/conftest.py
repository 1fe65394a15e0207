"""Fixtures that several test files share."""

import numpy as np
import pytest
from PIL import Image

from tests.unit.imports.examples import NAMES, blobs, write_table


@pytest.fixture
def project_folder(tmp_path, monkeypatch):
    """Twelve images of six patients, of several sizes, in a spreadsheet's layout."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    (tmp_path / "images" / "deeper").mkdir(parents=True)
    rows = []
    for number in range(12):
        height, width = 120 + 4 * number, 60 + 3 * number
        folder = "deeper" if number % 2 else "."
        points = rng.uniform([8, 8], [width - 9, height - 9], (3, 2)).round(2)
        Image.fromarray(blobs(points, (height, width))).save(f"images/{folder}/x{number:02d}.png")
        for name, (x, y) in zip(NAMES, points, strict=True):
            rows.append([f"x{number:02d}.png", name, x, y, f"p{number // 2}"])
    write_table("points.csv", ["image", "landmark", "x_px", "y_px", "patient"], rows)
    return tmp_path
