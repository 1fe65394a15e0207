import math
from pathlib import Path

import numpy as np
import pytest
import torch

from raymark.config.project import read_method
from raymark.methods.scn import Config, Network
from tests.unit.methods.examples import example, tiny

METHODS = Path(__file__).parents[3] / "config" / "methods"


def convolutions(module):
    return [m for m in module.modules() if isinstance(m, torch.nn.Conv2d)]


def gaussian(point, sigma, shape_yx, total):
    y, x = np.mgrid[: shape_yx[0], : shape_yx[1]]
    away = (x - point[0]) ** 2 + (y - point[1]) ** 2
    return total / (2 * math.pi * sigma**2) * np.exp(-away / (2 * sigma**2))


def test_the_papers_layers():
    network = Network(Config(**read_method(METHODS / "scn.yaml", "paper").network), 19)
    *hidden, output = convolutions(network.local)
    assert [(c.kernel_size, c.out_channels) for c in hidden] == [((3, 3), 128)] * 4 * 3
    assert (output.kernel_size, output.out_channels) == ((3, 3), 19)
    configuration = convolutions(network.configuration)
    assert {c.kernel_size for c in configuration} == {(11, 11)}
    assert [c.in_channels for c in configuration] == [19, 128, 128, 128]
    assert [c.out_channels for c in configuration] == [128, 128, 128, 19]
    assert sum(isinstance(m, torch.nn.Dropout) for m in network.modules()) == 4
    assert {m.p for m in network.modules() if isinstance(m, torch.nn.Dropout)} == {0.5}
    assert network.config == Config()
    local = 9 * 128 * (1 + 11 * 128 + 19) + 12 * 128 + 19
    coarse = 121 * 128 * (2 * 128 + 2 * 19) + 3 * 128 + 19
    assert sum(p.numel() for p in network.parameters()) == local + coarse + 19


def test_the_configuration_works_at_a_sixteenth_of_the_image():
    network, seen = Network(Config(levels=2, channels=2, dropout=0), 2).eval(), []
    network.configuration.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image = torch.rand(1, 1, 64, 96, generator=torch.Generator().manual_seed(0))
    local, _ = network.factors(image)
    means = local.unflatten(-2, (4, 16)).unflatten(-1, (6, 16)).mean((-3, -1))
    assert torch.allclose(seen[0], means, atol=1e-7)


def test_receptive_field_on_the_coarse_map():
    network = Network(Config(channels=2), 1)
    configuration = network.configuration.double()
    for weight in configuration.parameters():
        torch.nn.init.constant_(weight, 0.1)
    coarse = torch.rand(1, 1, 60, 60, dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(configuration(coarse)[0, 0, 30, 30], coarse)
    rows, columns = (gradient[0, 0] != 0).nonzero().unbind(1)
    assert (rows.min(), rows.max()) == (columns.min(), columns.max()) == (10, 50)  # 4 × 10 + 1


def test_the_output_is_the_product_of_local_appearance_and_configuration():
    network, image = tiny("scn").eval(), example().image
    for output in (network.local.output, network.configuration[-1]):
        torch.nn.init.normal_(output.weight, generator=torch.Generator().manual_seed(1))
    local, configuration = network.factors(image)
    assert local.shape == configuration.shape == (2, 3, 52, 60)
    assert torch.equal(network(image), local * configuration)
    assert configuration.abs().max() <= 1
    assert local.abs().max() > 1
    network.local.output.weight.data[1] = 0.0
    changed = network(image)
    assert not changed[:, 1].any()
    assert changed[:, 0].any()
    assert changed[:, 2].any()


def test_heat_maps_are_gaussians_whose_pixels_sum_to_the_scale():
    network = tiny("scn")
    network.log_sigma.data = torch.tensor([1.0, 2.0, 4.0]).log()
    points = torch.tensor([[[40.3, 35.8]] * 3, [[30.0, 41.5]] * 3])
    visible = torch.tensor([[True, True, True], [True, False, True]])
    maps = network.heat_maps(points, visible, (80, 90)).detach()
    for image, landmark in np.ndindex(2, 3):
        expected = gaussian(points[image, landmark].tolist(), 2.0**landmark, (80, 90), 100.0)
        expected *= bool(visible[image, landmark])
        np.testing.assert_allclose(maps[image, landmark], expected, rtol=1e-4, atol=1e-6)
    assert maps[0].sum((-2, -1)).tolist() == pytest.approx([100.0] * 3, rel=1e-3)


def test_the_loss_is_squares_of_errors_deviations_and_kernels():
    network = Network(Config(levels=2, channels=3, configuration_kernel=3), 3)
    batch = example(2, (24, 32))
    batch.visible[1, 2] = False
    network.log_sigma.data = torch.tensor([1.5, 2.0, 3.0]).log()
    output = torch.rand(2, 3, 24, 32, generator=torch.Generator().manual_seed(0))
    errors = deviations = 0.0
    for image, landmark in np.ndindex(2, 3):
        shown, sigma = bool(batch.visible[image, landmark]), (1.5, 2.0, 3.0)[landmark]
        truth = gaussian(batch.landmarks[image, landmark].tolist(), sigma, (24, 32), 100.0)
        errors += ((output[image, landmark].numpy() - shown * truth) ** 2).sum() / 2
        deviations += 5.0 * shown * sigma**2 / 2
    kernels = 5e-4 * sum((c.weight.detach().numpy() ** 2).sum() for c in convolutions(network))
    loss, parts = network.loss(output, batch)
    assert parts["heat_maps"].item() == pytest.approx(errors, rel=1e-5)
    assert parts["sigmas"].item() == pytest.approx(deviations, rel=1e-5)
    assert parts["kernels"].item() == pytest.approx(kernels, rel=1e-5)
    assert loss.item() == pytest.approx(errors + deviations + kernels, rel=1e-5)


@pytest.mark.parametrize("predicted", [1.5, 2.9, 6.0])
def test_the_deviation_moves_towards_that_of_the_prediction(predicted):
    config = Config(levels=1, channels=1, sigma_cells=3, sigma_penalty=0, weight_penalty=0)
    network, batch = Network(config, 3), example(1, (101, 101))
    batch.landmarks[:] = 50.0
    prediction = torch.as_tensor(gaussian((50, 50), predicted, (101, 101), 100.0))
    network.loss(prediction.expand(1, 3, 101, 101), batch)[0].backward()
    # ∫(g_p − g_σ)² = 1/4πσ_p² + 1/4πσ² − 1/π(σ_p² + σ²), derived by ln σ.
    slope = -1 / (2 * math.pi * 9) + 2 * 9 / (math.pi * (predicted**2 + 9) ** 2)
    assert network.log_sigma.grad.tolist() == pytest.approx([1e4 * slope] * 3, rel=1e-3)
    descended = network.log_sigma - 1e-6 * network.log_sigma.grad
    assert ((descended.exp() > 3) == (predicted > 3)).all()


def test_only_a_landmark_that_is_shown_moves_its_deviation():
    network, batch = tiny("scn"), example(2)
    batch.visible[:, 1] = False
    network.loss(network(batch.image), batch)[0].backward()
    gradient = network.log_sigma.grad
    assert torch.isfinite(gradient).all()
    assert gradient[1] == 0
    assert gradient[0] != 0
    assert gradient[2] != 0


def test_confidence_is_the_share_of_the_learned_height():
    network = tiny("scn")
    network.log_sigma.data = torch.tensor([2.0, 3.0, 4.0]).log()
    points = torch.tensor([[[20.3, 11.8], [9.0, 30.0], [33.3, 22.2]]])
    maps = 0.7 * network.heat_maps(points, torch.ones(1, 3, dtype=torch.bool), (40, 50))
    found, confidence = network.decode(maps.detach())
    assert torch.allclose(found, points, atol=1e-3)
    assert torch.allclose(confidence, torch.full((1, 3), 0.7), atol=0.02)
    untrained = network.decode(network(example().image))[1]
    assert untrained.abs().max() < 0.1


def test_a_scaled_image_is_decoded_in_px_of_the_whole():
    config = Config(levels=2, channels=4, configuration_kernel=3, configuration_stride=4, stride=2)
    network, batch = Network(config, 3).eval(), example(1, (53, 61))
    assert network(batch.image).shape == (1, 3, 27, 31)
    points = torch.tensor([[[20.3, 21.8], [30.0, 24.0], [33.3, 22.2]]])
    maps = network.heat_maps(points, batch.visible, (53, 61)).detach()
    assert maps.sum((-2, -1)).flatten().tolist() == pytest.approx([100.0] * 3, rel=0.01)
    assert torch.allclose(network.decode(maps)[0], points, atol=1e-3)


def test_dropout_acts_in_training_alone():
    network, image = (
        Network(Config(levels=2, channels=8, configuration_kernel=3), 2),
        example().image,
    )
    assert not torch.equal(network(image), network(image))
    network.eval()
    assert torch.equal(network(image), network(image))


def test_a_batch_gives_what_its_images_give_alone():
    network, image = tiny("scn").eval(), example(3, (37, 45)).image
    together, _ = network.factors(image)
    for index in range(3):
        alone, _ = network.factors(image[index : index + 1])
        assert torch.allclose(alone[0], together[index], atol=1e-6)
