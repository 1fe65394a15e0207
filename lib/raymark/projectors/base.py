"""The contract of a projector: volumes of density and a camera in, line integrals out."""

from typing import Protocol

import numpy as np

from raymark.geometry.camera import Camera


class Projector(Protocol):
    """What the `Projector` of every module here offers.

    `density_mxyz` is float32 (material, x, y, z), any unit u; `voxel_to_world` (4, 4) maps voxel
    indices (centres at integers) to world mm and may be oblique or anisotropic. Outside the grid the
    density is zero, and what lies behind the source is not seen.

    `side_by_side` tells whether several threads may call `project` at once; the others have threads,
    or a device, of their own. `interpolates` tells whether the density changes gradually from voxel
    to voxel; where each voxel is constant, images jump where rays run along voxels' faces, and the
    tests allow more.
    """

    side_by_side: bool
    interpolates: bool

    def __init__(self, density_mxyz: np.ndarray, voxel_to_world: np.ndarray): ...

    def project(self, camera: Camera) -> np.ndarray:
        """Return line integrals (material, row, column), float32, in u·mm.

        Raises InputError for a camera that this projector cannot serve.
        """
        ...
