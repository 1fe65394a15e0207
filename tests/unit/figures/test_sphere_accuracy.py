import numpy as np

from raymark.figures.sphere_accuracy import sphere_accuracy

WITHIN = {"within 15 px": 15.0, "within 4 px": 4.0}


def test_a_map_has_the_share_of_a_view_s_detections_that_are_near(errors, pages):
    sphere_accuracy(errors, WITHIN, "stem")
    found = errors[errors["detected"]]  # one that is not on the image is never right
    for axes, limit_px in zip(pages[0].axes, WITHIN.values(), strict=False):
        near = (found["error_px"] < limit_px) & found["visible"]
        near = near.groupby([found["secondary_deg"], found["primary_deg"]])
        shown = np.ma.masked_invalid(axes.collections[0].get_array()).reshape(7, 9)
        np.testing.assert_allclose(shown, 100 * near.mean().unstack())


def test_nothing_detected_is_drawn_too(errors, tmp_path):
    sphere_accuracy(errors.assign(detected=False), WITHIN, tmp_path / "sphere")
    assert (tmp_path / "sphere.png").stat().st_size > 1000


def test_scattered_and_few_views_are_drawn_too(errors, tmp_path):
    rng = np.random.default_rng(1)
    few = errors[errors["view"].isin(errors["view"].unique()[:7])]
    place = {view: rng.uniform(-40, 40, 2) for view in few["view"].unique()}
    few = few.assign(
        primary_deg=[place[view][0] for view in few["view"]],
        secondary_deg=[place[view][1] for view in few["view"]],
    )
    sphere_accuracy(few, WITHIN, tmp_path / "sphere")
    assert (tmp_path / "sphere.png").stat().st_size > 1000
