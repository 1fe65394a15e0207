import numpy as np
import pytest
import torch

from raymark.geometry.belief_maps import cell_to_px
from raymark.methods.base import standardised
from raymark.methods.landmarknet import LEVEL_STRIDES, Config, Maps, Network
from tests.unit.methods.examples import example, tiny, true_maps


@pytest.fixture(scope="module")
def paper():
    with torch.device("meta"):  # shapes and counts alone: nothing is computed
        return Network(Config(), 2)


def shapes_of(modules, network, shape):
    """Return what each module gives for an image of `shape`."""
    seen = []
    hooks = [m.register_forward_hook(lambda _m, _i, out: seen.append(out.shape)) for m in modules]
    network(torch.empty(shape, device="meta"))
    for hook in hooks:
        hook.remove()
    return [tuple(shape) for shape in seen]


def test_stages_are_table_1(paper):
    assert [len(stage) for stage in paper.stages] == [3, 4, 6, 3]
    assert shapes_of(paper.stages, paper, (1, 1, 480, 480)) == [
        (1, 256, 120, 120),
        (1, 512, 60, 60),
        (1, 1024, 30, 30),
        (1, 2048, 15, 15),
    ]
    widths = [block.layers[3].weight.shape[:2] for stage in paper.stages for block in stage]
    assert widths == [(w, w) for w, n in [(64, 3), (128, 4), (256, 6), (512, 3)] for _ in range(n)]


def test_backbone_has_resnet_50s_parameters(paper):
    colours = 2 * 64 * 7 * 7  # that one sees three channels
    counted = sum(p.numel() for m in (paper.stem, paper.stages) for p in m.parameters())
    assert counted == 23_508_032 - colours


def test_pyramids_and_output_have_the_papers_sizes(paper):
    shape = (3, 1, 384, 384)
    sizes = [96, 48, 24, 12]
    lateral = shapes_of(paper.lateral, paper, shape)
    assert sorted(lateral) == sorted((3, 256, size, size) for size in sizes)
    assert shapes_of(paper.connections, paper, shape) == [(3, 128, s, s) for s in sizes]
    assert paper.head[0].weight.shape == (128, 512, 3, 3)
    assert paper.head[-1].weight.shape == (2, 128, 1, 1)
    maps = paper(torch.empty(shape, device="meta"))
    assert maps.final.shape == (3, 2, 384, 384)
    assert [level.shape for level in maps.levels] == [(3, 2, s, s) for s in sizes]


def test_the_second_pyramid_lays_the_levels_side_by_side():
    network = tiny("landmarknet")
    for number, connection in enumerate(network.connections):
        connection.register_forward_hook(lambda _m, _i, out, n=number: torch.full_like(out, n))
    levels = [torch.zeros(1, network.config.pyramid, 64 // s, 64 // s) for s in LEVEL_STRIDES]
    merged = network._second_pyramid(levels)
    channels = network.config.detection
    assert merged.shape == (1, 4 * channels, 64, 64)
    assert merged[0, :, 5, 60].tolist() == [n for n in range(4) for _ in range(channels)]


def test_coarse_features_reach_every_finer_level():
    network = tiny("landmarknet")
    levels = network._first_pyramid(example(1).image[..., :32, :32])
    for level in levels:
        weight = network.lateral[3].weight  # of the coarsest level
        gradient = torch.autograd.grad(level.square().sum(), weight, retain_graph=True)[0]
        assert gradient.abs().sum() > 0
    finest = torch.autograd.grad(
        levels[1].sum(), network.lateral[0].weight, allow_unused=True, retain_graph=True
    )[0]
    assert finest is None  # the path leads down only


def test_each_level_is_supervised_by_its_own_part():
    network, batch = tiny("landmarknet"), example()
    _, parts = network.loss(network(batch.image), batch)
    heads = {f"level{n}": head.weight for n, head in enumerate(network.supervised, start=1)}
    weights = [*heads.values(), network.head[-1].weight, network.gate[-1].weight]
    names = [*heads, "final", "final"]
    assert sorted(parts) == sorted(set(names))
    for part, loss in parts.items():
        gradients = torch.autograd.grad(loss, weights, allow_unused=True, retain_graph=True)
        reached = {n for n, g in zip(names, gradients, strict=True) if g is not None and g.any()}
        assert reached == {part}


def test_without_its_head_only_that_level_changes():
    network, batch = tiny("landmarknet"), example()
    _, before = network.loss(network(batch.image), batch)
    with torch.no_grad():
        network.supervised[2].weight.zero_()
    _, after = network.loss(network(batch.image), batch)
    assert {part for part in before if before[part] != after[part]} == {"level3"}


def test_loss_against_its_formula():
    network, batch = tiny("landmarknet"), example(2, (40, 33))
    batch.visible[1, 0] = False
    random = torch.Generator().manual_seed(0)
    sizes = [(40, 33), (10, 9), (5, 5), (3, 3), (2, 2)]
    maps = [torch.rand(2, 3, *size, generator=random) for size in sizes]
    _, parts = network.loss(Maps(maps[0], maps[1:]), batch)
    sigmas_px = [network.config.sigma_px]
    sigmas_px += [network.config.level_sigma_cells * stride for stride in LEVEL_STRIDES]
    for name, values, stride, sigma in zip(
        parts, maps, (1, *LEVEL_STRIDES), sigmas_px, strict=True
    ):
        expected = 0.0
        for image, landmark, row, column in np.ndindex(values.shape):
            x, y = batch.landmarks[image, landmark].tolist()
            off = np.hypot(cell_to_px(column, stride) - x, cell_to_px(row, stride) - y)
            truth = np.exp(-(off**2) / (2 * sigma**2)) * bool(batch.visible[image, landmark])
            expected += (values[image, landmark, row, column].item() - truth) ** 2 / 6
        assert parts[name].item() == pytest.approx(expected, rel=1e-5), name


def set_gate(network, bias):
    """Make the gate's logits `bias`, whatever the image."""
    with torch.no_grad():
        network.gate[-1].weight.zero_()
        network.gate[-1].bias.copy_(torch.tensor(bias))


def test_the_gate_scales_each_landmarks_map_by_its_own_sigmoid():
    network, image = tiny("landmarknet"), example().image
    set_gate(network, [100.0, 100.0, 100.0])
    ungated = network(image).final
    assert ungated.abs().max() > 0
    set_gate(network, [0.0, 0.0, 0.0])
    assert torch.allclose(network(image).final, 0.5 * ungated)
    set_gate(network, [100.0, -200.0, np.log(1 / 3)])
    gated = network(image).final
    assert torch.equal(gated[:, 0], ungated[:, 0])
    assert not gated[:, 1].any()
    assert torch.allclose(gated[:, 2], 0.25 * ungated[:, 2])


def test_the_gate_leaves_the_levels_alone_and_depends_on_the_image():
    network, batch = tiny("landmarknet"), example()
    weights = []
    network.gate.register_forward_hook(lambda _m, _i, out: weights.append(out))
    before = network(batch.image)
    assert weights[0].shape == (2, 3)
    assert not torch.allclose(weights[0][0], weights[0][1])
    set_gate(network, [-3.0, 0.0, 3.0])
    after = network(batch.image)
    assert all(torch.equal(a, b) for a, b in zip(before.levels, after.levels, strict=True))


def test_the_final_map_is_decoded_between_cells():
    network = tiny("landmarknet")
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(50.0), indexing="ij")
    final = 0.8 * torch.exp(-((x - 20.3) ** 2 + (y - 11.6) ** 2) / 18)
    maps = Maps(final[None, None], [torch.rand(1, 1, 10, 13)])
    points, confidence = network.decode(maps)
    assert points[0, 0].tolist() == pytest.approx([20.3, 11.6], abs=1e-3)
    assert confidence.item() == pytest.approx(final.max().item())


def test_the_loss_of_the_true_points_is_lower_than_of_others():
    network, batch = tiny("landmarknet"), example(1)
    output = network(batch.image)
    truth = Maps(
        true_maps(batch, network.stride, output.final.shape),
        [
            true_maps(batch, stride, level.shape)
            for stride, level in zip(LEVEL_STRIDES, output.levels, strict=True)
        ],
    )
    swapped = Maps(truth.final.flip(1), [level.flip(1) for level in truth.levels])
    assert network.loss(truth, batch)[0] < 0.8 * network.loss(swapped, batch)[0]


def test_untrained_maps_are_near_zero():
    network = tiny("landmarknet")
    _, confidence = network.decode(network(standardised(example().image)))
    assert confidence.abs().max() < 0.2
