import numpy as np

from raymark.config.project import read_project
from raymark.figures.pose_verification import draw, edges_of
from raymark.pose.pose_table import read_poses


def test_edges_follow_a_step_and_leave_out_a_slope():
    """A disc on a broad slope with a little noise: the lines lie on its rim, and nowhere else."""
    y, x = np.mgrid[:128, :160]
    from_centre = np.hypot(x - 90, y - 60)
    noise = np.random.default_rng(0).normal(0, 0.01, (128, 160))
    lines = edges_of(0.02 * y + noise + (from_centre < 30))
    points = np.concatenate(lines)
    assert np.abs(np.hypot(*(points - [90, 60]).T) - 30).max() < 2
    assert len(points) > 100


def test_without_a_refined_pose_the_figure_says_so(small, pages, monkeypatch):
    """As where the configuration refines no views, or no view has landmarks enough."""
    monkeypatch.chdir(small)
    poses = read_poses(["results/poses/spine/cpm/0/grid.parquet"])
    robust = poses[poses["solution"] == "robust"]
    monkeypatch.setattr("raymark.pose.pose_table.read_poses", lambda _: robust)
    draw(read_project("config.yaml"), "spine", "cpm", "grid", stem="stem")
    words = [text.get_text() for axes in pages[0].axes for text in axes.texts]
    assert words == ["No view has a refined pose."]
