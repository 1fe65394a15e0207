import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raymark import decoding
from raymark.beliefs import belief_maps, cell_to_px

SHAPE_YX = (96, 120)
STRIDES = st.sampled_from([1, 2, 4, 8])


def gaussian(x_px, y_px, stride, sigma_cells):
    points = torch.tensor([[x_px, y_px]], dtype=torch.float64)
    return belief_maps(points, torch.tensor([True]), SHAPE_YX, stride, sigma_cells * stride)


@given(x=st.floats(20, 100), y=st.floats(20, 75), stride=STRIDES, sigma=st.floats(0.7, 4))
def test_log_quadratic_finds_the_centre_of_any_gaussian(x, y, stride, sigma):
    maps = gaussian(x, y, stride, sigma)
    cell = decoding.refined_log_quadratic(maps, decoding.maximum(maps)[0])
    assert cell_to_px(cell[0], stride).numpy() == pytest.approx([x, y], abs=1e-4 * stride)


@given(x=st.floats(20, 100), y=st.floats(20, 75), stride=STRIDES)
def test_maximum_is_the_nearest_cell_and_quarter_halves_its_error(x, y, stride):
    maps = gaussian(x, y, stride, 1.5)
    cell, value = decoding.maximum(maps)
    error = np.abs(cell_to_px(cell[0], stride).numpy() - [x, y])
    assert (error <= stride * (0.5 + 1e-6)).all()
    assert value.item() == pytest.approx(np.exp(-(error**2).sum() / (2 * (1.5 * stride) ** 2)))
    quarter = cell_to_px(decoding.refined_quarter(maps, cell)[0], stride).numpy()
    assert (np.abs(quarter - [x, y]) <= stride * (0.25 + 1e-6)).all()


@given(x=st.floats(40, 80), y=st.floats(40, 55), stride=st.sampled_from([1, 2]))
def test_soft_argmax_is_the_mean_of_a_gaussian(x, y, stride):
    logits = gaussian(x, y, stride, 2.0).log()
    found = cell_to_px(decoding.soft_argmax(logits)[0], stride).numpy()
    assert found == pytest.approx([x, y], abs=1e-4)


def test_a_cold_soft_argmax_is_the_maximum():
    maps = torch.rand(5, 3, 7, 9, generator=torch.Generator().manual_seed(1)).double()
    cold = decoding.soft_argmax(maps, temperature=1e-4)
    assert cold.numpy() == pytest.approx(decoding.maximum(maps)[0].numpy(), abs=1e-2)


def test_soft_argmax_has_the_gradient_of_finite_differences():
    logits = torch.rand(1, 4, 5, generator=torch.Generator().manual_seed(2)).double()
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: decoding.soft_argmax(z, 0.7), [logits])


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 3), (5, 7), (2, 7)])
def test_a_maximum_at_the_border_stays_on_its_border(row, column):
    maps = torch.full((1, 6, 8), 0.1)
    maps[0, row, column] = 1.0
    refined = decoding.refined_log_quadratic(maps, decoding.maximum(maps)[0])
    assert refined[0].tolist() == pytest.approx([column, row], abs=1e-6)


@pytest.mark.parametrize("value", [0.0, -1.0, 0.5])
def test_flat_maps_give_the_first_cell_and_no_nan(value):
    maps = torch.full((1, 6, 8), value)
    cell, confidence = decoding.maximum(maps)
    assert cell[0].tolist() == [0, 0]
    assert confidence.item() == value
    assert decoding.refined_log_quadratic(maps, cell)[0].tolist() == [0, 0]


def test_each_map_of_a_batch_is_decoded_by_itself():
    maps = torch.rand(2, 3, 6, 8, generator=torch.Generator().manual_seed(3))
    together = decoding.refined_log_quadratic(maps, decoding.maximum(maps)[0])
    for b, landmark in np.ndindex(2, 3):
        alone = maps[b, landmark]
        row, column = np.unravel_index(int(alone.argmax()), alone.shape)
        assert decoding.maximum(alone)[0].tolist() == [column, row]
        single = decoding.refined_log_quadratic(alone, decoding.maximum(alone)[0])
        assert together[b, landmark].tolist() == single.tolist()
