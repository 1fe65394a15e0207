"""The pose-estimation loss against independent projections, finite differences and unrolling."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from raymark.core.seeds import generator
from raymark.geometry.camera import Detector, carm_camera, project
from raymark.methods._minimise import adam, free_coordinates, lbfgs
from raymark.methods._pose_loss import (
    MM_PER_UNIT,
    PoseSettings,
    Scene,
    initial_errors,
    initial_scene,
    pose_estimation_loss,
    registered,
    rotation_matrix,
)
from raymark.methods.base import Batch

SETTINGS = PoseSettings()


def views(count=4, landmarks=8, seed=0) -> Batch:
    """Landmarks about 60 mm around the isocentre, seen from all over the sphere, some mirrored."""
    random = np.random.default_rng(seed)
    cameras, world, seen = [], [], []
    for view in range(count):
        camera = carm_camera(
            Detector(128, 160, 2.4),
            primary_deg=random.uniform(-60, 60),
            secondary_deg=random.uniform(-45, 45),
            isocentre_world_mm=random.normal(0, 20, 3),
            source_to_isocentre_mm=750,
            source_to_detector_mm=1200,
            flip=view % 2 == 1,
        )
        cameras.append(camera)
        world.append(random.normal(0, 60, (landmarks, 3)))
        seen.append(camera.project(world[-1]))
    return Batch(
        image=torch.zeros(count, 1, 128, 160),
        landmarks=torch.tensor(np.array(seen)),
        visible=torch.ones(count, landmarks, dtype=torch.bool),
        K=torch.tensor(np.array([camera.K for camera in cameras])),
        world_to_camera=torch.tensor(np.array([camera.world_to_camera for camera in cameras])),
        landmarks_world=torch.tensor(np.array(world)),
    )


def part_of(batch: Batch, chosen) -> Batch:
    """Return some views of a batch."""
    tensors = {name: value[chosen] for name, value in vars(batch).items() if value is not None}
    return replace(batch, **tensors)


def disturbed(batch: Batch, deviation_px=3.0) -> torch.Tensor:
    noise = np.random.default_rng(9).normal(0, deviation_px, batch.landmarks.shape)
    return batch.landmarks + torch.tensor(noise)


def scene_of(batch: Batch, settings=SETTINGS) -> Scene:
    return initial_scene(batch, batch.visible, settings)


def some_poses(count=4) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(1).normal(0, 0.3, (count, 6)))


def skew(vector: torch.Tensor) -> torch.Tensor:
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))


def plain_projection(scene: Scene, pose: torch.Tensor) -> torch.Tensor:
    """The projection once more: exponential map, homogeneous coordinates, no Jacobians."""
    turned = scene.points_mm @ torch.matrix_exp(skew(pose[:, :3])).mT
    camera = turned + scene.centre_mm + MM_PER_UNIT * pose[:, None, 3:]
    image = camera @ scene.K.mT
    return image[..., :2] / image[..., 2:]


def plain_cost(scene: Scene, pose: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    squares = (plain_projection(scene, pose) - target).square().sum(-1)
    return (scene.weight * squares).sum(-1)


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert expected.norm() > 0
    return ((found - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-6, 1e-4, 0.1, 2.0, 3.1])
def test_rotations_are_the_exponential_of_their_vectors(angle):
    axis = torch.tensor([[2.0, -1.0, 2.0]], dtype=torch.float64) / 3
    vector = angle * axis
    rotation, left = rotation_matrix(vector)
    assert torch.allclose(rotation, torch.matrix_exp(skew(vector)), atol=1e-14)
    point = torch.tensor([3.0, -1.0, 2.0], dtype=torch.float64)
    for direction in torch.eye(3, dtype=torch.float64):
        step = 1e-6 * direction
        plus, minus = (torch.matrix_exp(skew(vector + s))[0] @ point for s in (step, -step))
        turning = torch.linalg.cross(left[0] @ direction, rotation[0] @ point)
        assert torch.allclose(turning, (plus - minus) / 2e-6, atol=1e-8)


def test_a_pose_projects_as_its_camera_in_the_one_geometry():
    batch, poses = views(), some_poses()
    scene = scene_of(batch, PoseSettings(initial_rotation_deg=0, initial_translation_mm=0))
    image, _ = scene.project(poses)
    for view in range(4):
        rotation = torch.matrix_exp(skew(poses[view, :3])).numpy()
        centre = scene.centre_mm[view, 0].numpy()
        motion = np.eye(4)
        motion[:3, :3] = rotation
        motion[:3, 3] = centre - rotation @ centre + MM_PER_UNIT * poses[view, 3:].numpy()
        to_camera = motion @ batch.world_to_camera[view].numpy()
        expected = project(batch.K[view].numpy(), to_camera, batch.landmarks_world[view].numpy())
        assert image[view].numpy() == pytest.approx(expected, abs=1e-8)


def test_the_true_pose_is_minus_the_initial_error():
    batch = views()
    error = initial_errors(batch, SETTINGS)
    image, _ = scene_of(batch).project(-error)
    assert torch.allclose(image, batch.landmarks, atol=1e-8)
    start, _ = scene_of(batch).project(torch.zeros_like(error))
    assert (start - batch.landmarks).norm(dim=-1).mean() > 10


def test_derivatives_are_those_of_the_plain_projection():
    batch, poses = views(), some_poses()
    scene, target = scene_of(batch), disturbed(batch)
    image, jacobian = scene.project(poses)
    assert torch.allclose(image, plain_projection(scene, poses), atol=1e-9)
    full = torch.autograd.functional.jacobian(lambda p: plain_projection(scene, p), poses)
    expected = torch.stack([full[view, :, :, view] for view in range(4)])
    assert relative_error(jacobian, expected) < 1e-10
    cost, gradient = scene.cost(poses, target)
    assert torch.allclose(cost, plain_cost(scene, poses, target))

    def total(p):
        return plain_cost(scene, p, target).sum()

    assert relative_error(gradient, torch.autograd.functional.jacobian(total, poses)) < 1e-10
    full = torch.autograd.functional.hessian(total, poses)
    expected = torch.stack([full[view, :, view] for view in range(4)])
    assert relative_error(scene.hessian(poses, target), expected) < 1e-9


def test_points_behind_the_source_stay_finite():
    scene = scene_of(views())
    behind = torch.zeros(4, 6, dtype=torch.float64)
    behind[:, 5] = -2000 / MM_PER_UNIT
    image, jacobian = scene.project(behind)
    assert image.isfinite().all()
    camera = scene.points_mm + scene.centre_mm + MM_PER_UNIT * behind[:, None, 3:]
    assert torch.allclose(image, camera @ scene.K[:, :2].mT)  # at a depth of 1 mm
    assert torch.allclose(jacobian[..., 5], MM_PER_UNIT * scene.K[:, None, :2, 2])


def quadratic(matrix, centre):
    def evaluate(x):
        slope = ((x - centre)[:, None] @ matrix)[:, 0]
        return 0.5 * ((x - centre) * slope).sum(-1), slope

    return evaluate


def test_minimisers_meet_the_conditions_of_a_bounded_optimum():
    random = np.random.default_rng(3)
    root = torch.tensor(random.normal(size=(20, 5, 5)))
    matrix = root @ root.mT + 0.3 * torch.eye(5)
    evaluate = quadratic(matrix, torch.tensor(random.normal(0, 1, (20, 5))))
    limit = torch.full((5,), 0.8, dtype=torch.float64)
    start = torch.zeros(20, 5, dtype=torch.float64)
    x = lbfgs(evaluate, start, limit, 1000, 1e-10)
    assert (x.abs() <= limit).all()
    _, gradient = evaluate(x)
    free = free_coordinates(x, gradient, limit)
    assert (gradient * free).abs().max() < 1e-6
    assert 0.05 < (~free).double().mean() < 0.8
    by_adam = adam(evaluate, start, limit, 1000)
    assert (by_adam.abs() <= limit).all()
    assert torch.allclose(by_adam, x, atol=0.02)


def test_lbfgs_finds_the_end_of_the_curved_valley_within_100_iterations():
    calls = []

    def rosenbrock(x):
        calls.append(len(x))
        a, b = x.unbind(-1)
        slope = torch.stack([-2 * (1 - a) - 40 * a * (b - a**2), 20 * (b - a**2)], -1)
        return (1 - a) ** 2 + 10 * (b - a**2) ** 2, slope

    start = torch.tensor([[-1.2, 1.0], [0.0, 0.0], [1.5, -1.0], [1.0, 1.0]]).double()
    limit = torch.tensor([2.0, 2.0]).double()
    x = lbfgs(rosenbrock, start, limit, 100, 1e-9)
    assert torch.allclose(x, torch.ones_like(x), atol=1e-8)
    assert len(calls) <= 100
    alone = torch.cat([lbfgs(rosenbrock, row[None], limit, 100, 1e-9) for row in start])
    assert torch.allclose(x, alone, atol=1e-8)


@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
def test_exact_points_give_the_true_pose(solver):
    batch = views(16)
    settings = PoseSettings(solver=solver)
    fit = registered(scene_of(batch, settings), batch.landmarks, settings)
    assert fit.solved.all()
    assert torch.allclose(fit.pose, -initial_errors(batch, settings), atol=1e-7)
    assert pose_estimation_loss(batch.landmarks, batch, settings) < 1e-5


def test_the_solution_does_not_depend_on_the_other_images():
    batch = views(6)
    target = disturbed(batch)
    together = registered(scene_of(batch), target, SETTINGS).pose
    for view in range(6):
        one = part_of(batch, slice(view, view + 1))
        alone = registered(scene_of(one), target[view : view + 1], SETTINGS).pose
        assert torch.allclose(alone[0], together[view], atol=1e-8)


def finite_differences(function, points, step=1e-3):
    gradient = torch.zeros_like(points)
    for index in np.ndindex(*points.shape):
        shift = torch.zeros_like(points)
        shift[index] = step
        gradient[index] = (function(points + shift) - function(points - shift)) / (2 * step)
    return gradient


def test_the_gradient_is_that_of_finite_differences():
    batch = views(2, landmarks=6)
    points = disturbed(batch).requires_grad_()
    loss = pose_estimation_loss(points, batch, SETTINGS)
    (found,) = torch.autograd.grad(loss, points)
    assert registered(scene_of(batch), points, SETTINGS).solved.all()
    with torch.no_grad():
        expected = finite_differences(
            lambda p: pose_estimation_loss(p, batch, SETTINGS), points.detach()
        )
    for view in range(2):
        assert relative_error(found[view], expected[view]) < 1e-4


def test_the_gradient_is_that_of_unrolled_descent():
    batch = views(3)
    scene, target = scene_of(batch), disturbed(batch).requires_grad_()
    fit = registered(scene, target, SETTINGS)
    # Gradient descent on the plain cost, in coordinates where it converges fast.
    hessian = scene.hessian(fit.pose, target)
    preconditioner = torch.linalg.inv(hessian + 0.05 * torch.diag_embed(hessian.diagonal(0, 1, 2)))
    pose = (fit.pose.detach() + 0.02).requires_grad_()
    for _ in range(150):
        cost = plain_cost(scene, pose, target).sum()
        (gradient,) = torch.autograd.grad(cost, pose, create_graph=True)
        pose = pose - (preconditioner @ gradient[..., None])[..., 0]
    assert torch.allclose(pose, fit.pose, atol=1e-7)
    weight = torch.tensor(np.random.default_rng(2).normal(size=(3, 6)))
    (unrolled,) = torch.autograd.grad((weight * pose).sum(), target)
    (implicit,) = torch.autograd.grad((weight * fit.pose).sum(), target)
    assert relative_error(implicit, unrolled) < 1e-4


def test_a_coordinate_on_its_bound_is_held_there():
    batch = views(2, landmarks=6)
    settings = PoseSettings(bound_rotation_deg=15, bound_translation_mm=30)
    target = (disturbed(batch) + torch.tensor([40.0, 0.0])).requires_grad_()
    scene = scene_of(batch, settings)
    fit = registered(scene, target, settings)
    limit = settings.bounds(target.device)
    assert (fit.pose.abs() <= limit).all()
    held = fit.pose.abs() == limit
    assert held.any(1).all()
    assert not held.all()
    (found,) = torch.autograd.grad(fit.pose[held].sum(), target, retain_graph=True)
    assert (found == 0).all()
    weight = torch.tensor(np.random.default_rng(2).normal(size=(2, 6)))
    (found,) = torch.autograd.grad((weight * fit.pose).sum(), target)
    with torch.no_grad():
        expected = finite_differences(
            lambda t: (weight * registered(scene, t, settings).pose).sum(), target.detach()
        )
    assert relative_error(found, expected) < 1e-4


def test_unseen_landmarks_do_not_count():
    batch = views(3)
    batch.visible[:, 5] = False
    points = disturbed(batch).requires_grad_()
    loss = pose_estimation_loss(points, batch, SETTINGS)
    loss.backward()
    assert (points.grad[:, 5] == 0).all()
    assert (points.grad[:, 4] != 0).all()
    elsewhere = points.detach().clone()
    elsewhere[:, 5] += 500
    batch.landmarks[:, 5] = math.nan
    again = pose_estimation_loss(elsewhere, batch, SETTINGS)
    assert again.item() == pytest.approx(loss.item(), rel=1e-9)


def test_an_image_with_three_landmarks_is_left_out():
    batch = views(2)
    batch.visible[1, 3:] = False
    points = disturbed(batch).requires_grad_()
    loss = pose_estimation_loss(points, batch, SETTINGS)
    loss.backward()
    assert (points.grad[1] == 0).all()
    first = part_of(batch, slice(1))
    alone = pose_estimation_loss(points[:1], first, SETTINGS)
    assert loss.item() == pytest.approx(alone.item() / 2)
    batch.visible[:] = False
    assert pose_estimation_loss(points, batch, SETTINGS) == 0


def test_a_pose_that_does_not_follow_from_the_points_sends_no_gradient():
    batch = views(2)
    along = torch.linspace(-60, 60, 8, dtype=torch.float64)[:, None]
    batch.landmarks_world[1] = along * torch.tensor([1.0, 2.0, -1.0]) / math.sqrt(6)  # a line
    seen = project(*(v[1].numpy() for v in (batch.K, batch.world_to_camera, batch.landmarks_world)))
    batch.landmarks[1] = torch.tensor(seen)
    points = batch.landmarks.clone().requires_grad_()
    assert registered(scene_of(batch), points, SETTINGS).solved.tolist() == [True, False]
    points = disturbed(batch).requires_grad_()
    loss = pose_estimation_loss(points, batch, SETTINGS)
    loss.backward()
    assert loss.isfinite()
    assert points.grad.isfinite().all()


def test_points_that_are_not_finite_give_a_loss_that_is_not():
    batch = views(2)
    points = disturbed(batch)
    points[0, 0, 0] = math.nan
    assert pose_estimation_loss(points, batch, SETTINGS).isnan()


def test_all_points_in_one_place_give_finite_gradients():
    batch = views(4)
    points = torch.full_like(batch.landmarks, 60.0).requires_grad_()
    loss = pose_estimation_loss(points, batch, SETTINGS)
    loss.backward()
    assert loss.isfinite()
    assert points.grad.isfinite().all()


def test_initial_errors_belong_to_the_view():
    batch = views(5)
    torch.manual_seed(3)
    errors = initial_errors(batch, SETTINGS)
    order = [3, 1, 4]
    some = part_of(batch, order)
    assert torch.equal(initial_errors(some, SETTINGS), errors[order])
    moved = replace(batch, K=batch.K * 2, landmarks=batch.landmarks + 1)
    assert torch.equal(initial_errors(moved, SETTINGS), errors)
    pose, points = batch.world_to_camera[0].numpy(), batch.landmarks_world[0].numpy()
    random = generator("initial pose", pose.tobytes().hex(), points.tobytes().hex())
    limits = [math.radians(15)] * 3 + [0.3] * 3
    assert errors[0].tolist() == pytest.approx(random.uniform(-1, 1, 6) * limits)
    many = initial_errors(views(200), SETTINGS) / torch.tensor(limits, dtype=torch.float64)
    assert many.abs().max() <= 1 + 1e-12
    assert many.std(0).tolist() == pytest.approx([1 / math.sqrt(3)] * 6, rel=0.2)


def test_the_truth_must_lie_within_the_bounds():
    with pytest.raises(ValueError, match="bound_rotation_deg must not be below"):
        PoseSettings(initial_rotation_deg=30, bound_rotation_deg=20)
    with pytest.raises(ValueError, match="bound_translation_mm must not be below"):
        PoseSettings(initial_translation_mm=30, bound_translation_mm=20)
