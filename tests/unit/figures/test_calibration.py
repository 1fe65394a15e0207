from pathlib import Path

import numpy as np
import pandas as pd

from raymark.config.project import read_project
from raymark.figures.calibration import FIGURE, GROUPS, calibration, files_by_title

ROOT = Path(__file__).parents[3]


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


def test_there_is_a_figure_only_where_a_method_says_what_errors_to_expect(monkeypatch):
    """In the demo LandmarkNet, which finds instances of types, is alone on the kV images, not on the MV ones."""
    monkeypatch.chdir(ROOT)
    project = read_project("config/config.yaml")
    drawn = {dataset for dataset, _ in FIGURE.of(project)}
    assert {"pelvis", "chest_mv"} <= drawn
    assert "chest_kv" not in drawn
    assert project.methods["landmarknet"].title not in files_by_title(
        project, "chest_mv", "novel_0"
    )
