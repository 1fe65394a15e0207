"""Landmarks by the members of a chain of repeated parts, as networks of chains see them."""

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

CHAIN = Field(
    None,
    description="numbers of each member's landmarks; the training gives them, from the landmark types",
)


class Chain(nn.Module):
    """The members of a chain, each with the numbers of its landmarks, its parts; None where it lacks one."""

    numbers: Tensor

    def __init__(self, chain: Sequence[Sequence[int | None]]):
        super().__init__()
        self.members, self.parts = len(chain), len(chain[0])
        numbers = [[-1 if number is None else number for number in member] for member in chain]
        self.register_buffer("numbers", torch.tensor(numbers), persistent=False)

    def by_member(self, values: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Return values (b, l, n) by member and part (b, m, part, n), and which of them are known (b, l)."""
        numbers = self.numbers.clamp_min(0)
        return values[:, numbers], known[:, numbers] & (self.numbers >= 0)

    def by_landmark(self, values: Tensor) -> Tensor:
        """Return values (b, m, part, ...) in the order of the landmarks: (b, l, ...)."""
        numbers = self.numbers.flatten()
        place = torch.arange(len(numbers), device=numbers.device)[numbers >= 0]
        return values.flatten(1, 2)[:, place[numbers[place].argsort()]]

    def means(self, values: Tensor) -> Tensor:
        """Return the mean (b, m, n) of each member's values (b, l, n)."""
        there = (self.numbers >= 0)[..., None]
        parts = values[:, self.numbers.clamp_min(0)] * there
        return parts.sum(2) / there.sum(1)
