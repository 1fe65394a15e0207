import numpy as np
import pytest
import torch

from raymark.geometry.belief_maps import cell_to_px
from raymark.methods.base import standardised
from raymark.methods.cpm import Config, Network
from tests.unit.methods.examples import example, tiny, true_maps


def reach(stage, stages=2):
    """Pixels (rows, columns) of the input that the middle cell of `stage` depends on."""
    config = Config(stages=stages, features=3, shared=3, hidden=3, refinement=3)
    torch.manual_seed(0)
    network = Network(config, 2)
    for name, weight in network.named_parameters():
        torch.nn.init.constant_(weight, 0.01) if "weight" in name else None
    seen = torch.zeros(640, 640, dtype=torch.bool)
    for _ in range(6):  # each image takes another way through the pooling
        image = torch.rand(1, 1, 640, 640).requires_grad_()
        belief = network(image)[0, stage, 0, 40, 40]
        seen |= torch.autograd.grad(belief, image)[0][0, 0] != 0
    rows, columns = seen.any(1).nonzero(), seen.any(0).nonzero()
    return (rows[-1] - rows[0] + 1).item(), (columns[-1] - columns[0] + 1).item()


def test_receptive_field_is_the_papers():
    assert reach(stage=0, stages=1) == (160, 160)
    # The features' 96 px of x′ and the beliefs' 160 px, widened by three kernels of 11 cells.
    assert reach(stage=1) == (160 + 3 * 10 * 8,) * 2


def test_the_loss_is_summed_over_stages_landmarks_and_cells():
    network, batch = tiny("cpm"), example(2, (24, 32))
    output = torch.rand(2, 5, 3, 3, 4, generator=torch.Generator().manual_seed(0))
    expected = 0.0
    for image, stage, landmark, row, column in np.ndindex(output.shape):
        x, y = batch.landmarks[image, landmark].tolist()
        centre_x, centre_y = 8 * column + 3.5, 8 * row + 3.5
        sigma = network.config.sigma_px
        belief = np.exp(-((centre_x - x) ** 2 + (centre_y - y) ** 2) / (2 * sigma**2))
        expected += (output[image, stage, landmark, row, column].item() - belief) ** 2 / 2
    loss, parts = network.loss(output, batch)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert len(parts) == 5


def test_an_unseen_landmark_is_taught_an_empty_map():
    network, batch = tiny("cpm"), example(1)
    batch.visible[:] = False
    assert network.loss(torch.zeros(1, 2, 3, 7, 8), batch)[0] == 0


def test_stages_are_averaged_before_the_maximum():
    beliefs = torch.zeros(1, 3, 1, 9, 9)
    beliefs[0, 0, 0, 2, 2] = 1.0  # the highest of all, in one stage only
    beliefs[0, 1:, 0, 5, 6] = 0.9
    points, confidence = tiny("cpm").decode(beliefs)
    assert points[0, 0].tolist() == pytest.approx([cell_to_px(6, 8), cell_to_px(5, 8)])
    assert confidence.item() == pytest.approx(0.6)


def test_image_features_are_shared_by_the_later_stages():
    def weights(stages):
        network = Network(Config(stages=stages, features=4, shared=4, hidden=4, refinement=4), 3)
        shared = sum(p.numel() for p in network.shared.parameters()) if network.shared else 0
        return shared, sum(p.numel() for p in network.parameters())

    (shared_2, total_2), (shared_3, total_3), (shared_6, total_6) = map(weights, (2, 3, 6))
    assert shared_2 == shared_3 == shared_6 > 0
    assert total_6 - total_3 == 3 * (total_3 - total_2)
    convolutions = 4 * 7 * 121 + 2 * 4 * 4 * 121 + 4 * 4 + 4 * 3
    assert total_3 - total_2 == convolutions + 4 * 4 + 3


def test_later_stages_see_the_beliefs_before_them():
    network, image = tiny("cpm"), example(1).image
    before = network(image)
    with torch.no_grad():
        network.first[-1].bias += 1.0
    after = network(image)
    assert not torch.allclose(after[:, 1], before[:, 1])


def test_the_loss_of_the_true_points_is_lower_than_of_others():
    network, batch = tiny("cpm"), example(1)
    truth = true_maps(batch, network.stride, network(batch.image).shape)
    assert network.loss(truth, batch)[0] < 0.5 * network.loss(truth.flip(-3), batch)[0]


def test_untrained_beliefs_are_near_zero():
    network = tiny("cpm")
    _, confidence = network.decode(network(standardised(example().image)))
    assert confidence.abs().max() < 0.2
