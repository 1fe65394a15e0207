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

from raymark.geometry.camera import Camera

SAMPLES_AT_ONCE = {"cpu": 2**19, "cuda": 2**25}


class Trilinear:
    """Project `density_mxyz` on any torch device; see `raymark.projectors.base` for the contract.

    `step_mm` is the distance between samples on a ray; by default half the smallest voxel spacing.
    A float64 density makes `project_tensor` sample in double precision.
    """

    side_by_side = False
    interpolates = True

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
        shape_xyz = np.array(self.density_mxyz.shape[1:])
        self._reach = torch.as_tensor(1 + 1 / shape_xyz[::-1], device=device)
        self._world_to_grid = torch.as_tensor(
            _voxel_to_grid(shape_xyz) @ np.linalg.inv(voxel_to_world), device=device
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

        `K` (3, 3) in px and `world_to_camera` (4, 4) in mm are as in `raymark.geometry.camera`, float64
        for exact geometry. With gradients the samples are recomputed in the backward pass, so that
        memory stays small.
        """
        source, rays, length_mm = self._rays(K, world_to_camera, shape_yx)
        with torch.no_grad():
            near, step, counts = self._sampling(source, rays, length_mm)
        per_ray = (source + near[:, None] * rays, step[:, None] * rays, step * length_mm)
        samples_at_once = SAMPLES_AT_ONCE[self.density_mxyz.device.type]
        rays_at_once = max(1, samples_at_once // max(1, int(counts.max())))
        chunks = zip(*(values.split(rays_at_once) for values in (*per_ray, counts)), strict=True)
        return torch.cat([self._part(*chunk) for chunk in chunks], dim=1).reshape(-1, *shape_yx)

    def _rays(
        self, K: torch.Tensor, world_to_camera: torch.Tensor, shape_yx: tuple[int, int]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the source (3,) and each pixel's ray (n, 3) in `grid_sample`'s coordinates, and the
        ray's length (n,) in mm. A ray advances one millimetre of depth."""
        rows, columns = (torch.arange(size, dtype=K.dtype, device=K.device) for size in shape_yx)
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        pixels = torch.stack([x, y, torch.ones_like(x)], dim=-1).reshape(-1, 3)
        rotation, translation = world_to_camera[:3, :3], world_to_camera[:3, 3]
        rays_mm = pixels @ torch.linalg.inv(K).T @ rotation
        to_grid = self._world_to_grid.to(K.dtype)
        source = to_grid[:3, 3] - to_grid[:3, :3] @ rotation.T @ translation
        return source, rays_mm @ to_grid[:3, :3].T, rays_mm.norm(dim=-1)

    def _sampling(
        self, source: torch.Tensor, rays: torch.Tensor, length_mm: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the depth in mm where each ray enters the grid, its step in depth, and how many
        steps it takes to leave it, each (n,)."""
        direction = torch.where(rays == 0, torch.finfo(rays.dtype).tiny, rays)
        reach = self._reach.to(direction)
        towards_low, towards_high = (-reach - source) / direction, (reach - source) / direction
        near = torch.minimum(towards_low, towards_high).amax(dim=-1).clamp(min=0)
        far = torch.maximum(towards_low, towards_high).amin(dim=-1)
        step = self.step_mm / length_mm
        hit = far > near
        counts = torch.where(hit, (far - near) / step, 0).ceil().int()
        return torch.where(hit, near, 0), step, counts

    def _part(
        self,
        entry: torch.Tensor,
        advance: torch.Tensor,
        step_mm: torch.Tensor,
        counts: torch.Tensor,
    ) -> torch.Tensor:
        """Integrate one chunk of rays, with or without derivatives: (material, n)."""
        arguments = entry, advance, step_mm, int(counts.max())
        if torch.is_grad_enabled() and entry.requires_grad:
            return checkpoint(self._integrate, *arguments, use_reentrant=False)
        return self._integrate(*arguments)

    def _integrate(
        self, entry: torch.Tensor, advance: torch.Tensor, step_mm: torch.Tensor, count: int
    ) -> torch.Tensor:
        """Sum `count` midpoints from `entry` (n, 3) by `advance` (n, 3) a step: (material, n)."""
        dtype = self.density_mxyz.dtype
        steps = torch.arange(count, dtype=dtype, device=entry.device) + 0.5
        position = entry.to(dtype)[:, None] + steps[:, None] * advance.to(dtype)[:, None]
        samples = grid_sample(
            self.density_mxyz[None],
            position[None, None],
            mode="bilinear",
            padding_mode="zeros",
            align_corners=False,
        )[0, :, 0]
        return samples.sum(dim=-1) * step_mm.to(dtype)


def _voxel_to_grid(shape_xyz: np.ndarray) -> np.ndarray:
    """Return the matrix (4, 4) from voxels (x, y, z) to `grid_sample`'s coordinates.

    Those are −1 and 1 at the volume's outer faces and come in the order (z, y, x), because the
    array's last axis comes first. The interpolated density reaches half a voxel beyond the faces.
    """
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag(2 / shape_xyz)[::-1]
    matrix[:3, 3] = (1 / shape_xyz - 1)[::-1]
    return matrix


Projector = Trilinear
