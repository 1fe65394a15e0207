"""Projectors: volumes of density and a camera in, line integrals out.

Every projector is a class with the same two calls::

    projector = Projector(density_mxyz, voxel_to_world)
    line_integrals_myx = projector.project(camera)

`density_mxyz` is float32 (material, x, y, z), any unit u; `voxel_to_world` (4, 4) maps voxel indices
(centres at integers) to world mm and may be oblique or anisotropic. The result is float32
(material, row, column) in u·mm. Outside the grid the density is zero. `side_by_side` tells whether
several threads may call `project` at once; the others have threads, or a device, of their own.
"""

from importlib import import_module
from typing import Protocol

import numpy as np

from raymark.geometry.camera import Camera

PROJECTORS = {
    "shearwarp": "raymark.projectors.shearwarp:ShearWarp",
    "joseph": "raymark.projectors.joseph:Joseph",
    "nanodrr": "raymark.projectors.nanodrr:NanoDRR",
    "diffdrr": "raymark.projectors.diffdrr:DiffDRR",
    "trilinear": "raymark.projectors.trilinear:Trilinear",
}


class Projector(Protocol):
    """What every projector offers."""

    side_by_side: bool

    def __init__(self, density_mxyz: np.ndarray, voxel_to_world: np.ndarray): ...

    def project(self, camera: Camera) -> np.ndarray: ...


def projector_class(name: str) -> type[Projector]:
    """Return the projector called `name`; its module is imported only now."""
    module, attribute = PROJECTORS[name].split(":")
    return getattr(import_module(module), attribute)
