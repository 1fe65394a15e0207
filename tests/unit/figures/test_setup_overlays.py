import numpy as np

from raymark.figures.setup_overlays import Compared, chequerboard, moved_back, setup_overlays


def test_moving_an_image_back_undoes_the_displacement():
    image = np.zeros((20, 30))
    image[8, 17] = 1.0
    assert np.unravel_index(np.nanargmax(moved_back(image, np.array([-5, 3]))), (20, 30)) == (
        11,
        12,
    )
    board = chequerboard(
        np.linspace(0, 1, 600).reshape(20, 30), moved_back(image, np.array([9, 0]))
    )
    assert np.isfinite(board).all()
    assert board.min() >= 0
    assert board.max() <= 1


def test_views_that_were_not_registered_are_drawn_and_say_so(pages):
    rng = np.random.default_rng(0)
    lost = {"none": np.zeros(2), "landmarks": np.full(2, np.nan)}
    errors = {"none": 9.0, "landmarks": np.nan}
    points_px = np.array([[40, 15], [40.5, 22.5], [39.5, 30.5]])
    compared = Compared("displaced by 9 mm", rng.random((40, 48)), rng.random((40, 48)),
                        points_px, points_px, np.array([True, False, True]), lost,
                        errors, 1.6)  # fmt: skip
    columns = {"none": "Before", "landmarks": "By landmarks"}
    setup_overlays([compared, compared], columns, "stem")
    words = [[text.get_text() for text in axes.texts] for axes in pages[0].axes]
    assert words == 2 * [["displaced by 9 mm"], [], ["off by 9.0 mm"], ["not registered"]]
