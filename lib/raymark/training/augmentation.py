"""Random changes of training images, applied on the device and exactly to the landmarks too.

What happens to a sample is drawn from its own generator, so that it depends on the seed, the epoch
and the sample alone, never on batches, workers or devices.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from raymark.config.method import Augmentation
from raymark.methods.base import Batch
from raymark.training.appearance import Look, draw_look, seen_as


@dataclass(frozen=True)
class Draw:
    """The random values of one sample.

    `matrix` (3, 3) maps image px (x, y, 1) to augmented image px; `gamma` bends the contrast;
    `noise` is a deviation in units of the image's own and `noise_seed` its field. The tool is a rod
    between two `tool_ends` (2, 2) px with its half-width in px and its height in image deviations
    (0: no tool). `flip` mirrors the image before all else. `bend` is the sideways shift of the rows at the
    end, a sine along them: its height in px, its periods in the image, its phase. `look` is drawn last.
    """

    matrix: np.ndarray
    gamma: float
    noise: float
    noise_seed: int
    tool_ends: np.ndarray
    tool_half_width: float
    tool_height: float
    flip: bool
    bend: tuple[float, float, float]
    look: Look


def draw(config: Augmentation, shape_yx: Sequence[int], random: np.random.Generator) -> Draw:
    """Draw one sample's changes; every call takes the same number of values from `random`."""
    size = np.array(shape_yx[::-1], dtype=np.float64)
    angle = np.deg2rad(config.rotation_deg) * random.uniform(-1, 1)
    scale = np.exp(random.uniform(*np.log(config.scale)))
    shift = config.shift_px * random.uniform(-1, 1, 2)
    gamma = np.exp(random.uniform(*np.log(config.contrast)))
    noise_seed = int(random.integers(2**63))
    ends = random.uniform(-0.25, 1.25, (2, 2)) * size
    half_width = random.uniform(0.01, 0.04) * size.min()
    height = random.uniform(1.5, 4.0) * random.choice([-1.0, 1.0])
    tool = random.uniform() < config.tool_probability
    return Draw(
        similarity((size - 1) / 2, angle, scale, shift),
        gamma,
        config.noise,
        noise_seed,
        ends,
        half_width,
        height if tool else 0.0,
        random.uniform() < config.flip_probability,
        (
            config.bend_px * random.uniform(-1, 1),
            random.uniform(0.5, 1.5),
            random.uniform(0, 2 * np.pi),
        ),
        draw_look(config, random),
    )


def similarity(centre: np.ndarray, angle: float, scale: float, shift: np.ndarray) -> np.ndarray:
    """Return the (3, 3) matrix that turns and scales about `centre` (x, y) px, then shifts.

    A positive angle (radians) turns x towards y.
    """
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]])
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = centre - linear @ centre + shift
    return matrix


def mirrored(batch: Batch, draws: list[Draw], partners: np.ndarray) -> Batch:
    """Mirror the images whose draw says so, left to right, and what is known about them.

    `partners` (l,) is the number of the landmark that each one becomes: in a mirrored image a left
    landmark looks like the right one, and carries its name.
    """
    chosen = [index for index, d in enumerate(draws) if d.flip]
    if not chosen:
        return batch
    last_px = batch.image.shape[-1] - 1
    matrix = torch.tensor(
        [[-1.0, 0, last_px], [0, 1, 0], [0, 0, 1]], dtype=batch.K.dtype, device=batch.K.device
    )
    image, landmarks, visible = batch.image.clone(), batch.landmarks.clone(), batch.visible.clone()
    K, world = batch.K.clone(), batch.landmarks_world.clone()
    image[chosen] = image[chosen].flip(-1)
    landmarks[chosen] = landmarks[chosen][:, partners]
    landmarks[chosen, :, 0] = last_px - landmarks[chosen, :, 0]
    visible[chosen] = visible[chosen][:, partners]
    world[chosen] = world[chosen][:, partners]
    K[chosen] = matrix @ K[chosen]
    return replace(
        batch, image=image, landmarks=landmarks, visible=visible, K=K, landmarks_world=world
    )


def augmented(batch: Batch, draws: list[Draw]) -> Batch:
    """Apply one draw per image: warp, bend, tool, look, contrast, noise.

    The landmarks follow warp and bend exactly, `K` the warp; no `K` could follow a bend. A landmark that
    leaves the image is no longer visible; one that was not visible stays so. Images must be standardised
    again afterwards.
    """
    device = batch.image.device
    matrix = torch.tensor(np.stack([d.matrix for d in draws]), device=device)
    bends = torch.tensor([d.bend for d in draws], dtype=matrix.dtype, device=device)
    image = warped(batch.image, matrix, bends)
    spread = image.std((-2, -1), keepdim=True, correction=0)
    image = image + spread * rods(draws, image.shape[-2:], device)
    image = seen_as(image, [d.look for d in draws])
    image = _bent(image, torch.tensor([d.gamma for d in draws], device=device))
    if any(d.noise for d in draws):
        image = image + spread * torch.stack([_noise(d, image.shape[1:], device) for d in draws])
    landmarks = batch.landmarks.double() @ matrix[:, :2, :2].mT + matrix[:, None, :2, 2]
    landmarks[..., 0] += sideways(landmarks[..., 1], bends, image.shape[-2])
    limits = torch.tensor([image.shape[-1] - 0.5, image.shape[-2] - 0.5], device=device)
    inside = ((landmarks >= -0.5) & (landmarks <= limits)).all(-1)
    return replace(
        batch,
        image=image,
        landmarks=landmarks.to(batch.landmarks.dtype),
        visible=batch.visible & inside,
        K=matrix @ batch.K,
    )


def sideways(y_px: Tensor, bends: Tensor, height_px: int) -> Tensor:
    """Return how far to the right the rows at `y_px` (b, n) are shifted, in px, by bends (b, 3)."""
    size, periods, phase = bends.unsqueeze(1).unbind(-1)
    return size * torch.sin(2 * torch.pi * periods * y_px / height_px + phase)


def warped(image: Tensor, matrix: Tensor, bends: Tensor) -> Tensor:
    """Move the content of images (b, 1, y, x) by matrices (b, 3, 3) in px, then its rows by bends (b, 3).

    Borders are repeated.
    """
    height, width = image.shape[-2:]
    x = torch.arange(width, dtype=matrix.dtype, device=image.device)
    y = torch.arange(height, dtype=matrix.dtype, device=image.device)
    target = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).repeat(len(image), 1, 1, 1)
    target[..., 0] -= sideways(y.expand(len(image), -1), bends, height)[..., None]
    back = torch.linalg.inv(matrix)
    source = target @ back[:, None, :2, :2].mT + back[:, None, None, :2, 2]
    largest = torch.tensor([width - 1, height - 1], dtype=matrix.dtype, device=image.device)
    grid = (2 * source / largest - 1).to(image.dtype)
    return F.grid_sample(image, grid, padding_mode="border", align_corners=True)


def rods(draws: list[Draw], shape_yx: Sequence[int], device: torch.device) -> Tensor:
    """Draw one straight tool per image, (b, 1, y, x), in units of the image's deviation.

    A cylinder seen from the side: its chord length across the rod, fading over the last fifth
    towards both ends.
    """
    ends = torch.tensor(np.stack([d.tool_ends for d in draws]), dtype=torch.float32, device=device)
    width = torch.tensor([d.tool_half_width for d in draws], dtype=torch.float32, device=device)[
        :, None, None
    ]
    height = torch.tensor([d.tool_height for d in draws], dtype=torch.float32, device=device)[
        :, None, None
    ]
    x = torch.arange(shape_yx[1], device=device)
    y = torch.arange(shape_yx[0], device=device)[:, None]
    start_x, start_y = ends[:, 0, 0, None, None], ends[:, 0, 1, None, None]
    axis_x, axis_y = (ends[:, 1] - ends[:, 0])[:, :, None, None].unbind(1)
    length = torch.hypot(axis_x, axis_y).clamp_min(1e-6)
    along = ((x - start_x) * axis_x + (y - start_y) * axis_y) / length**2
    across = ((x - start_x) * axis_y - (y - start_y) * axis_x) / length
    chord = (1 - (across / width) ** 2).clamp_min(0).sqrt()
    taper = (5 * torch.minimum(along, 1 - along)).clamp(0, 1)
    return (height * chord * taper)[:, None]


def _bent(image: Tensor, gamma: Tensor) -> Tensor:
    """Raise each image's grey values, scaled to 0..1, to its `gamma` and scale them back."""
    low, high = image.amin((-2, -1), keepdim=True), image.amax((-2, -1), keepdim=True)
    span = (high - low).clamp_min(1e-6)
    return low + span * ((image - low) / span) ** gamma.to(image.dtype)[:, None, None, None]


def _noise(draw: Draw, shape: tuple[int, ...], device: torch.device) -> Tensor:
    random = torch.Generator(device).manual_seed(draw.noise_seed)
    return draw.noise * torch.randn(shape, generator=random, device=device)
