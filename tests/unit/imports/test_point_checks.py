"""Chains whose members are named in another order, or marked twice: told, image by image."""

import numpy as np
import pytest
from PIL import Image

from raymark.core.errors import InputError
from raymark.imports.write import import_2d
from tests.unit.imports.examples import settings, write_table

LEVELS = ("t10", "t11", "t12", "l1", "l2", "l3")
TYPES = {side: [f"{level}_{side}" for level in LEVELS] for side in ("right", "left")}
FAULTS = {
    "x2.png": (lambda y: np.roll(y, -1), "l3_right lies 5 times as far from l2_right"),
    "x4.png": (lambda y: np.where(y == y[3], y[2], y), "l1_right and t12_right lie in one place"),
}


def write_spines(count: int = 9) -> None:
    """Write images of six vertebrae each, one patient each; FAULTS in some."""
    rows, random = [], np.random.default_rng(0)
    for number in range(count):
        image = f"x{number}.png"
        Image.fromarray(np.uint8(random.uniform(0, 255, (140, 70)))).save(f"images/{image}")
        y = 15 + np.cumsum(random.uniform(17, 21, len(LEVELS)))
        y = FAULTS[image][0](y) if image in FAULTS else y
        x = 35 + random.uniform(-2, 2, len(LEVELS))
        for side, shift in (("right", -9), ("left", 9)):
            for level, at_x, at_y in zip(LEVELS, x, y, strict=True):
                rows.append([image, f"{level}_{side}", at_x + shift, at_y, f"p{number}"])
    write_table("points.csv", ["image", "landmark", "x_px", "y_px", "patient"], rows)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    write_spines()


def test_members_in_another_order_and_marked_twice_are_told(folder, capsys):
    table = import_2d(settings(types=TYPES), "own.yaml").set_index("file")
    told = capsys.readouterr().err
    for image, (_, words) in FAULTS.items():
        assert words in table.loc[image, "doubts"]
        assert f"{image}: {words}" in told
    assert (table.drop(index=list(FAULTS))["doubts"] == "").all()


def test_without_types_nothing_is_known_of_a_chain(folder):
    assert (import_2d(settings(), "own.yaml")["doubts"] == "").all()


def test_what_is_not_trained_on_leaves_the_training_images_alone(folder):
    whole = import_2d(settings(types=TYPES), "own.yaml").set_index("file")["view_set"]
    faulty = {"x2.png", "x4.png", *whole.index[whole == "test"]}
    chosen = settings(types=TYPES, not_trained_on=sorted(faulty))
    left = import_2d(chosen, "own.yaml").set_index("file")["view_set"]
    gone = {image for image in faulty if whole[image] == "train"}
    assert gone
    assert set(left.index) == set(whole.index) - gone
    assert (left == whole[left.index]).all()


def test_images_that_are_not_annotated_are_told(folder, capsys):
    import_2d(settings(not_trained_on=["x98.png", "x99.png"]), "own.yaml")
    assert "not_trained_on: x98.png and 1 more are not annotated" in capsys.readouterr().err
    import_2d(settings(not_trained_on=["x99.png"], split={"kind": "whole"}), "own.yaml")
    assert "x99.png" not in capsys.readouterr().err  # nothing is trained on


@pytest.mark.parametrize(
    ("types", "told"),
    [({"right": ["t10_rigth"]}, "types: 't10_rigth' is not a landmark"),
     ({"a": ["t10_right"], "b": ["t10_right"]}, "types: 't10_right' is in two types")],
)  # fmt: skip
def test_types_of_other_landmarks_are_refused(folder, types, told):
    with pytest.raises(InputError, match=told):
        import_2d(settings(types=types), "own.yaml")
