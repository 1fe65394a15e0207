import numpy as np
import pytest
import torch

from raymark.methods.base import standardised
from raymark.methods.unet import Config, Network, discs
from tests.unit.methods.examples import example, tiny, true_maps


def test_discs_hold_the_pixels_within_their_radius():
    points = torch.tensor([[[20.3, 15.8], [5.0, 5.0]]])
    mask = discs(points, torch.tensor([[True, False]]), (40, 50), 1, 6.0)
    for row, column in np.ndindex(40, 50):
        within = np.hypot(column - 20.3, row - 15.8) <= 6.0
        assert mask[0, 0, row, column] == within
    assert not mask[0, 1].any()
    coarse = discs(points, torch.tensor([[True, True]]), (40, 50), 2, 6.0)
    assert coarse.shape == (1, 2, 20, 25)
    assert coarse[0, 0, 7, 9] == 1.0


def test_the_loss_is_the_mean_cross_entropy():
    network, batch = tiny("unet"), example(1, (24, 32))
    logits = torch.randn(1, 3, 24, 32, generator=torch.Generator().manual_seed(0))
    mask = discs(batch.landmarks, batch.visible, (24, 32), 1, 3.0).double().numpy()
    probability = 1 / (1 + np.exp(-logits.double().numpy()))
    expected = -np.mean(mask * np.log(probability) + (1 - mask) * np.log(1 - probability))
    assert network.loss(logits, batch)[0].item() == pytest.approx(expected, rel=1e-5)


def test_argmax_is_decoded_at_the_pixel_with_its_probability():
    network = Network(Config(depth=2, channels=2, stride=2), 1)
    logits = torch.full((1, 1, 10, 12), -4.0)
    logits[0, 0, 3, 7] = 2.0
    points, confidence = network.decode(logits)
    assert points[0, 0].tolist() == [14.5, 6.5]
    assert confidence.item() == pytest.approx(1 / (1 + np.exp(-2.0)))


def test_the_loss_of_the_true_points_is_lower_than_of_others():
    network, batch = tiny("unet"), example(1)
    truth = 20 * true_maps(batch, network.stride, network(batch.image).shape) - 10
    assert network.loss(truth, batch)[0] < 0.5 * network.loss(truth.flip(-3), batch)[0]


def test_untrained_beliefs_are_near_zero():
    network = tiny("unet")
    _, confidence = network.decode(network(standardised(example().image)))
    assert confidence.abs().max() < 0.2
