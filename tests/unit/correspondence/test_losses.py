"""Equations 1 to 3 on cases worked out by hand."""

import math

import pytest
import torch

from raymark.correspondence.losses import descriptor_loss, landmark_loss, matching, total_loss
from raymark.correspondence.network import build
from raymark.correspondence.training import Pairs
from tests.unit.correspondence.examples import TINY, textured


def logit(probability):
    return torch.logit(torch.tensor(probability))


def test_landmark_loss_by_hand():
    # Equation 2 for two landmarks: p = 0.8 with a match, p = 0.4 without.
    expected = ((1 - 0.8) - math.log(0.8) + (1 - 0.4) - math.log(1 - 0.4)) / 2
    found = landmark_loss(logit([[0.8, 0.4]]), torch.tensor([[True, False]]))
    assert found.item() == pytest.approx(expected, abs=1e-6)


def test_descriptor_loss_by_hand():
    # Equation 3 for 1 × 3 landmarks of which the first pair matches; margins 0.1 and 1.
    distance = torch.tensor([[[0.5, 0.3, 1.4]]])
    probability = [[[0.7, 0.2, 0.1]]]
    truth = torch.tensor([[[True, False, False]]])
    hinges = (0.5 - 0.1) / 1 + ((1 - 0.3) + 0) / 2
    # Two of three do not match: that weighs the match, and one of three the others.
    weighted = -(2 / 3) * math.log(0.7) - (1 / 3) * (math.log(0.8) + math.log(0.9))
    found = descriptor_loss(distance, logit(probability), truth, 0.1, 1.0)
    assert found.item() == pytest.approx(hinges + weighted / 3, abs=1e-6)


def test_matches_within_the_margin_and_others_beyond_theirs_cost_nothing_by_the_hinge():
    sure = torch.tensor([[[40.0, -40.0]]])
    truth = torch.tensor([[[True, False]]])
    found = descriptor_loss(torch.tensor([[[0.1, 1.0]]]), sure, truth, 0.1, 1.0)
    assert found.item() == pytest.approx(0, abs=1e-6)


def test_images_without_a_match_have_a_finite_loss():
    found = descriptor_loss(
        torch.tensor([[[0.25, 1.0]]]), torch.zeros(1, 1, 2), torch.zeros(1, 1, 2).bool(), 0.1, 1.0
    )
    # No term for matches; the others weigh nothing, as there is no match to weigh against.
    assert found.item() == pytest.approx(0.75 / 2, abs=1e-6)


def test_loss_of_a_batch_is_the_mean_over_its_pairs():
    random = torch.Generator().manual_seed(0)
    distance, logits = torch.rand(2, 2, 4, 5, generator=random)
    truth = torch.rand(2, 4, 5, generator=random) < 0.3
    alone = [descriptor_loss(*(t[i : i + 1] for t in (distance, logits, truth)), 0.1, 1.0)
             for i in range(2)]  # fmt: skip
    assert descriptor_loss(distance, logits, truth, 0.1, 1.0).item() == pytest.approx(
        sum(alone).item() / 2
    )


def test_landmarks_match_within_two_px_and_on_the_body():
    points1 = torch.tensor([[[10, 10], [30, 10], [50, 50]]])
    projected2 = torch.tensor([[[11.0, 11.0], [32.0, 10.0], [50.0, 50.5], [31.0, 10.0]]])
    valid1 = torch.tensor([[True, True, False]])
    valid2 = torch.tensor([[True, True, True, False]])
    found = matching(points1, projected2, valid1, valid2, 2.0)
    # (10, 10) and (11, 11) are 1.41 px apart; 2 px is not below 2 px; the others are off the body.
    assert found.nonzero().tolist() == [[0, 0, 0]]
    everywhere = torch.ones(1, 4, dtype=bool)
    assert matching(points1, projected2, everywhere[:, :3], everywhere, 2.0).sum() == 3


def test_total_is_the_sum_of_equation_1_and_reaches_every_weight():
    network = build(TINY.network, seed=1)
    pair = Pairs([textured(1)], TINY, epoch=1)[0]
    batch = {name: torch.as_tensor(value)[None] for name, value in pair.items()}
    loss, parts = total_loss(network, batch, TINY.training)
    three = parts["landmarks1"] + parts["landmarks2"] + parts["descriptors"]
    assert loss.item() == pytest.approx(three.item())
    assert 0 < parts["matching_share"] < 1
    loss.backward()
    for name, parameter in network.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        if name != "up.0.bias":  # a normalisation follows before anything else can see it
            assert parameter.grad.abs().max() > 0, name
