import numpy as np

from raymark.figures.setup_errors import setup_errors


def test_views_that_were_not_registered_never_count(pages):
    setup_errors({"a": np.array([1.0, np.nan, 3.0]), "b": np.full(3, np.nan)}, [2.0], "stem")
    first, second, limit = pages[0].axes[0].lines
    assert list(first.get_xdata()) == [0, 1, 3]
    np.testing.assert_allclose(first.get_ydata(), [0, 100 / 3, 200 / 3])
    assert list(second.get_ydata()) == [0]
    assert list(limit.get_xdata()) == [2, 2]
