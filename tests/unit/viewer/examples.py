"""A block of soft tissue with a bead of metal at each landmark: where they lie is known."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np

from raymark.config.dataset import Physics, ViewSet
from raymark.ct import Volume
from raymark.viewer.about import start_of
from raymark.viewer.frames import Asked
from raymark.viewer.gather import own_dataset
from raymark.viewer.server import Viewer
from raymark.viewer.shown import Shown

SPACING_MM = np.array([2.0, 2.0, 3.0])
SHAPE = np.array([60, 50, 44])
VOXELS = {"left_hip": (12, 30, 12), "right_hip": (47, 24, 17), "promontory": (30, 12, 33)}
HU_OF_BEADS = 3071
MONO = Physics(spectrum="mono", energy_kev=60.0)  # a spectrum takes seconds to look up


def affine() -> np.ndarray:
    matrix = np.diag([*SPACING_MM, 1.0])
    matrix[:3, 3] = [-70.0, 25.0, -300.0]
    return matrix


def beads(voxels: Iterable[tuple[int, ...]] = VOXELS.values()) -> Volume:
    hu_xyz = np.full(SHAPE, -1000, np.int16)
    hu_xyz[4:-4, 4:-4, 4:-4] = 0
    hu_xyz[4:-4, 20:26, 4:7] = (
        HU_OF_BEADS  # a rod at the feet, brighter: beads are not the window's end
    )
    for voxel in voxels:
        hu_xyz[voxel] = HU_OF_BEADS
    return Volume(hu_xyz, affine())


def points_mm() -> np.ndarray:
    return np.array(list(VOXELS.values())) @ affine()[:3, :3].T + affine()[:3, 3]


def shown(**more) -> Shown:
    dataset = own_dataset().model_copy(update={"view_sets": view_sets()})
    detector = dataset.detector.model_copy(
        update={"height_px": 200, "width_px": 256, "pixel_mm": 1.2}
    )
    dataset = dataset.model_copy(update={"detector": detector, "physics": MONO})
    usual = {"title": "beads", "volume": beads(), "dataset": dataset, "names": list(VOXELS),
             "points_mm": points_mm(), "planned": list(dataset.view_sets)}  # fmt: skip
    return Shown(**usual | more)


def view_sets() -> dict[str, ViewSet]:
    grid = {"kind": "grid", "primary_deg": [-30, 30], "secondary_deg": [-20, 20], "step_deg": 10}
    values = {"of": "test", "role": "evaluate", "sampling": grid}
    return {"grid": ViewSet.model_validate(values)}


def asked(of: Shown, **more) -> Asked:
    """The page's first view, or another."""
    return Asked.model_validate(start_of(of) | more)


@contextmanager
def served(of: Shown) -> Iterator[Viewer]:
    """Answer pages about it, for a while."""
    with Viewer(of) as server:
        quick = {"poll_interval": 0.05}
        thread = threading.Thread(target=server.serve_forever, kwargs=quick, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
