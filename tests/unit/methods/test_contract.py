"""What every method owes the loop; methods particular to a paper are tested beside this file."""

import pytest
import torch

from raymark import methods
from raymark.core.errors import InputError
from raymark.methods.base import build, padded, standardised
from tests.unit.methods.examples import example, tiny
from tests.unit.training.examples import TINY

every_method = pytest.mark.parametrize("name", methods.names())


def test_every_method_has_a_tiny_example():
    assert sorted(TINY) == methods.names()


@every_method
@pytest.mark.parametrize("shape_yx", [(64, 64), (52, 60), (33, 47)])
def test_any_image_size_gives_points_and_finite_losses(name, shape_yx):
    network, batch = tiny(name), example(2, shape_yx)
    output = network(batch.image)
    points, confidence = network.decode(output)
    assert points.shape == (2, 3, 2)
    assert confidence.shape == (2, 3)
    assert torch.isfinite(points).all()
    loss, parts = network.loss(output, batch)
    assert loss.ndim == 0
    assert torch.isfinite(torch.stack([loss, *parts.values()])).all()
    assert sum(parts.values()).item() == pytest.approx(loss.item(), rel=1e-5)


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
