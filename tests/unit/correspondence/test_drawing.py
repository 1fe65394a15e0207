import numpy as np

from raymark.correspondence.drawing import place_colours


def test_colours_tell_places_apart():
    corners = np.array([[0, 0], [99, 0], [0, 49], [99, 49]], dtype=float)
    colours = place_colours(corners, (50, 100))
    apart = np.linalg.norm(colours[:, None] - colours[None], axis=-1)
    assert apart[~np.eye(4, dtype=bool)].min() > 0.4
    middle = place_colours(np.array([[49.5, 24.5]]), (50, 100))[0]
    np.testing.assert_allclose(middle, colours.mean(axis=0))
