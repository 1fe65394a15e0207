"""The points that a second stage is trained on: true ones with the errors of its first stage.

On its own training images the first stage is better than on any other, so its errors are those that it
makes on the validation views. A training view takes all errors of one of these at once, as they depend on
each other, times a factor and with a little of their own for each landmark, so that few views give many
patterns. The second stage sees the place where its first stage looks, never the image that misled it.

What the first stage took for something else, a neighbouring vertebra say, no patch can tell: errors far
beyond a landmark's usual one are not learned from.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from raymark.methods.base import Batch, SecondStage, standardised

FARTHEST = 4.0  # error that is learned from, in median errors of the landmark
FACTORS = 0.5, 1.25  # of the errors of a view, with either sign
OWN_SHARE = 0.25  # deviation of a landmark's own part, of its median error along an axis


@dataclass(frozen=True)
class Guesses:
    """Errors (view, l, 2) in px, NaN where there is none to learn from, and what was detected (view, l).

    `limit_px` (l,) is how far off a point may be to be learned from.
    """

    errors_px: np.ndarray
    seen: np.ndarray
    limit_px: np.ndarray

    def counted(self, batch: Batch, guess: Tensor) -> Batch:
        """Return the batch without the landmarks of which the first stage's `guess` (b, l, 2) is beyond the limit."""
        limit_px = torch.as_tensor(self.limit_px).to(guess)
        near = (guess - batch.landmarks).norm(dim=-1) <= limit_px
        return replace(batch, visible=batch.visible & near)

    def drawn(self, batch: Batch, randoms: Iterable[np.random.Generator]) -> Batch:
        """Return the batch with guesses; each view's are drawn from its own generator."""
        drawn = [self._errors(random) for random in randoms]
        errors, seen = (np.stack(parts) for parts in zip(*drawn, strict=True))
        guess = batch.landmarks + torch.as_tensor(errors).to(batch.landmarks)
        seen_there = batch.visible & torch.as_tensor(seen, device=batch.visible.device)
        return replace(batch, guess=guess, guess_seen=seen_there)

    def _errors(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw the errors (l, 2) of one view, and which landmarks are detected (l,)."""
        views, landmarks, _ = self.errors_px.shape
        view = np.full(landmarks, random.integers(views))
        known = np.isfinite(self.errors_px[..., 0])
        # A landmark that this view does not show takes its error from another one.
        order = random.permutation(views)
        other = order[known[order].argmax(axis=0)]
        numbers = np.arange(landmarks)
        view = np.where(known[view, numbers], view, other)
        factor = random.choice([-1.0, 1.0]) * random.uniform(*FACTORS)
        own = OWN_SHARE * random.normal(size=(landmarks, 2)) * self._usual_px
        errors = factor * np.nan_to_num(self.errors_px[view, numbers]) + own
        return errors, self.seen[view, numbers]

    @cached_property
    def _usual_px(self) -> np.ndarray:
        """The median error (l, 2) along each axis; 0 of a landmark that no view shows."""
        sizes = np.ma.masked_invalid(np.abs(self.errors_px))
        return np.ma.median(sizes, axis=0).filled(0.0)


@torch.no_grad()
def measured(network: SecondStage, views: Iterable[Batch]) -> Guesses:
    """Give `network` the mean shape of some views, and return its first stage's errors on them."""
    truths, guesses, seen = [], [], []
    for batch in views:
        truths.append(batch.landmarks.masked_fill(~batch.visible[..., None], torch.nan).cpu())
        points, detected = network.first_guess(standardised(batch.image))
        guesses.append(points.cpu())
        seen.append(detected.cpu())
    truth = torch.cat(truths)
    network.set_shape(truth.nanmean(0))
    guess = torch.cat(guesses) if network.first else network.shape_px.cpu()
    errors_px = (guess - truth).numpy()
    away_px = np.linalg.norm(errors_px, axis=-1)
    limit_px = FARTHEST * np.ma.median(np.ma.masked_invalid(away_px), axis=0).filled(np.inf)
    errors_px = np.where((away_px <= limit_px)[..., None], errors_px, np.nan)
    return Guesses(errors_px, torch.cat(seen).numpy(), limit_px)
