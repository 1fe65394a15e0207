"""Structures of repeated parts: which of the points found is which member of an ordered chain.

Vertebrae, the teeth of a jaw and ribs are chains. Candidates are points that look like a member; some are
none, and some members have no candidate. The names that fit best are found exactly, by dynamic programming
over members and candidates (as pictorial structures are, Felzenszwalb and Huttenlocher 2005, on a chain
with gaps).

A member's place given that of the member named before it is a normal distribution learned from annotated
images, for every pair of members, so that spacing, direction, the place on the image, and how far a gap
leads are all in it. Candidates that are no member are taken to lie anywhere, with equal chance.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_DEVIATION_PX = 1.0  # of any place: what annotators agree to
LEAST_IMAGES = 4  # that show both members of a pair; a plane needs three
ANYWHERE_PX = 1e3  # deviation of a place of which nothing is known
NEVER = -1e9  # logarithm of the chance of what cannot be; finite, so that sums stay comparable


class ChainPrior(NamedTuple):
    """What annotated images tell of the places (x, y) px of a chain's members.

    `mean_px` (l, 2) and `covariance` (l, 2, 2) are of a member by itself; given that member i is at p,
    member j is about ``offset[i, j] + slope[i, j] @ p`` with the covariance `spread[i, j]`. `present` (l,)
    is the share of images that show it. A member, or pair, that too few images show may lie ANYWHERE_PX.
    """

    mean_px: Tensor
    covariance: Tensor
    offset: Tensor
    slope: Tensor
    spread: Tensor
    present: Tensor

    def first(self, points_px: Tensor) -> Tensor:
        """Return the logarithm of the density (b, c, l) of points (b, c, 2) as each member by itself."""
        return _log_normal(points_px[..., None, :] - self.mean_px, self.covariance)

    def expected(self, points_px: Tensor) -> Tensor:
        """Return where member j is, given that member i is at points_px[..., i, :]: (..., i, j, 2)."""
        return self.offset + (self.slope @ points_px[..., None, :, None]).squeeze(-1)

    def next(self, points_px: Tensor) -> Tensor:
        """Return that density of each point c' as member j given point c as member i: (b, c, i, c', j)."""
        members = len(self.present)
        expected = self.expected(points_px[..., None, :].expand(-1, -1, members, -1))
        away = points_px[:, None, None, :, None] - expected[:, :, :, None]
        return _log_normal(away, self.spread[:, None])


def unknown(members: int) -> ChainPrior:
    """Return the prior of a chain of which nothing has been learned yet: any place is as good."""
    pairs = members, members
    anywhere = ANYWHERE_PX**2 * torch.eye(2)
    return ChainPrior(
        mean_px=torch.zeros(members, 2),
        covariance=anywhere.repeat(members, 1, 1),
        offset=torch.zeros(*pairs, 2),
        slope=torch.zeros(*pairs, 2, 2),
        spread=anywhere.repeat(*pairs, 1, 1),
        present=torch.full((members,), 0.5),
    )


def learned(chains_px: np.ndarray) -> ChainPrior:
    """Learn from the places (image, l, 2) of a chain's members in images, NaN where not annotated."""
    known = np.isfinite(chains_px).all(-1)
    images, members = known.shape
    prior = {name: part.double().numpy() for name, part in unknown(members)._asdict().items()}
    for j in range(members):
        if known[:, j].sum() >= LEAST_IMAGES:
            place = chains_px[known[:, j], j]
            prior["mean_px"][j] = place.mean(0)
            prior["covariance"][j] = _covariance(place - place.mean(0), 1)
        for i in range(members):
            both = known[:, i] & known[:, j]
            if i != j and both.sum() >= LEAST_IMAGES:
                given = np.column_stack([np.ones(both.sum()), chains_px[both, i]])
                fit = np.linalg.lstsq(given, chains_px[both, j], rcond=None)[0]
                prior["offset"][i, j], prior["slope"][i, j] = fit[0], fit[1:].T
                prior["spread"][i, j] = _covariance(chains_px[both, j] - given @ fit, 3)
    prior["present"][:] = (known.sum(0) + 1) / (images + 2)  # neither never nor always
    return ChainPrior(**{name: torch.as_tensor(part).float() for name, part in prior.items()})


def named(prior: ChainPrior, points_px: Tensor, log_odds: Tensor, area_px: float) -> Tensor:
    """Return for each member the number of its candidate, -1 where it is missing, (b, l).

    `points_px` (b, c, 2) are candidates, `log_odds` (b, c, l) the logarithm of how much likelier each is to
    be each member than none, `area_px` the size of an image in px². Of all ways to name candidates along
    the chain, with any gaps, it is the likeliest: a named candidate counts by its odds and by how much
    likelier its place is than one anywhere, a member without a candidate by the chance that an image lacks it.
    """
    members = len(prior.present)
    here = log_odds + prior.present.log() + math.log(area_px)
    missing = F.pad((1 - prior.present).log().cumsum(0), (1, 0))  # all members before each
    step = prior.next(points_px)
    itself = torch.eye(points_px.shape[1], dtype=torch.bool, device=points_px.device)
    step = step.masked_fill(itself[:, None, :, None], NEVER)
    alone = prior.first(points_px) + here + missing[:-1]
    best, came_from = [alone[..., 0]], [torch.full_like(alone[..., 0], -1).long()]
    for member in range(1, members):
        skipped = missing[member] - missing[1 : member + 1]
        earlier = torch.stack(best, dim=-1)[..., None] + step[:, :, :member, :, member]
        value, origin = (earlier + skipped[:, None]).flatten(1, 2).max(1)
        value = value + here[..., member]
        better = value > alone[..., member]
        best.append(torch.where(better, value, alone[..., member]))
        # A candidate and the member that it is, as one number.
        number = origin // member * members + origin % member
        came_from.append(torch.where(better, number, -1))
    ending = torch.stack(best, dim=-1) + missing[-1] - missing[1:]
    return _traced(ending, torch.stack(came_from, dim=-1), missing[-1])


def _traced(ending: Tensor, came_from: Tensor, nothing: Tensor) -> Tensor:
    """Follow the best chain back from its last member; where no candidate at all is better, none."""
    members = ending.shape[-1]
    value, number = ending.flatten(1).max(1)
    number = torch.where(value > nothing, number, -1)
    names = []
    for member in reversed(range(members)):
        candidate = number // members
        here = (number >= 0) & (number - candidate * members == member)
        names.append(torch.where(here, candidate, -1))
        origin = came_from[:, :, member].gather(1, candidate.clamp_min(0)[:, None])[:, 0]
        number = torch.where(here, origin, number)
    return torch.stack(names[::-1], dim=-1)


def completed(prior: ChainPrior, places_px: Tensor, known: Tensor) -> Tensor:
    """Return places (b, l, 2) px with those not `known` (b, l) where the known members lead to.

    Each known member, and where the missing one usually is, counts by how surely it tells.
    """
    usual = prior.mean_px.expand_as(places_px)[:, None]
    told = torch.cat([prior.expected(places_px), usual], dim=1)
    certain = torch.cat([prior.spread, prior.covariance[None]]).diagonal(dim1=-2, dim2=-1).sum(-1)
    by_itself = torch.ones_like(known[:, :1])
    weight = torch.cat([known, by_itself], dim=1)[..., None] / certain.square()
    mean = (weight[..., None] * told).sum(1) / weight.sum(1)[..., None]
    return torch.where(known[..., None], places_px, mean)


def _covariance(residuals: np.ndarray, fitted: int) -> np.ndarray:
    """Return the covariance (2, 2) of residuals (n, 2) after so many were fitted along each axis."""
    own = residuals.T @ residuals / max(1, len(residuals) - fitted)
    return own + LEAST_DEVIATION_PX**2 * np.eye(2)


def _log_normal(away: Tensor, covariance: Tensor) -> Tensor:
    """Return the logarithm of normal densities (...) at vectors (..., 2) from their means."""
    a, b, d = covariance[..., 0, 0], covariance[..., 0, 1], covariance[..., 1, 1]
    x, y = away.unbind(-1)
    determinant = a * d - b * b
    squares = (d * x * x - 2 * b * x * y + a * y * y) / determinant
    return -0.5 * squares - 0.5 * determinant.log() - math.log(2 * math.pi)
