import math

import numpy as np
import pytest
import torch

from raymark.methods.dsnt import Config, Network, divergence
from tests.unit.methods.examples import example, tiny, true_maps


def logits_of(probability):
    return torch.as_tensor(probability).clamp_min(1e-30).log()


def normalised(image_shape, points_px, stride=8):
    """Nibali et al.'s coordinates of points on the square map of an image: from -1 to 1."""
    size = image_shape[0] // stride
    cell = (np.asarray(points_px) - (stride - 1) / 2) / stride
    return (2 * (cell + 1) - (size + 1)) / size


def test_the_backbone_is_a_dilated_resnet_50():
    with torch.device("meta"):
        network = Network(Config(), 16)
        assert network(torch.empty(1, 1, 224, 224)).shape == (1, 16, 28, 28)
    counted = sum(p.numel() for m in (network.stem, network.stages) for p in m.parameters())
    assert counted == 23_508_032 - 2 * 64 * 7 * 7  # one grey channel instead of three
    assert network.output.weight.shape == (16, 2048, 1, 1)
    middle = [[block.layers[3] for block in stage] for stage in network.stages]
    assert [{c.dilation[0] for c in stage} for stage in middle] == [{1}, {1}, {2}, {4}]
    assert [math.prod(c.stride[0] for c in stage) for stage in middle] == [1, 2, 1, 1]


def test_the_point_is_the_mean_of_the_softmax():
    heat = torch.zeros(1, 1, 7, 9)
    heat[0, 0, 2, 3], heat[0, 0, 6, 5] = 0.25, 0.75
    points, _ = tiny("dsnt").decode(logits_of(heat))
    column, row = 0.25 * 3 + 0.75 * 5, 0.25 * 2 + 0.75 * 6
    assert points[0, 0].tolist() == pytest.approx([8 * column + 3.5, 8 * row + 3.5], rel=1e-5)


def test_distance_is_euclidean_in_the_originals_coordinates():
    network, batch = tiny("dsnt"), example(2, (64, 64))
    logits = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    heat = np.exp(logits.double().numpy())
    heat /= heat.sum((-2, -1), keepdims=True)
    across = np.tile((2 * np.arange(1, 9) - 9) / 8, (8, 1))  # the matrix X of section 3; Y is its T
    predicted = np.stack([(heat * across).sum((-2, -1)), (heat * across.T).sum((-2, -1))], -1)
    truth = normalised((64, 64), batch.landmarks)
    expected = np.mean(np.hypot(*np.moveaxis(predicted - truth, -1, 0)))
    loss, parts = network.loss(logits, batch)
    assert parts["distance"].item() == pytest.approx(expected, rel=1e-4)
    assert loss.item() == pytest.approx(expected + parts["divergence"].item(), rel=1e-4)


def test_divergence_by_hand():
    certain, even = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 0.5]])
    by_hand = 0.5 * (0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(0.5 / 0.25)) + 0.5 * np.log(1 / 0.75)
    assert divergence(logits_of(even), certain).item() == pytest.approx(by_hand, rel=1e-5)
    assert divergence(logits_of(certain), even).item() == pytest.approx(by_hand, rel=1e-5)
    opposite = divergence(logits_of(certain), certain.flip(-1)).item()
    assert opposite == pytest.approx(np.log(2), rel=1e-5)
    assert divergence(logits_of(even), 7 * even).item() == pytest.approx(0, abs=1e-6)


def test_the_target_is_a_gaussian_of_one_cell_at_the_true_point():
    network, batch = tiny("dsnt"), example(1, (64, 80))
    y, x = np.mgrid[:8, :10]
    cell = (batch.landmarks[0].double().numpy() - 3.5) / 8
    off = np.square(x - cell[:, 0, None, None]) + np.square(y - cell[:, 1, None, None])
    loss, parts = network.loss(torch.tensor(-off[None] / 2).float(), batch)
    assert parts["divergence"].item() == pytest.approx(0, abs=1e-5)
    wider, _ = network.loss(torch.tensor(-off[None] / 8).float(), batch)
    assert wider > loss + 0.1


def test_landmarks_out_of_sight_teach_nothing():
    network, batch = tiny("dsnt"), example(2, (64, 64))
    batch.visible[0, 1] = False
    batch.landmarks[0, 1] = torch.nan
    logits = torch.randn(2, 3, 8, 8, requires_grad=True)
    loss, _ = network.loss(logits, batch)
    loss.backward()
    taught = logits.grad.abs().sum((-2, -1)) > 0
    assert taught.tolist() == batch.visible.tolist()
    batch.visible[:] = False
    assert network.loss(logits, batch)[0] == 0


def test_extreme_logits_give_finite_gradients():
    network, batch = tiny("dsnt"), example(1, (64, 64))
    logits = torch.zeros(1, 3, 8, 8)
    logits[..., 7, 7], logits[..., 0, 0] = 1e4, -1e4
    logits.requires_grad_()
    loss, _ = network.loss(logits, batch)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_confidence_is_the_probability_near_the_point():
    heat = torch.zeros(1, 4, 20, 21)
    heat[0, 0, 10, 10] = 1.0  # no doubt
    heat[0, 1, 10, 2] = heat[0, 1, 10, 18] = 0.5  # two places; their mean is neither
    heat[0, 2, 10, 10], heat[0, 2, 10, 11], heat[0, 2, 10, 20] = 0.8, 0.1, 0.1
    heat[0, 3] = 1 / 420  # no idea
    _, confidence = Network(Config(width=8, blocks=(1, 1, 1, 1)), 4).decode(logits_of(heat))
    within = sum((x - 10) ** 2 + (y - 9.5) ** 2 <= 9 for x, y in np.ndindex(21, 20))
    assert confidence[0].tolist() == pytest.approx([1, 0, 0.9, within / 420], abs=1e-5)


def test_the_loss_of_the_true_points_is_lower_than_of_others():
    network, batch = tiny("dsnt"), example(1)
    logits = 20 * true_maps(batch, network.stride, network(batch.image).shape)
    assert network.loss(logits, batch)[0] < 0.5 * network.loss(logits.flip(-3), batch)[0]
