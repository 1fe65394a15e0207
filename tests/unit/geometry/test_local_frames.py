"""Local frames against similarities known beforehand, in NumPy's complex numbers."""

import numpy as np
import pytest
import torch

from raymark.geometry.local_frames import (
    SCALES,
    STIFFNESS,
    inverse_frame,
    local_frames,
    nearness,
    turned,
)

SHAPE = torch.tensor(np.random.default_rng(0).uniform(0, 100, (12, 2)))


def as_complex(vectors: torch.Tensor) -> np.ndarray:
    return vectors.numpy() @ [1, 1j]


def as_vectors(numbers: np.ndarray) -> torch.Tensor:
    return torch.tensor(np.stack([numbers.real, numbers.imag], axis=-1))


def test_turning_is_complex_multiplication_and_its_inverse_undoes_it():
    by = torch.tensor([0.5, -1.5], dtype=torch.float64)
    product = as_complex(SHAPE) * (0.5 - 1.5j)
    np.testing.assert_allclose(as_complex(turned(SHAPE, by)), product)
    np.testing.assert_allclose(turned(turned(SHAPE, by), inverse_frame(by)), SHAPE)


@pytest.mark.parametrize("turn", [1.0 + 0j, np.exp(0.4j), 1.3 * np.exp(-1.2j)])
def test_a_turned_and_scaled_anatomy_is_found_wherever_it_lies(turn):
    points = as_vectors(turn * as_complex(SHAPE) + (40 - 7j))[None]
    near, seen = nearness(SHAPE, 4), torch.ones(1, 12, dtype=torch.bool)
    found = as_complex(local_frames(SHAPE, points, near, seen)[0])
    assert np.abs(found - turn).max() <= 3 * STIFFNESS * abs(turn - 1) + 1e-9


def test_least_squares_against_a_formula_written_for_one_landmark():
    random = np.random.default_rng(1)
    points = SHAPE + torch.tensor(random.normal(0, 8, SHAPE.shape))
    seen = torch.tensor(random.uniform(size=12) < 0.7)
    near = nearness(SHAPE, 4)
    found = as_complex(local_frames(SHAPE, points[None], near, seen[None])[0])
    m, g = as_complex(SHAPE), as_complex(points)
    for number in range(12):
        weights = near[number].numpy() * seen.numpy()
        pull = STIFFNESS * (near[number].numpy() * np.abs(m - m[number]) ** 2).sum()
        m0, g0 = (v - (weights * v).sum() / weights.sum() for v in (m, g))
        both = (weights * m0.conj() * g0).sum() + pull
        assert found[number] == pytest.approx(both / ((weights * np.abs(m0) ** 2).sum() + pull))


def test_two_parts_that_turn_apart_have_frames_of_their_own():
    part = as_complex(SHAPE[:6])
    shape = np.r_[part, part + 2000]
    points = as_vectors(np.r_[part * np.exp(0.5j), (part + 2000) * np.exp(-0.5j)])
    near = nearness(as_vectors(shape), 5)
    seen = torch.ones(1, 12, dtype=torch.bool)
    angle = np.angle(as_complex(local_frames(as_vectors(shape), points[None], near, seen)[0]))
    np.testing.assert_allclose(angle, np.repeat([0.5, -0.5], 6), atol=0.03)


def test_where_nothing_tells_the_mean_shape_stands():
    near = nearness(SHAPE, 4)
    none = torch.zeros(1, 12, dtype=torch.bool)
    one = torch.tensor([1.0, 0.0], dtype=torch.float64).expand(1, 12, 2)
    assert torch.equal(local_frames(SHAPE, 3 * SHAPE[None], near, none), one)
    single = nearness(SHAPE[:1], 4)
    assert torch.equal(local_frames(SHAPE[:1], SHAPE[None, :1], single, ~none[:, :1]), one[:, :1])


def test_scales_that_no_anatomy_has_are_cut_off():
    seen = torch.ones(1, 12, dtype=torch.bool)
    for factor, kept in ((0.0, SCALES[0]), (9.0, SCALES[1])):
        found = local_frames(SHAPE, factor * SHAPE[None], nearness(SHAPE, 4), seen)
        np.testing.assert_allclose(found.norm(dim=-1), kept, rtol=1e-9)


def test_a_landmark_without_a_place_in_the_shape_counts_for_none():
    holed = SHAPE.clone()
    holed[3] = torch.nan
    near = nearness(holed, 4)
    assert (near[3] == 0).all()
    assert (near[:, 3] == 0).all()
    others = [n for n in range(12) if n != 3]
    torch.testing.assert_close(near[others][:, others], nearness(SHAPE[others], 4))
