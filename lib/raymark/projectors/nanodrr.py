"""nanodrr's ray marcher: a fused kernel on CUDA, `grid_sample` on a CPU.

The library takes any inverse K, negative focal lengths included, and any affine, so that only two
things differ from `raymark.geometry.camera`: its pixel centres lie at half integers, and rays end on the
plane at its source-to-detector distance, which therefore has to lie behind the whole volume.
"""

import numpy as np
import torch
from nanodrr.data import Subject
from nanodrr.drr import render

from raymark.geometry.camera import Camera
from raymark.projectors._box import depth_range_mm

CPU_SAMPLES_AT_ONCE = 2**21


class NanoDRR:
    """Project `density_mxyz` with nanodrr >= 0.1.7; see `raymark.projectors.base` for the contract.

    Every ray carries as many samples as fit into the volume's diagonal at a step of `step_mm`, by
    default the smallest voxel spacing. The device is CUDA where there is one.
    """

    side_by_side = False
    interpolates = True

    def __init__(
        self,
        density_mxyz: np.ndarray,
        voxel_to_world: np.ndarray,
        device: str | None = None,
        step_mm: float | None = None,
    ):
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._voxel_to_world = voxel_to_world
        self._shape_xyz = density_mxyz.shape[1:]
        self._subjects = [self._subject(density_xyz) for density_xyz in density_mxyz]
        spacing_mm = np.linalg.norm(voxel_to_world[:3, :3], axis=0)
        diagonal_mm = np.linalg.norm((np.array(self._shape_xyz) + 1) * spacing_mm)
        self._samples = max(2, int(np.ceil(diagonal_mm / (step_mm or spacing_mm.min()))))

    def _subject(self, density_xyz: np.ndarray) -> Subject:
        volume_zyx = torch.as_tensor(density_xyz, dtype=torch.float32).permute(2, 1, 0)
        volume = volume_zyx.contiguous()[None, None]
        return Subject(
            volume,
            torch.zeros(1, 1, 1, 1, 1),
            torch.as_tensor(self._voxel_to_world, dtype=torch.float32),
            torch.as_tensor(np.linalg.inv(self._voxel_to_world), dtype=torch.float32),
            Subject._make_voxel_to_grid(volume.shape),
            torch.zeros(3),
            max_label=0,
            convert_to_mu=False,
        ).to(self.device)

    def project(self, camera: Camera) -> np.ndarray:
        """Return line integrals (material, row, column), float32, in density units times mm."""
        _, farthest_mm = depth_range_mm(self._shape_xyz, self._voxel_to_world, camera)
        if farthest_mm <= 0:
            return np.zeros((len(self._subjects), *camera.shape_yx), dtype=np.float32)
        sdd = torch.tensor([farthest_mm], dtype=torch.float32, device=self.device)
        camera_to_world = self._batch(np.linalg.inv(camera.world_to_camera))
        rows_at_once = camera.height_px
        if self.device == "cpu":
            rows_at_once = max(1, CPU_SAMPLES_AT_ONCE // (camera.width_px * self._samples))
        image_myx = np.empty((len(self._subjects), *camera.shape_yx), dtype=np.float32)
        with torch.no_grad():
            for first in range(0, camera.height_px, rows_at_once):
                rows = min(rows_at_once, camera.height_px - first)
                size = rows, camera.width_px
                k_inv = self._k_inv(camera.K, first)
                for material, subject in enumerate(self._subjects):
                    part = render(subject, k_inv, camera_to_world, sdd, *size, self._samples)
                    image_myx[material, first : first + rows] = part[0, 0].cpu().numpy()
        return image_myx

    def _k_inv(self, K: np.ndarray, first_row: int) -> torch.Tensor:
        """Return nanodrr's inverse K for the image that starts at `first_row`."""
        to_its_pixels = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5 - first_row], [0.0, 0.0, 1.0]])
        return self._batch(np.linalg.inv(to_its_pixels @ K))

    def _batch(self, matrix: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(matrix, dtype=torch.float32, device=self.device)[None]


Projector = NanoDRR
