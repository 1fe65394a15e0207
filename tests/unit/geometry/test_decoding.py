import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raymark.geometry import decoding
from raymark.geometry.belief_maps import belief_maps, cell_to_px
from raymark.tables import decoder_bias

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


def test_local_centroid_is_exact_on_a_peak_inside_its_window():
    """A tent one cell wide is shared by its four nearest cells as their distances are."""
    x, y = 7.3, 4.6
    along_x = (1 - (torch.arange(20) - x).abs()).clamp_min(0)
    along_y = (1 - (torch.arange(12) - y).abs()).clamp_min(0)
    maps = (along_y[:, None] * along_x)[None]
    found = decoding.refined_centroid(maps, decoding.maximum(maps)[0])
    assert found[0].tolist() == pytest.approx([x, y], abs=1e-5)


def test_local_centroid_takes_no_notice_of_what_is_outside_its_window_or_below_zero():
    maps = gaussian(50, 40, 1, 1.0)
    maps[..., 70:, 90:] = 0.9
    maps[..., 40, 52] = -3.0
    maps[..., 40, 48] = 0.0
    cell = decoding.maximum(maps)[0]
    assert decoding.refined_centroid(maps, cell)[0].tolist() == pytest.approx([50, 40], abs=1e-9)
    assert decoding.refined_centroid(torch.zeros(1, 5, 5), torch.zeros(1, 2)).tolist() == [[0, 0]]


@pytest.mark.parametrize("name", decoding.DECODERS)
def test_every_decoder_finds_a_symmetric_peak_and_is_sure_of_it(name):
    cell, confidence = decoding.DECODERS[name](gaussian(50, 40, 1, 1.2))
    assert cell[0].tolist() == pytest.approx([50, 40], abs=1e-6)
    assert 0.9 < confidence.item() <= 1.0 + 1e-9


def test_soft_argmax_between_two_peaks_is_not_sure():
    two = gaussian(30, 40, 1, 1.2) + gaussian(90, 40, 1, 1.2)
    cell, confidence = decoding.DECODERS["soft-argmax"](two)
    assert cell[0].tolist() == pytest.approx([60, 40], abs=1e-6)
    assert confidence.item() < 1e-6


def test_mass_about_is_the_share_of_cells_of_a_flat_map():
    share = decoding.mass_about(torch.zeros(1, 11, 11), torch.full((1, 2), 5.0), radius_cells=1.0)
    assert share.item() == pytest.approx(5 / 121)


def random_maps(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)).double()


@given(seed=st.integers(0, 10**6), distance=st.floats(0, 8), count=st.integers(1, 40))
def test_peaks_are_local_maxima_apart_sorted_and_complete(seed, distance, count):
    """Against the definition written as loops over cells."""
    maps = (random_maps(seed, 9, 11) * 6).round() / 6  # with ties
    cells, values = decoding.peaks(maps, count, distance, threshold=0.3)
    expected = []
    bordered = np.pad(maps.numpy(), 1, constant_values=-1)
    order = sorted(np.ndindex(9, 11), key=lambda c: (-maps[c], c))
    for row, column in order:
        value = maps[row, column]
        highest = bordered[row : row + 3, column : column + 3].max()
        apart = all(np.hypot(row - r, column - c) >= distance for r, c in expected)
        if value >= max(highest, 0.3) and apart and len(expected) < count:
            expected.append((row, column))
    found = len(expected)
    assert cells[:found].int().tolist() == [[c, r] for r, c in expected]
    assert values[:found].tolist() == [maps[c].item() for c in expected]
    assert cells[found:].isnan().all()
    assert (values[found:] == 0).all()


def test_peaks_of_a_batch_are_those_of_each_map_and_can_be_refined():
    truth = torch.tensor([[20.3, 30.8], [80.6, 61.2], [50.0, 10.4]], dtype=torch.float64)
    maps = belief_maps(truth, torch.ones(3, dtype=torch.bool), SHAPE_YX, 1, 2.0)
    both = torch.stack([maps.sum(0), maps[0]])[None]  # one map with three peaks, one with one
    cells, values = decoding.peaks(both, 3, 5.0, 0.1)
    assert cells.shape == (1, 2, 3, 2)
    assert (values > 0).tolist() == [[[True, True, True], [True, False, False]]]
    for refine in (decoding.refined_log_quadratic, decoding.refined_quarter):
        refined = refine(both[..., None, :, :], cells)
        assert refined[0, 1, 1:].isnan().all()
        for place in truth:
            assert (refined[0, 0] - place).norm(dim=-1).min() < 0.5
    exact = decoding.refined_log_quadratic(both[..., None, :, :], cells)
    assert (exact[0, 1, 0] - truth[0]).norm() < 1e-6


def test_the_table_of_biases_agrees_with_theory():
    """The maximum's error is the distance to the nearest centre: 0.383 cells on average."""
    table = decoder_bias.table()
    frame = table.frame.set_index("decoder")
    assert list(frame.index) == list(decoding.DECODERS)
    offsets = np.hypot(*np.meshgrid(*[(np.arange(16) + 0.5) / 16 - 0.5] * 2))
    for stride in (1, 2, 4, 8):
        row = frame[f"mean_{stride}_px"]
        assert row["maximum"] == pytest.approx(offsets.mean() * stride)
        assert frame[f"worst_{stride}_px"]["maximum"] == pytest.approx(offsets.max() * stride)
        assert frame[f"worst_{stride}_px"]["log-quadratic"] < 1e-6
        assert row["log-quadratic"] < row["quarter offset"] < row["maximum"]
        assert row["local centroid"] < row["maximum"]
    assert len(table.cells()) == len(decoding.DECODERS)


def test_centre_of_squares_is_exact_on_one_gaussian_and_between_two():
    one, other = gaussian(40.5, 30.25, 2, 2.0), gaussian(40.5, 62.25, 2, 2.0)
    assert cell_to_px(decoding.centre_of_squares(one), 2).flatten().tolist() == pytest.approx(
        [40.5, 30.25], abs=1e-6
    )
    both = cell_to_px(decoding.centre_of_squares(one + 0.5 * other), 2)
    assert both.flatten().tolist() == pytest.approx([40.5, 30.25 + 0.2 * 32], abs=1e-3)
    below = decoding.centre_of_squares(one - 0.1 * (one < 1e-9))
    assert torch.allclose(below, decoding.centre_of_squares(one), atol=1e-6)
    assert decoding.centre_of_squares(torch.zeros(2, 5, 5)).tolist() == [[0, 0], [0, 0]]
