import numpy as np
import pytest

from raymark.figures.belief_stages import Example, belief_stages


@pytest.mark.parametrize("count", [0, 3])
def test_the_figure_is_drawn_with_and_without_examples(count, tmp_path):
    random = np.random.default_rng(0)
    image = random.normal(3, 1, (40, 60)).astype(np.float16)
    examples = [
        Example("left_asis", "AP", image, random.uniform(0, 1, (3, 5, 8)), 8,
                random.uniform(0, 40, (3, 2)), None if row else np.array([20.0, 30.0]))
        for row in range(count)
    ]  # fmt: skip
    belief_stages(examples, np.array([20.0, 5, 4]), 100, tmp_path / "stages")
    assert (tmp_path / "stages.png").stat().st_size > 2000
