"""diffdrr's Siddon projector: the reference others compare with.

diffdrr's camera is ours turned by 180° about the central ray (x left, y up), and its detector is
laid out from its own centre, so the principal point becomes a shift in mm. Its recentring of the
volume and its scaling of densities to 0–1 are left out. Siddon's line runs on behind the source,
hence volumes that reach there are refused.
"""

import math

import numpy as np
import torch
from diffdrr.drr import DRR
from diffdrr.pose import RigidTransform
from torchio import ScalarImage, Subject

from raymark.core.errors import InputError
from raymark.geometry.camera import Camera
from raymark.projectors._box import depth_range_mm

SOURCE_TO_DETECTOR_MM = 1000.0  # any: only its ratio to the pixel size matters
PLANES_AT_ONCE = 2**20
HALF_TURN = np.diag([-1.0, -1.0, 1.0, 1.0])


class DiffDRR:
    """Project `density_mxyz` with diffdrr's Siddon; see `raymark.projectors.base` for the contract."""

    side_by_side = False
    interpolates = False

    def __init__(self, density_mxyz: np.ndarray, voxel_to_world: np.ndarray, device: str = "cpu"):
        self.device = device
        self._voxel_to_world = voxel_to_world
        self._densities = torch.as_tensor(density_mxyz, dtype=torch.float32, device=device)
        image = ScalarImage(tensor=torch.zeros(1, *density_mxyz.shape[1:]), affine=voxel_to_world)
        self._subject = Subject(
            volume=image, density=image, mask=None, reorient=torch.eye(4), fiducials=None
        )

    def project(self, camera: Camera) -> np.ndarray:
        """Return line integrals (material, row, column), float32, in density units times mm.

        Raises InputError if the volume reaches behind the source or `camera.K` is skewed.
        """
        self._check(camera)
        drr = self._drr(camera)
        camera_to_world = np.linalg.inv(camera.world_to_camera) @ HALF_TURN
        pose = RigidTransform(self._tensor(camera_to_world))
        with torch.no_grad():
            source, target = drr.detector(pose, None)
            images = [drr.render(density, source, target) for density in self._densities]
        return torch.cat(images)[:, 0].reshape(-1, *camera.shape_yx).cpu().numpy()

    def _check(self, camera: Camera) -> None:
        shape_xyz = self._densities.shape[1:]
        nearest_mm, _ = depth_range_mm(shape_xyz, self._voxel_to_world, camera)
        if nearest_mm <= 0:
            raise InputError(
                "projector diffdrr",
                f"the volume reaches {-nearest_mm:.0f} mm behind the X-ray source",
                "Move the source away from the patient or use another projector",
            )
        if camera.K[0, 1] != 0:
            raise InputError(
                "projector diffdrr", "K has a skew", "Use a K with K[0, 1] = 0 or another projector"
            )

    def _drr(self, camera: Camera) -> DRR:
        """Build diffdrr's renderer with the detector of `camera`."""
        height, width = camera.shape_yx
        (focal_x, _, centre_x), (_, focal_y, centre_y), _ = camera.K.tolist()
        pixel_x_mm = SOURCE_TO_DETECTOR_MM / abs(focal_x)
        pixel_y_mm = SOURCE_TO_DETECTOR_MM / focal_y
        to_the_left_mm = math.copysign(1, focal_x) * (centre_x - (width - 1) / 2) * pixel_x_mm
        rays_at_once = max(1, PLANES_AT_ONCE // (sum(self._densities.shape[1:]) + 3))
        return DRR(
            self._subject,
            sdd=SOURCE_TO_DETECTOR_MM,
            height=height,
            width=width,
            delx=pixel_x_mm,
            dely=pixel_y_mm,
            x0=to_the_left_mm,
            y0=(centre_y - (height - 1) / 2) * pixel_y_mm,
            reverse_x_axis=bool(focal_x > 0),
            patch_size=max(1, math.isqrt(min(rays_at_once, height * width))),
        ).to(self.device)

    def _tensor(self, matrix: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(matrix, dtype=torch.float32, device=self.device)


Projector = DiffDRR
