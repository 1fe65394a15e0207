import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from raymark.geometry.belief_maps import cell_to_px
from raymark.methods.base import standardised
from raymark.methods.prm import Config, Network, Pyramid, Residual, subsampled
from tests.unit.methods.examples import example, tiny, true_maps


@pytest.fixture(scope="module")
def paper():
    with torch.device("meta"):  # shapes and counts alone: nothing is computed
        return Network(Config(), 16)


def test_the_network_is_eight_hourglasses_of_pyramid_residual_modules(paper):
    assert len(paper.hourglasses) == len(paper.heads) == 8
    assert paper(torch.empty(1, 1, 256, 256, device="meta")).shape == (1, 8, 16, 64, 64)
    units = [module for module in paper.modules() if isinstance(module, Residual)]
    # Per hourglass: three modules at each of the two finest levels and one at the next; all else,
    # at 8x8 cells and fewer, are plain residual units.
    assert sum(unit.pyramid is not None for unit in units) == 3 + 8 * 7
    assert sum(unit.pyramid is None for unit in units) == 8 * 6


def test_every_module_has_four_branches_down_to_half_the_resolution(paper):
    pyramids = [module for module in paper.modules() if isinstance(module, Pyramid)]
    for pyramid in pyramids:
        assert pyramid.ratios == pytest.approx([2 ** -(c / 4) for c in (1, 2, 3, 4)])
        assert len(pyramid.branches) == 4
    widths = [pyramid.branches[0].weight.shape for pyramid in pyramids]
    assert widths[:3] == [(14, 14, 3, 3), (14, 14, 3, 3), (28, 28, 3, 3)]
    assert set(widths[3:]) == {(28, 28, 3, 3)}
    assert {pyramid.expand[-1].weight.shape for pyramid in pyramids[3:]} == {(128, 28, 1, 1)}


def test_branches_see_one_shared_input_at_their_own_scales():
    pyramid = Pyramid(inputs=6, narrow=4, outputs=5, levels=4)
    shared, sizes = [], []
    pyramid.reduce.register_forward_hook(lambda _m, _i, out: shared.append(out))
    for branch in pyramid.branches:
        branch.register_forward_hook(lambda _m, i, _o: sizes.append(tuple(i[0].shape[-2:])))
    assert pyramid(torch.rand(1, 6, 64, 48)).shape == (1, 5, 64, 48)
    assert len(shared) == 1
    assert sizes == [(54, 41), (46, 34), (39, 29), (32, 24)]


def test_subsampling_to_half_is_max_pooling():
    maps = torch.rand(2, 3, 8, 12)
    assert torch.equal(subsampled(maps, 0.5), F.max_pool2d(maps, 2))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 32])
def test_subsampling_misses_no_cell_and_keeps_places(size):
    for ratio in (0.5, 2**-0.75, 2**-0.5, 2**-0.25, 1.0):
        count = math.ceil(size * ratio)
        seen = subsampled(torch.eye(size)[:, None], ratio)  # a row each, one cell lit
        assert seen.shape == (size, 1, count)
        assert seen.amax((1, 2)).tolist() == [1.0] * size
        for cell in range(count):
            lit = seen[:, 0, cell].nonzero().float().mean().item()
            assert abs(lit - ((cell + 0.5) * size / count - 0.5)) <= 0.5 + 1e-6


def test_a_module_is_its_bottleneck_plus_its_pyramid():
    torch.manual_seed(0)
    unit, features = Residual(16, 16, Config(features=16, narrowing=2)), torch.rand(1, 16, 8, 8)
    active = unit.before(features)
    expected = features + unit.after(unit.bottleneck(active) + unit.pyramid(active))
    assert torch.allclose(unit(features), expected)
    with_pyramid = unit(features)
    torch.nn.init.zeros_(unit.pyramid.expand[-1].weight)
    plain = unit(features)
    assert not torch.allclose(plain, with_pyramid)
    unit.pyramid = None
    assert torch.allclose(unit(features), plain)


def test_the_lower_branch_ends_without_an_identity(paper):
    hourglass = paper.hourglasses[0][0]
    assert hourglass.beside.shortcut is None
    assert hourglass.below[1].shortcut is None
    assert hourglass.below[-1].shortcut.weight.shape == (256, 256, 1, 1)


def test_weights_are_drawn_for_the_number_of_branches():
    torch.manual_seed(0)
    pyramid = Pyramid(inputs=256, narrow=200, outputs=128, levels=4)
    variances = {  # 4 / (branches in x weights in + branches out x weights out), section 3.4
        pyramid.reduce[0]: 4 / (256 + 4 * 200),
        pyramid.branches[0]: 4 / (9 * (200 + 200)),
        pyramid.expand[-1]: 4 / (4 * 200 + 128),
    }
    for convolution, variance in variances.items():
        assert convolution.weight.var().item() == pytest.approx(variance, rel=0.03)


def test_every_stack_is_supervised():
    network, batch = tiny("prm"), example()
    _, parts = network.loss(network(batch.image), batch)
    assert list(parts) == ["stack1", "stack2"]
    heads = [head.weight for head in network.heads]
    first = torch.autograd.grad(parts["stack1"], heads, allow_unused=True, retain_graph=True)
    assert first[0].any()
    assert not first[1].any()
    second = torch.autograd.grad(parts["stack2"], heads)  # the first maps are seen by the second
    assert second[0].any()
    assert second[1].any()


def test_loss_against_its_formula():
    network, batch = tiny("prm"), example(2, (24, 30))
    batch.visible[0, 2] = False
    output = torch.rand(2, 2, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    expected = 0.0
    for image, stack, landmark, row, column in np.ndindex(output.shape):
        x, y = batch.landmarks[image, landmark].tolist()
        off = np.hypot(cell_to_px(column, 4) - x, cell_to_px(row, 4) - y)
        truth = np.exp(-(off**2) / (2 * network.config.sigma_px**2))
        truth *= bool(batch.visible[image, landmark])
        expected += (output[image, stack, landmark, row, column].item() - truth) ** 2 / 2 / 2
    assert network.loss(output, batch)[0].item() == pytest.approx(expected, rel=1e-5)


def test_the_last_stack_is_decoded():
    y, x = torch.meshgrid(torch.arange(10.0), torch.arange(12.0), indexing="ij")
    last = 0.7 * torch.exp(-((x - 5.3) ** 2 + (y - 3.6) ** 2) / 4)
    output = torch.stack([torch.rand(10, 12), last])[None, :, None]
    points, confidence = tiny("prm").decode(output)
    assert points[0, 0].tolist() == pytest.approx([4 * 5.3 + 1.5, 4 * 3.6 + 1.5], abs=1e-3)
    assert confidence.item() == pytest.approx(last.max().item())


def test_the_loss_of_the_true_points_is_lower_than_of_others():
    network, batch = tiny("prm"), example(1)
    truth = true_maps(batch, network.stride, network(batch.image).shape)
    assert network.loss(truth, batch)[0] < 0.5 * network.loss(truth.flip(-3), batch)[0]


def test_untrained_maps_are_near_zero():
    network = tiny("prm")
    _, confidence = network.decode(network(standardised(example().image)))
    assert confidence.abs().max() < 0.2
