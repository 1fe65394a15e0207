"""What a second stage is trained on: the errors of its first stage, neither more nor less."""

import numpy as np
import pytest
import torch

from raymark.core.seeds import generator
from raymark.methods.base import LandmarkNetwork, build
from raymark.training.guesses import FACTORS, OWN_SHARE, Guesses, measured
from tests.unit.methods.examples import example
from tests.unit.training.examples import TINY

NAN = np.nan
FAR = np.array(np.inf)  # everything is learned from


def drawn(guesses: Guesses, count: int, batch=None) -> tuple[np.ndarray, np.ndarray]:
    batch = example(count) if batch is None else batch
    result = guesses.drawn(batch, (generator("guess", 0, n) for n in range(count)))
    return (result.guess - batch.landmarks).numpy(), result.guess_seen.numpy()


def test_errors_are_those_of_one_view_times_a_factor_and_a_little_of_their_own():
    pattern = np.array([[[40.0, 0.0], [0.0, -40.0], [0.0, 0.0]]])
    errors, _ = drawn(Guesses(pattern, np.ones((1, 3), bool), FAR), 400)
    assert (errors[:, 2] == 0).all()  # never wrong there: no error to draw
    assert (errors[:, 0, 1] == 0).all()
    along = errors[:, 0, 0]
    assert np.abs(along.mean()) < 10
    own_px = OWN_SHARE * 40
    expected = np.sqrt(np.mean(np.linspace(*FACTORS, 1000) ** 2) * 40**2 + own_px**2)
    assert along.std() == pytest.approx(expected, rel=0.1)
    # The errors of a view belong together: what is right here is up there.
    assert np.corrcoef(along, errors[:, 1, 1])[0, 1] < -0.5


def test_a_landmark_that_a_view_does_not_show_takes_the_error_of_another():
    errors = np.array([[[NAN, NAN], [1.0, 1.0]], [[9.0, 9.0], [1.0, 1.0]]])
    found, _ = Guesses(errors, np.ones((2, 2), bool), FAR)._errors(generator("x", 0))
    assert np.abs(found[0]).min() > 0
    alone, _ = Guesses(errors[:1], np.ones((1, 2), bool), FAR)._errors(generator("x", 0))
    assert alone[0].tolist() == [0.0, 0.0]


def test_landmarks_are_missed_as_the_first_stage_misses_them_and_never_seen_where_not_visible():
    guesses = Guesses(np.zeros((1, 3, 2)), np.array([[True, False, True]]), FAR)
    batch = example(4)
    batch.visible[2] = False
    _, seen = drawn(guesses, 4, batch)
    assert seen[[0, 1, 3]].tolist() == [[True, False, True]] * 3
    assert not seen[2].any()


class Shifted(LandmarkNetwork):
    """Finds the truth of one batch, 3 px to the right, and is not sure of the second landmark."""

    def __init__(self, batch):
        super().__init__()
        self.points = batch.landmarks

    def forward(self, image):
        return image

    def decode(self, output):
        confidence = torch.tensor([0.9, 0.1, 0.9]).expand(len(output), 3)
        return self.points + torch.tensor([3.0, 0.0]), confidence


def test_the_first_stage_is_measured_on_visible_landmarks():
    batch = example(4)
    batch.visible[1, 2] = False
    network = build("patches", TINY["patches"], 3, 0, "test")
    network.set_first(Shifted(batch), 0.4)
    guesses = measured(network, [batch])
    expected = np.broadcast_to([3.0, 0.0], (4, 3, 2)).copy()
    expected[1, 2] = np.nan
    np.testing.assert_allclose(guesses.errors_px, expected, atol=1e-4)
    assert guesses.seen.tolist() == [[True, False, True]] * 4
    torch.testing.assert_close(network.shape_px[:2], batch.landmarks[:, :2].mean(0))
    torch.testing.assert_close(network.shape_px[2], batch.landmarks[[0, 2, 3], 2].mean(0))


def test_without_a_first_stage_the_mean_shape_is_what_is_refined():
    batch = example(4)
    network = build("patches", TINY["patches"], 3, 0, "test")
    guesses = measured(network, [batch])
    expected = batch.landmarks.mean(0) - batch.landmarks
    np.testing.assert_allclose(guesses.errors_px, expected, atol=1e-4)
    assert guesses.seen.all()


def test_what_the_first_stage_took_for_something_else_is_neither_learned_nor_counted():
    """Of eleven images one is wrong by 40 px where the others are by 3."""
    batch = example(11)
    first = Shifted(batch)
    first.points = first.points.clone()
    first.points[4] += torch.tensor([40.0, 0.0])
    network = build("patches", TINY["patches"], 3, 0, "test")
    network.set_first(first, 0.4)
    guesses = measured(network, [batch])
    assert np.isnan(guesses.errors_px[4]).all()
    assert np.isfinite(np.delete(guesses.errors_px, 4, axis=0)).all()
    counted = guesses.counted(batch, network.first_guess(batch.image)[0])
    assert not counted.visible[4].any()
    assert counted.visible.sum() == 30
