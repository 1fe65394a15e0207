from raymark.figures.contrast import contrast, telling_row
from tests.unit.radiotherapy.test_contrast import scene


def test_the_figure_shows_the_row_without_metal_where_bone_varies(tmp_path):
    view = scene()
    assert 15 <= telling_row(view) < 25
    view.g_per_cm2_myx[2, 15:20, 3] = 1.0
    assert 20 <= telling_row(view) < 25  # past the metal
    view.g_per_cm2_myx[2, :, 3] = 1.0
    assert 15 <= telling_row(view) < 25  # there is no way past it
    contrast(view, {"kv": "kV", "mv": "6 MV"}, tmp_path / "contrast")
    assert (tmp_path / "contrast.png").stat().st_size > 10_000
