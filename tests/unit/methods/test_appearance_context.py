from pathlib import Path

import numpy as np
import pytest
import torch

from raymark.config.project import read_method
from raymark.geometry.belief_maps import belief_maps
from raymark.methods.appearance_context import (
    Attention,
    Config,
    LocalAppearance,
    Network,
    downscaled,
    global_context,
)
from tests.unit.methods.examples import example, tiny
from tests.unit.training.examples import TINY

METHODS = Path(__file__).parents[3] / "config" / "methods"


def papers(name="appearance_context"):
    """The configuration of a method file at the paper's scale."""
    return Config(**read_method(METHODS / f"{name}.yaml", "paper").network)


def convolutions(module):
    return [m for m in module.modules() if isinstance(m, torch.nn.Conv2d)]


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "landmarks", "kernel", "map_shape"),
    [
        ("appearance_context", 19, (3, 3), (32, 32)),
        ("appearance_context_spine", 68, (5, 3), (64, 32)),
    ],
)
def test_the_context_has_seven_dilated_convolutions_of_128_filters(
    name, landmarks, kernel, map_shape
):
    context = global_context(papers(name), landmarks)
    *dilated, output = convolutions(context)
    assert [c.out_channels for c in dilated] == [128] * 7
    assert {c.kernel_size for c in dilated} == {kernel}
    assert dilated[0].in_channels == landmarks + 1  # the local appearance and the image
    assert len({c.dilation for c in dilated}) > 1
    assert (output.kernel_size, output.out_channels) == ((1, 1), landmarks)
    size = kernel[0] * kernel[1]
    weights = (landmarks + 1) * 128 * size + 6 * 128**2 * size + 128 * landmarks + landmarks
    assert count(context) == weights + 7 * 2 * 128
    assert (papers(name).context_map, papers(name).sigma_px) == (map_shape, 5.0)
    # Section III: about four times fewer weights than the comparison's four 11×11 convolutions.
    payer = 121 * (2 * landmarks * 128 + 2 * 128**2)
    assert 3.5 < payer / count(context) < 5.5


def test_attention_follows_every_level_of_the_papers_unet():
    local = LocalAppearance(papers(), 19)
    widths = [64, 128, 256, 512, 1024]
    assert [level[0].out_channels for level in local.encoder] == widths
    assert [level[0].out_channels for level in local.decoder] == widths[-2::-1]
    assert all(isinstance(level[-1], Attention) for level in [*local.encoder, *local.decoder])
    assert sum(isinstance(m, Attention) for m in local.modules()) == 9
    assert local.encoder[4][-1].shared[0].out_features == 1024 // 16
    unet = 31_000_000  # Ronneberger et al. 2015 with one input channel
    assert unet < count(local) < 1.02 * unet


@pytest.mark.parametrize(
    ("name", "reach"), [("appearance_context", (33, 33)), ("appearance_context_spine", (65, 33))]
)
def test_receptive_field_on_the_coarse_map_is_the_papers(name, reach):
    config = papers(name).model_copy(update={"context_channels": 2})
    context = global_context(config, 1).double().eval()
    for weight in context.parameters():
        torch.nn.init.constant_(weight, 0.1)
    coarse = torch.rand(1, 2, 80, 50, dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(context(coarse)[0, 0, 40, 25], coarse)
    rows, columns = (gradient[0, 0] != 0).nonzero().unbind(1)
    assert (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1) == reach
    assert (rows.max() + rows.min(), columns.max() + columns.min()) == (80, 50)


def test_channel_attention_of_constant_maps_is_the_perceptron_of_their_values():
    attention = Attention(2, 1)
    attention.shared[0].weight.data = torch.tensor([[1.0, 2.0], [-1.0, 0.5]])
    attention.shared[2].weight.data = torch.tensor([[0.5, 3.0], [-0.25, 1.0]])
    features = torch.tensor([0.4, 0.1])[None, :, None, None].expand(1, 2, 3, 5)
    # Hidden: 0.4 + 0.2 = 0.6, and -0.4 + 0.05, cut off at 0. Mean and maximum are the same: twice.
    expected = [1 / (1 + np.exp(-2 * 0.3)), 1 / (1 + np.exp(2 * 0.15))]
    assert attention.of_channels(features).flatten().tolist() == pytest.approx(expected)


def test_channel_attention_adds_the_mean_and_the_maximum():
    attention = Attention(1, 1)
    attention.shared[0].weight.data.fill_(1.0)
    attention.shared[2].weight.data.fill_(1.0)
    features = torch.tensor([[[[0.0, 0.0], [0.0, 2.0]]]])  # mean 0.5, maximum 2
    assert attention.of_channels(features).item() == pytest.approx(1 / (1 + np.exp(-2.5)))


def test_place_attention_weighs_the_channels_mean_and_maximum():
    attention = Attention(2, 1)
    attention.summary.weight.data.zero_()
    attention.summary.weight.data[0, :, 3, 3] = torch.tensor([2.0, -1.0])
    features = torch.randn(2, 2, 6, 5, generator=torch.Generator().manual_seed(0))
    channels = features.numpy()
    sums = 2 * channels.mean(1) - channels.max(1)
    weights = attention.of_places(features)
    np.testing.assert_allclose(weights[:, 0].detach(), 1 / (1 + np.exp(-sums)), rtol=1e-5)
    assert weights.shape == (2, 1, 6, 5)
    assert 0 < weights.min() < weights.max() < 1
    once = features * attention.of_channels(features)
    assert torch.equal(attention(features), once * attention.of_places(once))


def test_the_output_is_the_product_of_local_appearance_and_context():
    network, image = tiny("appearance_context").eval(), example().image
    local, context = network.factors(image)
    assert local.shape == context.shape == (2, 3, 52, 60)
    assert torch.equal(network(image), local * context)
    network.local.output.weight.data[1] = 0.0
    output = network(image)
    assert not output[:, 1].any()
    assert output[:, 0].any()
    assert output[:, 2].any()


def test_the_context_sees_the_downscaled_local_appearance_and_image():
    network, image = tiny("appearance_context").eval(), example(2, (48, 64)).image
    seen = []
    network.context.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    local, _ = network.factors(image)
    stacked = torch.cat([local, image], dim=1)
    means = stacked.unflatten(-2, (16, 3)).unflatten(-1, (16, 4)).mean((-3, -1))
    assert torch.allclose(seen[0], means, atol=1e-5)


def test_downscaling_counts_each_pixel_by_its_share():
    maps = torch.tensor([[[[1.0, 2.0, 4.0], [0.0, 0.0, 0.0]]]])
    assert downscaled(maps, (1, 2)).flatten().tolist() == pytest.approx(
        [(1 + 0.5 * 2) / 3, (0.5 * 2 + 4) / 3]
    )
    ramp = torch.arange(300.0).expand(1, 1, 7, 300)
    centres = (torch.arange(32) + 0.5) * 300 / 32 - 0.5
    assert torch.allclose(downscaled(ramp, (4, 32))[0, 0, 2], centres, atol=0.03)
    assert torch.allclose(downscaled(torch.ones(1, 1, 9, 5), (16, 16)), torch.ones(16, 16))


def test_the_context_begins_as_one_everywhere():
    network, image = tiny("appearance_context"), example().image
    local, context = network.factors(image)
    assert (context - 1).abs().max() < 0.3
    assert local.abs().max() < 0.3


def test_the_loss_is_summed_over_landmarks_and_pixels():
    network, batch = tiny("appearance_context"), example(2, (24, 32))
    batch.visible[1, 2] = False
    output = torch.rand(2, 3, 24, 32, generator=torch.Generator().manual_seed(0))
    y, x = np.mgrid[:24, :32]
    expected = 0.0
    for image, landmark in np.ndindex(2, 3):
        at_x, at_y = batch.landmarks[image, landmark].tolist()
        truth = np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / (2 * network.config.sigma_px**2))
        truth *= bool(batch.visible[image, landmark])
        expected += ((output[image, landmark].numpy() - truth) ** 2).sum() / 2
    assert network.loss(output, batch)[0].item() == pytest.approx(expected, rel=1e-5)


def test_a_gaussian_is_decoded_between_pixels_with_its_height():
    y, x = torch.arange(40.0)[:, None], torch.arange(50.0)
    maps = 0.8 * torch.exp(-((x - 20.3) ** 2 + (y - 11.8) ** 2) / 50)
    points, confidence = tiny("appearance_context").decode(maps[None, None])
    assert points[0, 0].tolist() == pytest.approx([20.3, 11.8], abs=1e-3)
    assert confidence.item() == pytest.approx(0.8, abs=0.01)


def test_the_centre_of_a_map_is_read_off_where_asked_for():
    y, x = torch.arange(40.0)[:, None], torch.arange(50.0)
    one, other = (torch.exp(-((x - 24.0) ** 2 + (y - at) ** 2) / 8) for at in (10.0, 30.0))
    settings = TINY["appearance_context"] | {"read_off": "centre"}
    points, confidence = Network(Config(**settings), 1).decode((one + 0.999 * other)[None, None])
    assert points[0, 0].tolist() == pytest.approx([24, 20], abs=0.02)
    assert confidence.item() == pytest.approx(1, abs=1e-3)


def test_a_scaled_image_is_decoded_in_px_of_the_whole():
    settings = TINY["appearance_context"] | {"stride": 2}
    network, batch = Network(Config(**settings), 3).eval(), example(1, (53, 61))
    assert network(batch.image).shape == (1, 3, 27, 31)
    maps = belief_maps(batch.landmarks, batch.visible, (53, 61), 2, 3.0)
    assert network.loss(maps, batch)[0] == 0
    assert torch.allclose(network.decode(maps)[0], batch.landmarks, atol=1e-3)


def test_a_batch_gives_what_its_images_give_alone():
    network, image = tiny("appearance_context").eval(), example(3, (37, 45)).image
    together = network(image)
    for index in range(3):
        assert torch.allclose(network(image[index : index + 1])[0], together[index], atol=1e-5)
