import numpy as np
import pytest
import torch

from raymark import methods
from raymark.beliefs import belief_shape, cell_to_px
from raymark.errors import InputError
from raymark.loading import batches
from raymark.methods.base import build, padded, standardised
from raymark.methods.cpm import Config as CpmConfig
from raymark.methods.cpm import Network as Cpm
from raymark.methods.unet import Config as UnetConfig
from raymark.methods.unet import Network as Unet
from raymark.methods.unet import discs
from tests.unit.training_examples import TINY, Blobs

every_method = pytest.mark.parametrize("name", methods.names())


def example(count=2, shape_yx=(52, 60)):
    return next(batches(Blobs(count, shape_yx), [np.arange(count)], torch.device("cpu")))


def tiny(name, seed=0):
    return build(name, TINY[name], 3, seed, "test")


def test_every_method_has_a_tiny_example():
    assert sorted(TINY) == methods.names()


@every_method
@pytest.mark.parametrize("shape_yx", [(64, 64), (52, 60), (33, 47)])
def test_any_image_size_gives_points_and_finite_losses(name, shape_yx):
    network, batch = tiny(name), example(2, shape_yx)
    output = network(batch.image)
    assert output.shape[-2:] == belief_shape(shape_yx, network.stride)
    points, confidence = network.decode(output)
    assert points.shape == (2, 3, 2)
    assert confidence.shape == (2, 3)
    assert torch.isfinite(points).all()
    loss, parts = network.loss(output, batch)
    assert loss.ndim == 0
    assert torch.isfinite(torch.stack([loss, *parts.values()])).all()
    assert sum(parts.values()).item() == pytest.approx(loss.item(), rel=1e-5)


@every_method
def test_the_loss_of_the_true_points_is_lower_than_of_others(name):
    """Images answer to their own landmarks: the loss sees x and y in the right order and place."""
    network, batch = tiny(name), example(1)
    truth = torch.zeros_like(network(batch.image))
    rows, columns = truth.shape[-2:]
    cell = torch.arange(rows)[:, None] * network.stride, torch.arange(columns) * network.stride
    for landmark, (x, y) in enumerate(batch.landmarks[0]):
        near = torch.exp(-((cell[1] - x) ** 2 + (cell[0] - y) ** 2) / 50)
        truth[..., landmark, :, :] = near if name == "cpm" else 20 * near - 10
    swapped = truth.flip(-3)
    assert network.loss(truth, batch)[0] < 0.5 * network.loss(swapped, batch)[0]


@every_method
def test_gradients_are_finite_in_half_precision_and_reach_every_weight(name):
    network, batch = tiny(name), example()
    with torch.autocast("cpu", torch.bfloat16):
        output = network(batch.image)
    loss, _ = network.loss(output, batch)
    assert loss.dtype == torch.float32
    loss.backward()
    for parameter_name, parameter in network.named_parameters():
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


@every_method
def test_initialisation_follows_its_seed_and_leaves_the_global_state_alone(name):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again, other = (tiny(name, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@every_method
def test_untrained_beliefs_are_near_zero(name):
    network = tiny(name)
    _, confidence = network.decode(network(standardised(example().image)))
    assert confidence.abs().max() < 0.2


def test_unknown_methods_and_keys_are_refused():
    with pytest.raises(InputError, match=r"Known: .*cpm"):
        build("resnet", {}, 3, 0, "config/methods/x.yaml")
    with pytest.raises(InputError, match=r"x\.yaml.*'stagess' is unknown.*stages"):
        build("cpm", {"stagess": 3}, 3, 0, "config/methods/x.yaml")
    with pytest.raises(InputError, match="stride 8 needs a depth of 3"):
        build("unet", {"depth": 2, "stride": 8}, 3, 0, "config/methods/x.yaml")


def test_standardised_images_have_no_scale_of_their_own():
    image = example().image
    assert torch.allclose(standardised(image * 40 - 7), standardised(image), atol=1e-4)
    assert standardised(image)[1].mean().item() == pytest.approx(0, abs=1e-5)
    assert standardised(image)[1].std(correction=0).item() == pytest.approx(1, abs=1e-5)
    assert torch.equal(standardised(torch.full((1, 1, 4, 4), 3.0)), torch.zeros(1, 1, 4, 4))


def test_padding_goes_right_and_below():
    image = torch.ones(1, 1, 5, 9)
    assert padded(image, 8).shape == (1, 1, 8, 16)
    assert padded(image, 8)[..., :5, :9].sum() == padded(image, 8).sum() == 45


# Convolutional pose machine


def reach(stage, stages=2):
    """Pixels (rows, columns) of the input that the middle cell of `stage` depends on."""
    config = CpmConfig(stages=stages, features=3, shared=3, hidden=3, refinement=3)
    torch.manual_seed(0)
    network = Cpm(config, 2)
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
        network = Cpm(CpmConfig(stages=stages, features=4, shared=4, hidden=4, refinement=4), 3)
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


# U-Net


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
    network = Unet(UnetConfig(depth=2, channels=2, stride=2), 1)
    logits = torch.full((1, 1, 10, 12), -4.0)
    logits[0, 0, 3, 7] = 2.0
    points, confidence = network.decode(logits)
    assert points[0, 0].tolist() == [14.5, 6.5]
    assert confidence.item() == pytest.approx(1 / (1 + np.exp(-2.0)))
