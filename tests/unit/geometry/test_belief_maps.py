import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raymark.geometry.belief_maps import belief_maps, belief_shape, cell_to_px


def one_map(x_px, y_px, shape_yx=(20, 30), stride=4, sigma_px=5.0, visible=True):
    points = torch.tensor([[x_px, y_px]], dtype=torch.float64)
    return belief_maps(points, torch.tensor([visible]), shape_yx, stride, sigma_px)[0].numpy()


@given(
    x=st.floats(-10, 40),
    y=st.floats(-10, 30),
    stride=st.sampled_from([1, 3, 8]),
    sigma=st.floats(2, 20),
)
def test_every_cell_is_the_gaussian_of_its_centre(x, y, stride, sigma):
    belief = one_map(x, y, stride=stride, sigma_px=sigma)
    for row, column in np.ndindex(belief.shape):
        pixels_x = [p for p in range(stride * column, stride * (column + 1))]
        pixels_y = [p for p in range(stride * row, stride * (row + 1))]
        square = (np.mean(pixels_x) - x) ** 2 + (np.mean(pixels_y) - y) ** 2
        assert belief[row, column] == pytest.approx(np.exp(-square / (2 * sigma**2)), abs=1e-12)


def test_peak_is_one_at_a_cell_centre():
    belief = one_map(cell_to_px(3, 4), cell_to_px(2, 4))
    assert belief[2, 3] == 1.0
    assert belief.max() == 1.0


def test_partial_cells_at_the_border_count():
    assert belief_shape((479, 615), 8) == (60, 77)
    assert belief_shape((480, 616), 8) == (60, 77)
    assert one_map(0, 0, shape_yx=(9, 17), stride=8).shape == (2, 3)


def test_unseen_and_unknown_landmarks_are_empty():
    assert not one_map(10, 10, visible=False).any()
    assert not one_map(np.nan, 10).any()
    assert not one_map(10, np.inf).any()


def test_a_nan_landmark_leaves_no_nan_gradient():
    points = torch.tensor([[np.nan, 3.0], [4.0, 5.0]], requires_grad=True)
    belief_maps(points, torch.tensor([True, True]), (16, 16), 4, 5.0).sum().backward()
    assert torch.isfinite(points.grad).all()
    assert points.grad[1].abs().sum() > 0
