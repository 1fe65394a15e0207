"""How an X-ray looks changes; what is where does not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raymark.config.method import Augmentation
from raymark.core.seeds import generator
from raymark.training.appearance import draw_look, seen_as

SHAPE_YX = (96, 72)
AS_IT_IS = draw_look(Augmentation(), generator("as it is"))


def spot(x_px: float, y_px: float, sigma_px: float = 2.0) -> torch.Tensor:
    y, x = np.mgrid[: SHAPE_YX[0], : SHAPE_YX[1]]
    spot = np.exp(-((x - x_px) ** 2 + (y - y_px) ** 2) / (2 * sigma_px**2))
    return torch.tensor(spot, dtype=torch.float32)[None, None]


def test_nothing_asked_for_changes_nothing():
    image = spot(30, 40)
    assert torch.equal(seen_as(image, [AS_IT_IS]), image)


@given(blur_px=st.floats(0.5, 3), x=st.floats(25, 45), y=st.floats(30, 60))
def test_a_blur_adds_its_variance_and_moves_nothing(blur_px, x, y):
    image = seen_as(spot(x, y), [replace(AS_IT_IS, blur_px=blur_px)])[0, 0].double().numpy()
    rows, columns = np.mgrid[: SHAPE_YX[0], : SHAPE_YX[1]]
    at_x, at_y = ((image * place).sum() / image.sum() for place in (columns, rows))
    assert (at_x, at_y) == pytest.approx((x, y), abs=0.02)
    variance = (image * (columns - at_x) ** 2).sum() / image.sum()
    assert variance == pytest.approx(4 + blur_px**2, rel=0.06)  # a Gaussian cut off at 3 deviations


def test_slow_changes_are_evened_out_and_fast_ones_stay():
    ramp = torch.linspace(0, 10, SHAPE_YX[0])[None, None, :, None].expand(1, 1, *SHAPE_YX)
    image = seen_as(ramp + spot(36, 48, 1.0), [replace(AS_IT_IS, evened=1.0)])[0, 0]
    inner = image[16:-16, 5]
    assert (inner.max() - inner.min()) < 0.1  # it was 6.6
    assert image[48, 36] - image[48, 5] == pytest.approx(1, abs=0.1)
    half = seen_as(ramp, [replace(AS_IT_IS, evened=0.5)])[0, 0, 16:-16, 5]
    assert half[-1] - half[0] == pytest.approx(10 * 63 / 95 / 2, abs=0.05)


def test_an_inverted_image_is_its_negative():
    image = spot(30, 40)
    assert torch.equal(seen_as(image, [replace(AS_IT_IS, inverted=True)]), -image)


def test_letters_and_edges_cover_what_they_say_and_nothing_else():
    covers = np.array([[0, 0, 0.25, 1, 0.0], [0.5, 0.5, 0.75, 0.75, 1.0]])
    image = spot(30, 40) + 0.5
    seen = seen_as(image, [replace(AS_IT_IS, covers=covers)])[0, 0]
    assert (seen[:, :18] == image.min()).all()
    assert (seen[48:72, 36:54] == image.max()).all()
    assert torch.equal(seen[:48, 18:], image[0, 0, :48, 18:])


def test_looks_depend_on_their_generator_alone_and_each_image_has_its_own():
    config = Augmentation(
        evened=0.8,
        blur_px=2,
        inversion_probability=0.5,
        letter_probability=0.5,
        collimation_probability=0.5,
    )
    looks = [draw_look(config, generator("look", number)) for number in range(12)]
    again = [draw_look(config, generator("look", number)) for number in range(12)]
    images = torch.cat([spot(20 + number, 40) for number in range(12)])
    seen = seen_as(images, looks)
    assert torch.equal(seen, seen_as(images, again))
    for number, look in enumerate(looks):
        alone = seen_as(images[number : number + 1], [look])
        assert torch.allclose(alone, seen[number : number + 1], atol=1e-6)
    for chosen in ([look.inverted for look in looks], [len(look.covers) > 0 for look in looks]):
        assert 0 < sum(chosen) < 12
