import numpy as np
import pytest
import torch

from raymark.geometry.belief_maps import belief_shape, cell_to_px
from raymark.methods.base import standardised
from raymark.methods.deeplabv3 import AtrousPyramid, Config, Network
from tests.unit.methods.examples import example, tiny, true_maps


@pytest.fixture(scope="module")
def paper():
    with torch.device("meta"):  # shapes and counts alone: nothing is computed
        return Network(Config(), 2)


def test_the_output_stride_is_16_from_the_third_stage_on(paper):
    sizes = []
    for module in (*paper.stages, paper.pyramid):
        module.register_forward_hook(lambda _m, _i, out: sizes.append(tuple(out.shape[1:])))
    output = paper(torch.empty(1, 1, 384, 384, device="meta"))
    assert sizes == [(256, 96, 96), (512, 48, 48), (1024, 24, 24), (2048, 24, 24), (256, 24, 24)]
    assert output.shape == (1, 2, 96, 96)


def test_backbone_has_resnet_50s_parameters(paper):
    counted = sum(p.numel() for m in (paper.stem, paper.stages) for p in m.parameters())
    assert counted == 23_508_032 - 2 * 64 * 7 * 7  # one grey channel instead of three


def test_dilation_rates_are_the_papers(paper):
    middle = [[block.layers[3] for block in stage] for stage in paper.stages]
    assert [[c.dilation for c in stage] for stage in middle[:3]] == [
        [(1, 1)] * blocks for blocks in (3, 4, 6)
    ]
    assert [c.dilation for c in middle[3]] == [(2, 2), (4, 4), (8, 8)]
    branches = [branch[0] for branch in paper.pyramid.branches]
    assert [(c.kernel_size[0], c.dilation[0]) for c in branches] == [
        (1, 1),
        (3, 6),
        (3, 12),
        (3, 18),
    ]
    assert paper.pyramid.merge[0].weight.shape == (256, 5 * 256, 1, 1)


def test_each_branch_reads_the_cells_its_rate_says():
    torch.manual_seed(0)
    pyramid = AtrousPyramid(2, 8, (6, 12, 18))
    for branch, rate in zip(pyramid.branches, (0, 6, 12, 18), strict=True):
        features = torch.rand(1, 2, 41, 41, requires_grad=True)
        middle = branch[0](features)[0, :, 20, 20].sum()
        gradient = torch.autograd.grad(middle, features)[0][0].abs().sum(0)
        read = {(y - 20, x - 20) for y, x in gradient.nonzero().tolist()}
        assert read == {(y, x) for y in (-rate, 0, rate) for x in (-rate, 0, rate)}


def test_the_images_mean_stands_beside_the_branches_at_every_cell():
    torch.manual_seed(0)
    pyramid = AtrousPyramid(4, 16, (6,))
    seen = []
    pyramid.merge.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0][0, 32:]))
    features = torch.rand(1, 4, 5, 7)
    pyramid(features)
    pyramid(features.flip(-1, -2))
    features[:, 0] += 1
    pyramid(features)
    before, flipped, brighter = seen
    assert before.shape == (16, 5, 7)
    assert torch.equal(before, before[:, :1, :1].expand_as(before))
    assert torch.allclose(before, flipped, atol=1e-5)
    assert not torch.allclose(before, brighter, atol=1e-2)


@pytest.mark.parametrize("stride", [1, 2, 4, 8, 16])
def test_maps_have_the_stated_stride(stride):
    network = Network(
        Config(stride=stride, blocks=(1, 1, 1), atrous=(2,), rates=(2,), width=8, pooled=8), 3
    )
    assert network.stride == stride
    output = network(example(1, (33, 47)).image)
    assert output.shape == (1, 3, *belief_shape((33, 47), stride))


def test_loss_against_its_formula():
    network, batch = tiny("deeplabv3"), example(2, (24, 30))
    batch.visible[0, 2] = False
    output = torch.rand(2, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    expected = 0.0
    for image, landmark, row, column in np.ndindex(output.shape):
        x, y = batch.landmarks[image, landmark].tolist()
        off = np.hypot(cell_to_px(column, 4) - x, cell_to_px(row, 4) - y)
        truth = np.exp(-(off**2) / (2 * network.config.sigma_px**2))
        truth *= bool(batch.visible[image, landmark])
        expected += (output[image, landmark, row, column].item() - truth) ** 2 / 6
    loss, parts = network.loss(output, batch)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert parts == {"heat_maps": loss}


def test_a_gaussian_is_decoded_between_cells():
    y, x = torch.meshgrid(torch.arange(10.0), torch.arange(12.0), indexing="ij")
    maps = 0.7 * torch.exp(-((x - 5.3) ** 2 + (y - 3.6) ** 2) / 4)
    points, confidence = tiny("deeplabv3").decode(maps[None, None])
    assert points[0, 0].tolist() == pytest.approx([4 * 5.3 + 1.5, 4 * 3.6 + 1.5], abs=1e-3)
    assert confidence.item() == pytest.approx(maps.max().item())


def test_the_loss_of_the_true_points_is_lower_than_of_others():
    network, batch = tiny("deeplabv3"), example(1)
    truth = true_maps(batch, network.stride, network(batch.image).shape)
    assert network.loss(truth, batch)[0] < 0.5 * network.loss(truth.flip(-3), batch)[0]


def test_untrained_maps_are_near_zero():
    network = tiny("deeplabv3")
    _, confidence = network.decode(network(standardised(example().image)))
    assert confidence.abs().max() < 0.2
