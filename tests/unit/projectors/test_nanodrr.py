"""nanodrr's adapter: the parts in which it renders an image do not show."""

import numpy as np

from raymark.projectors import nanodrr
from tests.unit.projectors.examples import COARSE_GRIDS, COARSE_VIEWS, coarse_camera, smooth_volume


def test_chunks_change_nothing(monkeypatch):
    projector = nanodrr.NanoDRR(smooth_volume(), COARSE_GRIDS["PSR-oblique"])
    whole = projector.project(coarse_camera(COARSE_VIEWS[3]))
    monkeypatch.setattr(nanodrr, "CPU_SAMPLES_AT_ONCE", 20000)
    part = projector.project(coarse_camera(COARSE_VIEWS[3]))
    np.testing.assert_allclose(part, whole, rtol=1e-5, atol=1e-4)
