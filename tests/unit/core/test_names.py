import pytest

from raymark.core.names import readable, side_of


@pytest.mark.parametrize(
    ("name", "text", "side"),
    [
        ("left_asis", "left ASIS", "left"),
        ("t12_superior_right", "T12 superior right", "right"),
        ("coccyx_tip", "coccyx tip", ""),
        ("cleft_tip", "cleft tip", ""),
    ],
)
def test_names(name, text, side):
    assert readable(name) == text
    assert side_of(name) == side
