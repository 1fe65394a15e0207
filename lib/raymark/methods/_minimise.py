"""Minimisers of many small problems at once, within bounds: L-BFGS and Adam.

A problem is a row of `start` (b, n); `evaluate(x)` maps points (b, n) to their costs (b,) and
gradients (b, n), each row for itself. Every coordinate stays within ``±limit``. One iteration is one
call of `evaluate`; all problems share it, whatever each of them does with the result.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Evaluate = Callable[[Tensor], tuple[Tensor, Tensor]]

MEMORY = 6
SUFFICIENT_FALL = 1e-4  # share of the predicted fall that a step must keep (Armijo)
LONGEST_FIRST_STEP = 0.5
# Of a step that keeps failing, before it is given up for the steepest descent.
SHORTEST_SHARE = 1e-3


def free_coordinates(x: Tensor, gradient: Tensor, limit: Tensor) -> Tensor:
    """Tell which coordinates (b, n) may still move downhill: all but those pressed onto a bound."""
    return ~(((x <= -limit) & (gradient > 0)) | ((x >= limit) & (gradient < 0)))


def lbfgs(
    evaluate: Evaluate, start: Tensor, limit: Tensor, iterations: int, tolerance: float
) -> Tensor:
    """Return the points (b, n) reached by projected L-BFGS.

    The two-loop recursion acts on the free coordinates; a step is cut off at the bounds and must
    lower the cost enough, or its problem tries half of it at the next iteration. Ends early when
    the largest free gradient of all problems is at most `tolerance`.
    """
    x = start.clamp(-limit, limit)
    cost, gradient = evaluate(x)
    free = free_coordinates(x, gradient, limit)
    direction, length = _steepest(gradient * free), torch.ones_like(x[:, :1])
    memory = x.new_zeros(MEMORY, 2, *x.shape)  # steps, and how the gradient changed along them
    for _ in range(iterations):
        if (gradient * free).abs().max() <= tolerance:
            break
        trial = (x + length * direction).clamp(-limit, limit)
        trial_cost, trial_gradient = evaluate(trial)
        step, change = trial - x, trial_gradient - gradient
        predicted = (gradient * step).sum(-1)
        better = (predicted < 0) & (trial_cost <= cost + SUFFICIENT_FALL * predicted)
        curved = better & ((step * change).sum(-1) > 1e-10 * step.square().sum(-1))
        newer = torch.cat([memory[1:], torch.stack([step, change])[None]])
        memory = torch.where(curved[:, None], newer, memory)
        cost = torch.where(better, trial_cost, cost)
        better = better[:, None]
        x, gradient = torch.where(better, trial, x), torch.where(better, trial_gradient, gradient)
        free = free_coordinates(x, gradient, limit)
        stuck = ~better & (length < SHORTEST_SHARE)
        memory = torch.where(stuck, 0.0, memory)
        quasi_newton = free * -_inverse_hessian_times(gradient * free, memory)
        direction = torch.where(better, quasi_newton, direction)
        direction = torch.where(stuck, _steepest(gradient * free), direction)
        length = torch.where(better | stuck, 1.0, length / 2)
    return x


def adam(
    evaluate: Evaluate, start: Tensor, limit: Tensor, iterations: int, learning_rate: float = 0.05
) -> Tensor:
    """Return the points (b, n) reached by Adam (Kingma & Ba 2015), clipped to the bounds."""
    x = start.clamp(-limit, limit)
    mean, square = torch.zeros_like(x), torch.zeros_like(x)
    for number in range(1, iterations + 1):
        _, gradient = evaluate(x)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient.square()
        step = (mean / (1 - 0.9**number)) / ((square / (1 - 0.999**number)).sqrt() + 1e-12)
        x = (x - learning_rate * step).clamp(-limit, limit)
    return x


def _steepest(gradient: Tensor) -> Tensor:
    length = gradient.norm(dim=-1, keepdim=True).clamp_min(1e-300)
    return -gradient * (LONGEST_FIRST_STEP / length).clamp_max(1.0)


def _inverse_hessian_times(gradient: Tensor, memory: Tensor) -> Tensor:
    """Multiply by L-BFGS's inverse Hessian: the two-loop recursion (Nocedal & Wright, alg. 7.4).

    An empty place of `memory` (m, 2, b, n) is zero and does nothing.
    """
    steps, changes = memory.unbind(1)
    curvature = (steps * changes).sum(-1, keepdim=True)
    weight = torch.where(curvature > 0, 1 / curvature, 0.0)
    result, shares = gradient, []
    for step, change, w in zip(steps.flip(0), changes.flip(0), weight.flip(0), strict=True):
        share = w * (step * result).sum(-1, keepdim=True)
        result = result - share * change
        shares.append(share)
    size = changes[-1].square().sum(-1, keepdim=True)
    result = result * torch.where(size > 0, curvature[-1] / size, 1.0)
    for step, change, w, share in zip(steps, changes, weight, reversed(shares), strict=True):
        result = result + step * (share - w * (change * result).sum(-1, keepdim=True))
    return result
