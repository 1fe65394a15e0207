"""What confidence is taken to mean, against errors whose distribution is known."""

import numpy as np
import pytest
import torch

from raymark.training.calibration import Calibration, calibrated, laid_onto
from raymark.training.model_files import load_model
from raymark.training.train import train
from tests.unit.training.examples import Blobs, method

SHAPE = np.array([[20.0, 30.0], [80.0, 34.0], [50.0, 90.0], [60.0, 60.0]])
WORSE = np.array([1.0, 1.0, 3.0, 1.0])  # how much worse each landmark is found


def images(count: int, seed: int = 0, sure=(0.2, 1.0)):
    """Predictions whose error falls with their confidence (Rayleigh, of scale 8 - 7 c px), and the truth."""
    random = np.random.default_rng(seed)
    turn = np.exp(
        random.uniform(-0.1, 0.1, (count, 1)) + 1j * random.uniform(-0.1, 0.1, (count, 1))
    )
    points = turn * (SHAPE @ [1, 1j]) + random.uniform(-9, 9, (count, 1))
    truth = np.stack([points.real, points.imag], axis=-1)
    confidence = random.uniform(*sure, (count, 4))
    scale = (8 - 7 * confidence) * WORSE
    return truth + random.normal(0, 1, truth.shape) * scale[..., None], confidence, truth


def test_expected_errors_and_those_that_few_exceed_are_those_of_new_images():
    calibration = Calibration.learned(*images(4000))
    points, confidence, truth = images(4000, seed=1)
    error = np.linalg.norm(points - truth, axis=-1)
    expected, most = calibration.errors_px(confidence, np.arange(4))
    mean = np.sqrt(np.pi / 2) * (8 - 7 * confidence) * WORSE
    assert np.abs(expected / mean - 1).mean() < 0.15
    for landmark in range(4):
        assert error[:, landmark].mean() == pytest.approx(expected[:, landmark].mean(), rel=0.05)
        assert (error <= most)[:, landmark].mean() == pytest.approx(0.95, abs=0.02)


def test_errors_never_rise_with_confidence():
    calibration = Calibration.learned(*images(30, seed=2))
    rising = np.linspace(0, 1, 50)[:, None] * np.ones(4)
    for errors in calibration.errors_px(rising, np.arange(4)):
        assert (np.diff(errors, axis=0) <= 1e-9).all()
        assert (errors > 0).all()


def unlike(points, confidence, calibration) -> np.ndarray:
    return np.array(
        [bool(calibration.unlike(*image)) for image in zip(points, confidence, strict=True)]
    )


def test_images_like_the_others_are_taken_and_others_are_told():
    calibration = Calibration.learned(*images(100))
    points, confidence, _ = images(2000, seed=3)
    assert unlike(points, confidence, calibration).mean() <= 0.02
    upside_down = -points
    random = np.random.default_rng(4).uniform(0, 100, points.shape)
    assert unlike(upside_down, confidence, calibration).all()
    assert unlike(3 * points, confidence, calibration).all()
    assert unlike(points[..., ::-1], confidence, calibration).mean() >= 0.95  # a mirror image
    assert unlike(random, confidence, calibration).mean() >= 0.95
    assert unlike(points, 0.1 * confidence, calibration).all()
    assert "turned by" in calibration.unlike(upside_down[0], confidence[0])[0]


def test_landmarks_that_are_not_shown_teach_nothing_and_too_few_images_nothing_at_all():
    points, confidence, truth = images(200)
    truth[::2, 1] = np.nan
    points[::2, 1] += 500
    shown = Calibration.learned(points, confidence, truth)
    assert shown.factors[1] == pytest.approx(shown.factors[0], rel=0.3)
    assert Calibration.learned(points[:2], confidence[:2], truth[:2]) is None
    few = Calibration.learned(*images(6))
    assert few.limits is None
    assert few.unlike(points[0], confidence[0]) == []


def test_a_shape_is_laid_onto_its_own_image_exactly():
    turned = 2 * SHAPE @ np.array([[0.0, 1.0], [-1.0, 0.0]]) + 7
    turn_deg, size, away = laid_onto(SHAPE, np.ones(4), turned[None])
    assert (turn_deg[0], size[0]) == pytest.approx((90, 2))
    assert away[0] == pytest.approx(0, abs=1e-9)


def test_a_training_ends_with_it_and_the_file_keeps_it(tmp_path):
    path = train(method("unet", epochs=3), Blobs(12), Blobs(12, seed=1), tmp_path, 0)
    network, model = load_model(path)
    again = calibrated(network, Blobs(12, seed=1))
    assert model.calibration == again
    assert len(again.factors) == 3
    assert not torch.is_grad_enabled() or network.training is False
