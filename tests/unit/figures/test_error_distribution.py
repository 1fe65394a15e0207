import numpy as np

from raymark.figures.error_distribution import error_distribution


def test_curves_end_at_the_largest_error_and_what_has_none_is_left_out(pages):
    errors_px = {"A": np.array([4.0, 1, 2, 3]), "B": np.array([1, np.nan]), "C": np.array([np.nan])}
    error_distribution(errors_px, "stem")
    curves, boxes = pages[0].axes
    first, second = curves.lines
    assert (list(first.get_xdata()), list(first.get_ydata())) == ([1, 2, 3, 4], [25, 50, 75, 100])
    assert list(second.get_ydata()) == [100]
    assert [label.get_text() for label in boxes.get_yticklabels()] == ["A", "B"]
