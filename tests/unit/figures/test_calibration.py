import numpy as np
import pandas as pd

from raymark.figures.calibration import GROUPS, calibration


def test_methods_that_err_as_they_say_lie_on_the_line(pages):
    random = np.random.default_rng(0)
    expected = random.uniform(1, 20, 6000)
    error = random.rayleigh(expected / np.sqrt(np.pi / 2))
    honest = pd.DataFrame({"error_px": error, "expected_px": expected, "most_px": 1.953 * expected})
    calibration({"Honest": honest, "Too sure": honest.assign(error_px=3 * error)}, "stem")
    errors, shares = pages[0].axes
    for lines, over, within in ((0, 1, 95), (1, 3, 28)):
        x, y = errors.lines[lines].get_data()
        assert len(x) == GROUPS
        assert np.allclose(y / x, over, rtol=0.05)
        assert np.allclose(shares.lines[lines].get_ydata(), within, atol=3)
    assert list(errors.lines[2].get_xdata()) == list(errors.lines[2].get_ydata())


def test_points_of_one_expected_error_are_one_group(pages):
    same = pd.DataFrame({"error_px": [1.0, 3.0], "expected_px": [2.0, 2.0], "most_px": [4.0, 4.0]})
    calibration({"One": same}, "stem")
    assert pages[0].axes[0].lines[0].get_ydata().tolist() == [2.0]


def test_without_any_such_method_the_figure_says_so(pages):
    calibration({}, "stem")
    assert "no method" in pages[0].texts[0].get_text()
