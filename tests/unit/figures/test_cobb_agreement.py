import numpy as np
import pandas as pd

from raymark.figures.cobb_agreement import cobb_agreement
from raymark.metrics.cobb import ANGLES, true_columns


def test_angles_that_agree_lie_on_the_line_of_identity(pages):
    true = pd.DataFrame([[30.0, 10, 5], [50, 20, 0]], columns=true_columns())
    agree = true.set_axis(ANGLES, axis=1)
    cobb_agreement({"A": pd.concat([agree, true], axis=1).assign(view=["a", "b"])}, "stem")
    (axes,) = pages[0].axes
    for line in axes.lines:
        np.testing.assert_array_equal(line.get_xdata(), line.get_ydata())
    assert len(axes.lines) == 4
    assert axes.texts[0].get_text() == "n = 2 images\nSMAPE 0.0 %"


def test_images_without_angles_are_counted(pages):
    true = pd.DataFrame([[30.0, 10, 5], [50, 20, 0]], columns=true_columns())
    found = pd.DataFrame([[28.0, 14, 5], [np.nan] * 3], columns=ANGLES)
    cobb_agreement({"A": pd.concat([found, true], axis=1).assign(view=["a", "b"])}, "stem")
    assert pages[0].axes[0].texts[0].get_text().endswith("1 without angles")
