"""The Siamese network: landmark probabilities, descriptors, the sampling layer, the match head.

Both images of a pair go through one branch, as one batch. Points are (x, y) px.
"""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raymark.correspondence.config import NetworkConfig
from raymark.methods.base import start_bias

LEVELS = 5
CELL_PX = 8


class Network(nn.Module):
    """The branch of section 2.2.1 and the match head of section 2.2.3.

    The U-Net of Ronneberger et al. with a quarter of its filters. The paper leaves open how the
    match head's one linear layer sees a pair of descriptors. Here it sees their squared differences:
    on the two side by side it could only add a score of the one to a score of the other.
    """

    def __init__(self, config: NetworkConfig):
        super().__init__()
        widths = [config.filters * 2**level for level in range(LEVELS)]
        self.encoder = nn.ModuleList(
            _block(before, width, config)
            for before, width in zip([1, *widths], widths, strict=False)
        )
        above = list(reversed(widths))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(deep, shallow, 2, stride=2) for deep, shallow in pairwise(above)
        )
        self.decoder = nn.ModuleList(_block(2 * shallow, shallow, config) for shallow in above[1:])
        self.landmark = nn.Conv2d(widths[0], 1, 1)
        self.match = nn.Linear(widths[-2] + widths[-1], 1)
        nn.init.constant_(self.match.weight, -1.0)  # differences speak against a match

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Map images (b, 1, y, x) from 0 to 1 to landmark logits (b, 1, y, x) and features.

        The features are the maps of the last two blocks on the way down, at strides 8 and 16.
        """
        height, width = image.shape[-2:]
        multiple = 2 ** (LEVELS - 1)
        maps, levels = F.pad(image, (0, -width % multiple, 0, -height % multiple)), []
        for level, block in enumerate(self.encoder):
            maps = block(F.max_pool2d(maps, 2) if level else maps)
            levels.append(maps)
        features = levels[-2:]
        levels.pop()
        for up, block in zip(self.up, self.decoder, strict=True):
            maps = block(torch.cat([levels.pop(), up(maps)], dim=1))
        return self.landmark(maps)[..., :height, :width], features

    def match_logits(self, descriptors1: Tensor, descriptors2: Tensor) -> Tensor:
        """Return the logit of a match for every pair, (b, k1, k2).

        w · (a − b)² + bias, multiplied out so that no tensor of all pairs' differences is needed.
        """
        weight = self.match.weight[0]
        own1 = (weight * descriptors1.square()).sum(-1)[:, :, None]
        own2 = (weight * descriptors2.square()).sum(-1)[:, None, :]
        cross = (weight * descriptors1) @ descriptors2.transpose(1, 2)
        return own1 + own2 - 2 * cross + self.match.bias


def build(config: NetworkConfig, seed: int) -> Network:
    """Build the network, its weights drawn from `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Network(config)


def sample(logits: Tensor, count: int | None = None) -> Tensor:
    """Return each image's likeliest landmarks, at most one per 8 × 8 cell: (b, k, 2) integer px.

    The sampling layer of section 2.2.2 on the grid of section 2.4, likeliest first; all cells where
    `count` is None. `logits` (b, 1, y, x); cells at the right and lower border may be cut.
    """
    width = logits.shape[-1]
    highest, place = F.max_pool2d(logits, CELL_PX, ceil_mode=True, return_indices=True)
    highest, place = highest.flatten(1), place.flatten(1)
    count = highest.shape[1] if count is None else min(count, highest.shape[1])
    place = place.gather(1, highest.topk(count, dim=1).indices)
    return torch.stack([place % width, place // width], dim=-1)


def at(maps: Tensor, points_px: Tensor) -> Tensor:
    """Read maps (b, c, y, x) at integer points (b, k, 2): (b, k, c)."""
    batch = torch.arange(len(maps), device=maps.device)[:, None]
    return maps[batch, :, points_px[..., 1], points_px[..., 0]]


def describe(features: list[Tensor], points_px: Tensor, padded_yx: tuple[int, int]) -> Tensor:
    """Return descriptors of unit length (b, k, d) at points (b, k, 2) px.

    Both maps are interpolated between their cells' centres, as landmarks lie denser than cells, and
    put side by side. `padded_yx` is the size in px that the maps cover.
    """
    size = points_px.new_tensor([padded_yx[1], padded_yx[0]], dtype=torch.float32)
    places = ((2 * points_px + 1) / size - 1)[:, None]
    read = [
        F.grid_sample(f.float(), places, padding_mode="border", align_corners=False)[:, :, 0]
        for f in features
    ]
    return F.normalize(torch.cat(read, dim=1).transpose(1, 2), dim=-1)


def distances(descriptors1: Tensor, descriptors2: Tensor) -> Tensor:
    """Return the L2 norms of all pairs' differences, (b, k1, k2).

    By one product of matrices, in double precision: single would be off by 1e-3 near zero.
    """
    mode = "use_mm_for_euclid_dist"
    return torch.cdist(descriptors1.double(), descriptors2.double(), compute_mode=mode).float()


def covered_px(features: list[Tensor]) -> tuple[int, int]:
    """Return rows and columns in px of the padded image that `features` cover."""
    rows, columns = features[-1].shape[-2:]
    return rows * 2 ** (LEVELS - 1), columns * 2 ** (LEVELS - 1)


def _block(inputs: int, outputs: int, config: NetworkConfig) -> nn.Sequential:
    return nn.Sequential(
        *_convolution(inputs, outputs, config), *_convolution(outputs, outputs, config)
    )


def _convolution(inputs: int, outputs: int, config: NetworkConfig) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    start_bias(convolution)
    if config.normalisation == "none":
        return [convolution, nn.ReLU(inplace=True)]
    return [convolution, nn.GroupNorm(math.gcd(outputs, 8), outputs), nn.ReLU(inplace=True)]
