import numpy as np
import pytest

from raymark.figures.belief_error import belief_error


def test_the_line_is_the_median_error_at_each_confidence(pages, errors):
    """Errors that are what the confidence says: the line lies on them."""
    confidence = np.linspace(0.05, 0.95, len(errors))
    exact = errors.assign(confidence=confidence, error_px=np.exp(-confidence), visible=True)
    belief_error(exact, 0.4, "stem")
    line, threshold = pages[0].axes[0].lines
    np.testing.assert_allclose(line.get_ydata(), np.exp(-line.get_xdata()), rtol=0.01)
    assert threshold.get_xdata() == [0.4, 0.4]
    assert "rank correlation −1.00" in line.get_label()


@pytest.mark.parametrize("confidence", [0.0, 1.0])
def test_one_confidence_alone_is_drawn_too(errors, confidence, tmp_path):
    belief_error(errors.assign(confidence=confidence), 0.4, tmp_path / "belief")
    assert (tmp_path / "belief.png").stat().st_size > 1000
