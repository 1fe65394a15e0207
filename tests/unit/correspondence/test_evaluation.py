import numpy as np

from raymark.correspondence.evaluation import _rows
from raymark.correspondence.pairs import Affine, Transformation


def test_error_is_the_distance_to_the_projected_point():
    transformation = Transformation(Affine(2 * np.eye(2), np.zeros(2)))
    points1, points2 = np.array([[10.0, 10.0], [4.0, 9.0]]), np.array([[5.0, 5.0], [2.0, 3.0]])
    table = _rows({"subject": "p"}, (points1, points2), transformation)
    assert table["error_mm"].tolist() == [0.0, 3.0]
    nothing = _rows({"subject": "p"}, (points1[:0], points2[:0]), transformation)
    assert nothing["subject"].tolist() == ["p"]
    assert nothing["error_mm"].isna().all()
