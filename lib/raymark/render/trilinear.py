"""Ray marching through the trilinearly interpolated volume, with derivatives to the camera.

The integral along a ray is the midpoint rule with a fixed step in mm over the part of the ray where
the interpolated density can differ from zero. It is the projector for pose refinement: the density
is continuous, so the image has a useful derivative with respect to pose, which Siddon's piecewise
constant volume does not offer.
"""

import numpy as np
import torch
from torch.nn.functional import grid_sample
from torch.utils.checkpoint import checkpoint

from raymark.geometry import Camera

SAMPLES_AT_ONCE = {"cpu": 2**19, "cuda": 2**25}


class Trilinear:
    """Project `density_mxyz` on any torch device; see `raymark.render` for the contract.

    `step_mm` is the distance between samples on a ray; by default half the smallest voxel spacing.
    A float64 density makes `project_tensor` work in double precision.
    """

    def __init__(
        self,
        density_mxyz: np.ndarray,
        voxel_to_world: np.ndarray,
        device: str = "cpu",
        step_mm: float | None = None,
    ):
        self.density_mxyz = torch.as_tensor(density_mxyz, device=device)
        spacing_mm = np.linalg.norm(voxel_to_world[:3, :3], axis=0)
        self.step_mm = step_mm or spacing_mm.min() / 2
        self._world_to_voxel = torch.as_tensor(
            np.linalg.inv(voxel_to_world), dtype=torch.float64, device=device
        )
        self._shape_xyz = torch.tensor(
            self.density_mxyz.shape[1:], dtype=torch.float64, device=device
        )

    def project(self, camera: Camera) -> np.ndarray:
        """Return line integrals (material, row, column), float32, in density units times mm."""
        K, world_to_camera = (
            torch.as_tensor(matrix, dtype=torch.float64, device=self.density_mxyz.device)
            for matrix in (camera.K, camera.world_to_camera)
        )
        with torch.no_grad():
            image_myx = self.project_tensor(K, world_to_camera, camera.shape_yx)
        return image_myx.float().cpu().numpy()

    def project_tensor(
        self, K: torch.Tensor, world_to_camera: torch.Tensor, shape_yx: tuple[int, int]
    ) -> torch.Tensor:
        """Return line integrals (material, row, column), differentiable in both matrices.

        `K` (3, 3) in px and `world_to_camera` (4, 4) in mm are as in `raymark.geometry`, float64
        for exact geometry. With gradients the samples are recomputed in the backward pass, so that
        memory stays as small as without.
        """
        source_voxel, ray_mm, ray_voxel = self._rays(K, world_to_camera, shape_yx)
        with torch.no_grad():
            near, depth_step, count = self._sampling(source_voxel, ray_mm, ray_voxel)
        rays_at_once = max(1, SAMPLES_AT_ONCE[self.density_mxyz.device.type] // max(count, 1))
        parts = []
        for rows in torch.arange(len(near), device=near.device).split(rays_at_once):
            arguments = (source_voxel, ray_mm[rows], ray_voxel[rows], near[rows], depth_step[rows])
            if torch.is_grad_enabled() and ray_mm.requires_grad:
                part = checkpoint(self._integrate, *arguments, count, use_reentrant=False)
            else:
                part = self._integrate(*arguments, count)
            parts.append(part)
        return torch.cat(parts, dim=1).reshape(-1, *shape_yx)

    def _rays(self, K, world_to_camera, shape_yx):
        """Return the source (3,) in voxels and each pixel's ray (n, 3) in mm and in voxels.

        A ray's vector advances one millimetre of depth, so a ray's parameter is its depth.
        """
        rows, columns = (torch.arange(size, dtype=K.dtype, device=K.device) for size in shape_yx)
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        pixels = torch.stack([x, y, torch.ones_like(x)], dim=-1).reshape(-1, 3)
        ray_mm = pixels @ torch.linalg.inv(K).T @ world_to_camera[:3, :3]
        source_mm = -world_to_camera[:3, 3] @ world_to_camera[:3, :3]
        to_voxel = self._world_to_voxel.to(K.dtype)
        return source_mm @ to_voxel[:3, :3].T + to_voxel[:3, 3], ray_mm, ray_mm @ to_voxel[:3, :3].T

    def _sampling(self, source_voxel, ray_mm, ray_voxel):
        """Return where each ray enters the grid (n,), its step (n,), both as depth, and the count.

        The interpolated density reaches one voxel beyond the outermost centres.
        """
        depth_step = self.step_mm / ray_mm.norm(dim=-1)
        tiny = torch.finfo(ray_voxel.dtype).tiny
        direction = torch.where(ray_voxel == 0, tiny, ray_voxel)
        low = (-1 - source_voxel) / direction
        high = (self._shape_xyz.to(direction) - source_voxel) / direction
        near = torch.minimum(low, high).amax(dim=-1).clamp(min=0)
        far = torch.maximum(low, high).amin(dim=-1).maximum(near)
        missed = far <= near
        count = torch.where(missed, 0, (far - near) / depth_step).max().ceil()
        return torch.where(missed, 0, near), depth_step, int(count)

    def _integrate(self, source_voxel, ray_mm, ray_voxel, near, depth_step, count):
        """Integrate the rays (n, 3) from depth `near` with `count` steps: (material, n)."""
        steps = torch.arange(count, dtype=near.dtype, device=near.device) + 0.5
        depth = near[:, None] + steps * depth_step[:, None]
        position = source_voxel + depth[..., None] * ray_voxel[:, None]
        grid = ((2 * position + 1) / self._shape_xyz.to(position) - 1).flip(-1)
        samples = grid_sample(
            self.density_mxyz[None],
            grid[None, None].to(self.density_mxyz.dtype),
            mode="bilinear",
            padding_mode="zeros",
            align_corners=False,
        )[0, :, 0]
        return samples.sum(dim=-1) * (ray_mm.norm(dim=-1) * depth_step).to(samples.dtype)
