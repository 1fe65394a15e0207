"""The pose-estimation loss (registration-loss paper, sections 2.2 to 2.4).

The network's 2D landmarks are registered to the known 3D landmarks: the rigid pose is sought whose
projections lie nearest to them. The loss is the distance from those projections to the true 2D
landmarks, and its gradient reaches the network through the optimum (docs/pose-loss.md).

A pose (b, 6) is three components of a rotation vector in rad and three of a translation in units of
`MM_PER_UNIT`, in the camera frame of an initial pose: it turns the landmarks about their centroid
and shifts them. Everything is float64 and batched over images.
"""

import math
from dataclasses import dataclass
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from raymark.core.sections import Section
from raymark.core.seeds import generator
from raymark.methods._minimise import adam, free_coordinates, lbfgs
from raymark.methods.base import Batch

MM_PER_UNIT = 100.0  # so that one unit and one radian move the points of a pelvis about alike
LEAST_DEPTH_MM = 1.0
NEAR = 1e-3  # largest gradient at which L-BFGS hands over to Newton's method
CONVERGED = 1e-9  # largest gradient of an optimum; curvatures are about 1
LEAST_CURVATURE = 1e-6  # below it, a pose does not follow from the points
NEWTON_STEPS = 20


class PoseSettings(Section):
    """How the pose is estimated whose projected landmarks the loss compares (docs/pose-loss.md)."""

    temperature: float = Field(
        1.0,
        gt=0,
        description="of the soft-argmax that reads the points off, in units of the logits",
    )
    solver: Literal["lbfgs", "adam"] = Field(
        "lbfgs", description="what minimises the landmarks' distances in the image"
    )
    iterations: int = Field(100, gt=0, description="how often it evaluates them, at most")
    initial_rotation_deg: float = Field(
        15.0, ge=0, lt=180, description="largest error of the initial pose about each axis"
    )
    initial_translation_mm: float = Field(
        30.0, ge=0, description="largest error of the initial pose along each axis"
    )
    bound_rotation_deg: float = Field(
        60.0, gt=0, lt=180, description="largest rotation from the initial pose about each axis"
    )
    bound_translation_mm: float = Field(
        200.0, gt=0, description="largest translation from the initial pose along each axis"
    )
    least_landmarks: int = Field(
        4, ge=3, description="an image with fewer visible landmarks is left out"
    )

    @model_validator(mode="after")
    def _truth_is_within_the_bounds(self) -> Self:
        if self.bound_rotation_deg < self.initial_rotation_deg:
            raise ValueError("bound_rotation_deg must not be below initial_rotation_deg")
        if self.bound_translation_mm < self.initial_translation_mm:
            raise ValueError("bound_translation_mm must not be below initial_translation_mm")
        return self

    def bounds(self, device: torch.device) -> Tensor:
        """Return the largest absolute value of each coordinate of a pose, (6,)."""
        return _coordinates(self.bound_rotation_deg, self.bound_translation_mm, device)


@dataclass(frozen=True)
class Scene:
    """Landmarks before a camera at the initial pose, one set per image.

    `points_mm` (b, l, 3) are relative to their centroid `centre_mm` (b, 1, 3), both along the axes
    of the initial camera; `K` (b, 3, 3) is in px; a landmark of no `weight` (b, l) does not count.
    """

    points_mm: Tensor
    centre_mm: Tensor
    K: Tensor
    weight: Tensor

    def project(self, pose: Tensor) -> tuple[Tensor, Tensor]:
        """Return the image points (..., b, l, 2) px of poses (..., b, 6), and their Jacobian (…, 6).

        Eq. 7 and 8 in the geometry of `raymark.geometry.camera`; depths below `LEAST_DEPTH_MM` count as it.
        """
        rotation, left = rotation_matrix(pose[..., :3])
        turned = self.points_mm @ rotation.mT
        camera = turned + self.centre_mm + MM_PER_UNIT * pose[..., None, 3:]
        depth = camera[..., 2:].clamp_min(LEAST_DEPTH_MM)
        image = camera @ self.K[:, :2].mT / depth
        along_z = camera.new_tensor([0.0, 0.0, 1.0]) * (camera[..., 2:] > LEAST_DEPTH_MM)
        by_camera = self.K[:, None, :2] - image[..., None] * along_z[..., None, :]
        by_camera = by_camera / depth[..., None]
        turning = torch.linalg.cross(left.mT[..., None, :, :], turned[..., None, :])
        return image, torch.cat([by_camera @ turning.mT, MM_PER_UNIT * by_camera], dim=-1)

    def cost(self, pose: Tensor, target_px: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weighted squared distances to `target_px` (b, l, 2), (..., b): eq. 4, and their
        gradient (..., b, 6)."""
        image, jacobian = self.project(pose)
        residual = image - target_px
        weighted = self.weight[..., None] * residual
        gradient = 2 * (weighted[..., None] * jacobian).sum((-3, -2))
        return (weighted * residual).sum((-2, -1)), gradient

    def hessian(self, pose: Tensor, target_px: Tensor) -> Tensor:
        """Return the cost's exact second derivatives (b, 6, 6)."""
        with torch.enable_grad():
            copies = pose.detach().expand(6, *pose.shape).clone().requires_grad_()
            _, gradient = self.cost(copies, target_px.detach())
            # Copy i is asked for row i: all rows in one backward pass.
            rows = torch.autograd.grad(gradient.diagonal(dim1=0, dim2=-1).sum(), copies)[0]
        return rows.movedim(0, 1)


@dataclass(frozen=True)
class Fit:
    """The best poses (b, 6), as functions of the target, and which images (b,) have a unique one.

    A pose that is not `solved` (too little curvature, or no optimum found) has no gradient.
    """

    pose: Tensor
    solved: Tensor


def pose_estimation_loss(points_px: Tensor, batch: Batch, settings: PoseSettings) -> Tensor:
    """Return the mean distance in px from landmarks projected at the estimated pose to true ones.

    `points_px` (b, l, 2) are the network's landmarks. The published text lost its equation 10; it
    says that the loss "directly penalizes the Euclidean distance error" between landmarks after the
    registration of eq. 4, which is read as the mean over visible landmarks and images of
    ``|project(estimated pose) - truth|``. Where the pose is not unique, an image counts with its
    distance but sends no gradient; with fewer than `least_landmarks` visible it counts as zero.
    Points that are not finite give a loss that is not.
    """
    visible = batch.visible & batch.landmarks.isfinite().all(-1)
    counted = visible.sum(-1) >= settings.least_landmarks
    sound = points_px.isfinite().all(-1).all(-1)
    target = torch.where(sound[:, None, None], points_px, 0.0).double()
    scene = initial_scene(batch, visible, settings)
    fit = registered(scene, target, settings)
    truth = torch.where(visible[..., None], batch.landmarks, 0.0).double()
    squares = (scene.project(fit.pose)[0] - truth).square().sum(-1)
    distances = (squares + 1e-12).sqrt() * visible
    per_image = distances.sum(-1) / visible.sum(-1).clamp_min(1)
    per_image = torch.where(counted, per_image, 0.0)
    return torch.where(sound, per_image, math.nan).mean().to(points_px.dtype)


def initial_scene(batch: Batch, visible: Tensor, settings: PoseSettings) -> Scene:
    """Return the landmarks before each image's initial camera: the true one, displaced at random."""
    true = batch.world_to_camera.double()
    camera = batch.landmarks_world.double() @ true[:, :3, :3].mT + true[:, None, :3, 3]
    centre = camera.mean(1, keepdim=True)
    error = initial_errors(batch, settings)
    points = (camera - centre) @ rotation_matrix(error[:, :3])[0].mT
    centre = centre + MM_PER_UNIT * error[:, None, 3:]
    K = batch.K.double()
    # In units of what a shift of one unit does in the image, curvatures are about 1 everywhere.
    px_per_unit = K[:, 0, :2].norm(dim=-1) * MM_PER_UNIT / centre[:, 0, 2].clamp_min(MM_PER_UNIT)
    weight = visible / visible.sum(-1, keepdim=True).clamp_min(1) / px_per_unit.square()[:, None]
    return Scene(points, centre, K, weight)


def initial_errors(batch: Batch, settings: PoseSettings) -> Tensor:
    """Return the initial poses' errors (b, 6): uniform, and fixed by each view's true geometry alone.

    The true pose is minus the error, so it lies within the bounds.
    """
    pose, points = batch.world_to_camera.cpu().numpy(), batch.landmarks_world.cpu().numpy()
    drawn = [
        generator("initial pose", p.tobytes().hex(), x.tobytes().hex()).uniform(-1, 1, 6).tolist()
        for p, x in zip(pose, points, strict=True)
    ]
    device = batch.image.device
    limit = _coordinates(settings.initial_rotation_deg, settings.initial_translation_mm, device)
    return torch.tensor(drawn, dtype=torch.float64, device=device) * limit


def registered(scene: Scene, target_px: Tensor, settings: PoseSettings) -> Fit:
    """Return the poses whose projections lie nearest to `target_px` (b, l, 2), within the bounds.

    The minimiser's result is polished by Newton's method. At the optimum the cost's gradient g
    vanishes, so that the free coordinates follow the target as ``-H^-1 dg/dtarget``, H being the
    Hessian; those on a bound stay there.
    """
    limit = settings.bounds(target_px.device)
    target = target_px.detach()
    with torch.no_grad():

        def evaluate(pose: Tensor) -> tuple[Tensor, Tensor]:
            return scene.cost(pose, target)

        start = torch.zeros_like(target[:, 0, :1]).expand(-1, 6)
        if settings.solver == "lbfgs":
            pose = lbfgs(evaluate, start, limit, settings.iterations, NEAR)
        else:
            pose = adam(evaluate, start, limit, settings.iterations)
        pose, curvature, axes, free = _polished(scene, target, pose, limit)
        gradient = evaluate(pose)[1] * free
        solved = (gradient.abs().amax(-1) <= CONVERGED) & (curvature[:, 0] >= LEAST_CURVATURE)
        stiffness = torch.where(solved[:, None], curvature, math.inf)
        inverse = (axes / stiffness[:, None, :]) @ axes.mT * free[:, None, :] * free[:, :, None]
        jacobian = 2 * scene.weight[..., None, None] * scene.project(pose)[1]
        by_target = jacobian @ inverse[:, None]
    shift = target_px - target  # zero, but it carries the gradient
    return Fit(pose + (by_target * shift[..., None]).sum((1, 2)), solved)


def _polished(scene: Scene, target: Tensor, pose: Tensor, limit: Tensor) -> tuple[Tensor, ...]:
    """Descend to the optimum by damped Newton steps along the free coordinates.

    Return the poses, the curvatures (b, 6) in ascending order and their axes (b, 6, 6), and the free
    coordinates (b, 6). A fixed coordinate appears among the axes with a curvature of 1.
    """
    damping = torch.full_like(pose[:, :1], 1e-4)
    cost, gradient = scene.cost(pose, target)
    for remaining in reversed(range(NEWTON_STEPS)):
        free = free_coordinates(pose, gradient, limit)
        hessian = scene.hessian(pose, target) * free[:, None, :] * free[:, :, None]
        curvature, axes = torch.linalg.eigh(hessian + torch.diag_embed((~free).double()))
        if remaining == 0 or (gradient * free).abs().max() <= CONVERGED / 100:
            break
        along = ((gradient * free)[:, None] @ axes)[:, 0]
        step = ((along / (curvature.abs() + damping))[:, None] @ axes.mT)[:, 0]
        trial = (pose - step).clamp(-limit, limit)
        trial_cost, trial_gradient = scene.cost(trial, target)
        better = (trial_cost <= cost * (1 + 1e-12))[:, None]  # rounding must not stop it
        pose = torch.where(better, trial, pose)
        cost = torch.where(better[:, 0], trial_cost, cost)
        gradient = torch.where(better, trial_gradient, gradient)
        damping = torch.where(better, damping / 10, damping * 10)
    return pose, curvature, axes, free


def rotation_matrix(vector: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rotations (..., 3, 3) about rotation vectors (..., 3) in rad (Rodrigues, eq. 5 and 6).

    And the left Jacobians (..., 3, 3): a vector's change by d turns R x by ``cross(J d, R x)``.
    """
    identity = torch.eye(3, dtype=vector.dtype, device=vector.device)
    cross = torch.linalg.cross(vector[..., None, :], identity.expand(*vector.shape, 3)).mT
    twice = cross @ cross
    square = vector.square().sum(-1)[..., None, None].clamp_min(1e-12)
    angle = square.sqrt()
    sine = angle.sin() / angle
    versine = 2 * ((angle / 2).sin() / angle).square()
    rotation = identity + sine * cross + versine * twice
    return rotation, identity + versine * cross + (1 - sine) / square * twice


def _coordinates(rotation_deg: float, translation_mm: float, device: torch.device) -> Tensor:
    values = [math.radians(rotation_deg)] * 3 + [translation_mm / MM_PER_UNIT] * 3
    return torch.tensor(values, dtype=torch.float64, device=device)
