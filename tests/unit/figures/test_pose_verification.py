import numpy as np

from raymark.figures.pose_verification import edges_of, pose_verification


def test_edges_follow_a_step_and_leave_out_a_slope():
    """A disc on a broad slope with a little noise: the lines lie on its rim, and nowhere else."""
    y, x = np.mgrid[:128, :160]
    from_centre = np.hypot(x - 90, y - 60)
    noise = np.random.default_rng(0).normal(0, 0.01, (128, 160))
    lines = edges_of(0.02 * y + noise + (from_centre < 30))
    points = np.concatenate(lines)
    assert np.abs(np.hypot(*(points - [90, 60]).T) - 30).max() < 2
    assert len(points) > 100


def test_no_pose_to_verify_is_drawn_too(tmp_path):
    pose_verification([], tmp_path / "none")
    assert (tmp_path / "none.png").stat().st_size > 1000
