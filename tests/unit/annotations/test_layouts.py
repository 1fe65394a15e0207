"""What each layout reads, its units and order, and the mistakes that it names."""

from pathlib import Path

import numpy as np
import pytest

from raymark.annotations import layouts
from raymark.annotations.cephalometric_2015 import Cephalometric2015
from raymark.annotations.csv import PointTable
from raymark.annotations.spine_ap import SpineAp
from raymark.core.errors import InputError

LINES = {"landmarks.csv": "0.1,0.3,0.2,0.4\n0.5,0.7,0.6,0.8\n", "filenames.csv": "b.jpg\na.jpg\n"}
READERS = {"s/1.txt": "1,2\n3,4\n1\n", "s/2.txt": "5,6\n7,8\n", "j/1.txt": "3,6\n3,4\n", "j/2.txt": "5,6\n7,8\n"}  # fmt: skip
POINTS = {"points.csv": "image,landmark,x_px,y_px\na.png,tip,1,2\nb.png,end,7,8\na.png,end,3,4\nb.png,tip,5,6\n"}  # fmt: skip
SPINE = SpineAp(layout="spine-ap", landmarks="landmarks.csv", filenames="filenames.csv")
CHALLENGE = Cephalometric2015(layout="cephalometric-2015", readers=["s", "j"])
TABLE = PointTable(layout="csv", file="points.csv")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file, text in (LINES | READERS | POINTS).items():
        Path(file).parent.mkdir(exist_ok=True)
        Path(file).write_text(text)


@pytest.mark.parametrize("layout", layouts())
def test_a_layout_is_called_what_its_module_is(layout):
    called = layout.model_fields["layout"].annotation.__args__
    assert called == (layout.__module__.split(".")[-1].replace("_", "-"),)


def test_spine_ap_has_all_x_then_all_y_in_shares_and_the_order_of_the_file():
    names, images = SPINE.read(["one", "two"])
    assert names == ["one", "two"]
    assert [(a.image, a.relative) for a in images] == [("b.jpg", True), ("a.jpg", True)]
    assert images[0].points == {"one": (0.1, 0.2), "two": (0.3, 0.4)}


def test_the_challenge_averages_readers_and_leaves_its_classes():
    names, images = CHALLENGE.read(["one", "two"])
    assert [(a.image, a.relative) for a in images] == [("1", False), ("2", False)]
    np.testing.assert_array_equal([images[0].points[name] for name in names], [[2, 4], [3, 4]])


def test_a_table_has_its_names_in_the_order_of_the_first_image():
    names, images = TABLE.read(None)
    assert names == ["tip", "end"]
    assert [a.points for a in images] == [{"tip": (1, 2), "end": (3, 4)}, {"end": (7, 8), "tip": (5, 6)}]  # fmt: skip
    assert TABLE.read(["end", "tip"])[0] == ["end", "tip"]


@pytest.mark.parametrize(
    ("layout", "file", "text", "told"),
    [
        (SPINE, "filenames.csv", "b.jpg\n", "landmarks.csv: has 2 lines, but filenames.csv names 1"),
        (SPINE, "filenames.csv", "b.jpg\nb.jpg\n", "line 2: the image 'b.jpg' is annotated twice, before in landmarks.csv, line 1"),
        (SPINE, "landmarks.csv", "1,2,3,4\n1,2,3\n", "landmarks.csv, line 2: has 3 columns instead of 4"),
        (SPINE, "landmarks.csv", "1,2,3,4\n1,2,x,4\n", "landmarks.csv, line 2, column 3: 'x' is not a number"),
        (CHALLENGE, "j/3.txt", "1,2\n3,4\n", "j: and s do not annotate the same images, first '3'"),
        (CHALLENGE, "j/2.txt", "1,2\n", "j/2.txt: has 1 lines instead of at least 2"),
        (CHALLENGE, "j/2.txt", "1,2\n3\n", "j/2.txt, line 2: has 1 columns, not 2"),
        (CHALLENGE, "s/1.txt", "1,2\n3,inf\n", "s/1.txt, line 2: 'inf' is not a number"),
        (TABLE, "points.csv", "image,landmark,x_px,y_px\n", "points.csv: lists no image"),
        (TABLE, "points.csv", "image,landmark,x_px,y_px\na,one,1,2\n", "no image has the landmark 'two'"),
    ],
)  # fmt: skip
def test_mistakes_are_named(layout, file, text, told):
    Path(file).write_text(text)
    with pytest.raises(InputError) as error:
        layout.read(["one", "two"])
    assert told in str(error.value)


def test_nothing_at_all_is_no_list_of_images():
    for file in LINES:
        Path(file).write_text("")
    with pytest.raises(InputError, match=r"filenames\.csv: lists no image"):
        SPINE.read(None)
    with pytest.raises(InputError, match="nowhere: has no annotations"):
        CHALLENGE.model_copy(update={"readers": ["nowhere"]}).read(None)
