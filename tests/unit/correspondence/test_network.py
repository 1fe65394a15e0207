import numpy as np
import pytest
import torch
from torch import nn

from raymark.correspondence.config import NetworkConfig
from raymark.correspondence.network import at, build, covered_px, describe, distances, sample

TINY = NetworkConfig(filters=4, normalisation="group")


@pytest.fixture(scope="module")
def papers():
    return build(NetworkConfig(), seed=0)


def test_filters_and_parameters_are_the_papers(papers):
    """A U-Net of Ronneberger et al. with a quarter of the filters, one output; d + 1 for matches."""
    ways_down = [block[0].out_channels for block in papers.encoder]
    assert ways_down == [16, 32, 64, 128, 256]
    # Counted by hand: encoder 1 178 480, decoder 762 320, output 17; match head 384 + 1.
    assert sum(p.numel() for p in papers.parameters()) == 1_940_817 + 385
    assert not any(isinstance(m, nn.GroupNorm) for m in papers.modules())


def test_descriptors_join_the_last_two_blocks(papers):
    with torch.no_grad():
        logits, features = papers(torch.rand(1, 1, 32, 48))
    assert logits.shape == (1, 1, 32, 48)
    assert [tuple(f.shape[1:]) for f in features] == [(128, 4, 6), (256, 2, 3)]
    assert describe(features, torch.tensor([[[3, 5]]]), covered_px(features)).shape == (1, 1, 384)


def test_any_image_size():
    network = build(TINY, 0)
    logits, features = network(torch.rand(2, 1, 37, 50))
    assert logits.shape == (2, 1, 37, 50)
    assert covered_px(features) == (48, 64)


def test_one_landmark_per_cell_the_likeliest_first():
    logits = torch.randn(2, 1, 64, 80)
    points = sample(logits, 30)
    assert points.shape == (2, 30, 2)
    for image in range(2):
        cells = {tuple(p // 8) for p in points[image].numpy()}
        assert len(cells) == 30
        values = at(logits, points)[image, :, 0]
        assert (values.diff() <= 0).all()
        expected = sorted(
            (
                logits[image, 0, 8 * r : 8 * r + 8, 8 * c : 8 * c + 8].max().item()
                for r in range(8)
                for c in range(10)
            ),
            reverse=True,
        )
        np.testing.assert_allclose(values, expected[:30])


def test_four_hundred_landmarks_of_a_512_px_image():
    points = sample(torch.randn(1, 1, 512, 512), 400)
    assert points.shape == (1, 400, 2)
    assert len(torch.unique(points[0] // 8, dim=0)) == 400


def test_all_cells_are_sampled_cut_ones_too():
    points = sample(torch.randn(1, 1, 20, 17))
    assert points.shape == (1, 9, 2)
    assert (points[..., 0] < 17).all()
    assert (points[..., 1] < 20).all()
    assert sample(torch.randn(1, 1, 20, 17), 400).shape == (1, 9, 2)


def test_descriptor_is_interpolated_between_the_centres_of_cells():
    """On maps that are linear in the cells' centres, reading gives the place itself."""
    columns = torch.arange(8, dtype=torch.float32)
    fine = (8 * columns + 3.5).expand(1, 1, 4, 8)
    coarse = (16 * columns[:4] + 7.5).expand(1, 1, 2, 4)
    points = torch.tensor([[[10, 9], [23, 20], [40, 16]]])
    read = describe([fine, coarse, torch.full((1, 1, 2, 4), 100.0)], points, (32, 64))
    places = 100 * read[..., :2] / read[..., 2:]  # undo the unit length
    np.testing.assert_allclose(places, points[..., :1].expand(1, 3, 2), rtol=1e-4)
    np.testing.assert_allclose(read.norm(dim=-1), 1, rtol=1e-6)


def test_match_logits_are_one_linear_layer_on_squared_differences():
    network = build(TINY, 0)
    a, b = torch.rand(2, 5, 96), torch.rand(2, 7, 96)
    expected = network.match((a[:, :, None] - b[:, None]).square())[..., 0]
    np.testing.assert_allclose(
        network.match_logits(a, b).detach(), expected.detach(), rtol=1e-4, atol=1e-5
    )


def test_distances_are_exact_near_zero():
    a = torch.nn.functional.normalize(torch.rand(1, 6, 96), dim=-1)
    assert distances(a, a).diagonal(dim1=1, dim2=2).max() < 1e-6
    expected = (a[:, :, None] - a[:, None]).norm(dim=-1)
    np.testing.assert_allclose(distances(a, a), expected, atol=1e-6)


def test_seed_alone_decides_the_weights():
    first, again, other = (build(TINY, seed).landmark.weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
