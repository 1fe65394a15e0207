import json
import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymark import layout
from raymark.config.project import read_project
from raymark.core.errors import InputError
from raymark.core.names import flip_pairs, mirrored
from raymark.ct.grid import Volume
from raymark.ct.store import write_volume
from raymark.landmarks.point_files import XYZ
from raymark.landmarks.table import (
    COLUMNS,
    check_landmarks,
    landmark_table,
    needed_names,
    read_landmark_set,
    write_landmarks,
)
from raymark.landmarks.table import read_landmarks as read_with_doubts
from raymark.workflow.steps import data
from tests.workflow.conftest import DATASET, make_project

POINTS = {"left_asis": (-80.0, 20.5, 3.25), "right_asis": (80.0, 21.0, 3.0), "tip": (1.0, -40.0, 0)}
SHAPE, AFFINE = (101, 101, 101), np.diag([2.0, 2.0, 2.0, 1.0])
AFFINE[:3, 3] = -100


VOLUME = Volume(np.full(SHAPE, 300, np.int16), AFFINE, "RAS")


def read_landmarks(path, subject):
    return read_with_doubts(path, subject)[0]


def table(points=POINTS):
    return landmark_table("p1", points, np.array(list(points.values())), "test")


def check(points, names=None, affine=AFFINE):
    names = list(POINTS) if names is None else names
    volume = Volume(VOLUME.hu_xyz, affine, "RAS")
    return check_landmarks(table(points), names, volume, flip_pairs(names), "p.fcsv")[0]


def points_of(frame):
    return dict(zip(frame["landmark"], map(tuple, frame[XYZ].to_numpy()), strict=True))


def markup(points, frame=None, **more):
    markup = {
        "type": "Fiducial",
        "controlPoints": [{"label": name, "position": list(xyz)} for name, xyz in points.items()],
    }
    return markup | ({"coordinateSystem": frame} if frame else {}) | more


def write_markups(path, *markups):
    path.write_text(json.dumps({"@schema": "markups-schema-v1.0.3.json", "markups": markups}))
    return path


def lps(points):
    return {name: (-x, -y, z) for name, (x, y, z) in points.items()}


@pytest.mark.parametrize(
    ("points", "frame"), [(POINTS, "RAS"), (lps(POINTS), "LPS"), (lps(POINTS), None)]
)
def test_markups_state_their_frame_and_default_to_lps(tmp_path, points, frame):
    path = write_markups(tmp_path / "p.mrk.json", markup(points, frame))
    read = read_landmarks(path, "p1")
    assert list(read.columns) == COLUMNS
    assert points_of(read) == POINTS
    assert set(read["subject"]) == {"p1"}
    assert set(read["origin"]) == {"slicer"}


def test_each_markup_has_a_frame_and_a_unit_of_its_own(tmp_path):
    path = write_markups(
        tmp_path / "p.mrk.json",
        markup({"a": (1, 2, 3)}, "RAS", coordinateUnits="um"),
        markup({"b": (1, 2, 3)}, "LPS", coordinateUnits=["mm", "UCUM", "millimeter"]),
    )
    assert points_of(read_landmarks(path, "p")) == {"a": (1e-3, 2e-3, 3e-3), "b": (-1, -2, 3)}


def test_points_that_were_never_placed_are_left_out(tmp_path):
    content = markup(POINTS, "RAS")
    content["controlPoints"][0] |= {"positionStatus": "defined"}
    content["controlPoints"][1] |= {"positionStatus": "undefined", "position": None}
    content["controlPoints"][2] |= {"positionStatus": "preview"}
    path = write_markups(tmp_path / "p.mrk.json", content)
    assert list(read_landmarks(path, "p")["landmark"]) == ["left_asis"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "not a readable"),
        ("[]", "not a readable"),
        ("{}", "markups"),
        (json.dumps({"markups": [{"type": "Fiducial"}]}), "controlPoints"),
        (json.dumps({"markups": [markup({"a": (1, 2)})]}), "2 coordinates"),
        (json.dumps({"markups": [markup({"a": (1, 2, 3)}, "IJK")]}), "IJK"),
        (json.dumps({"markups": [markup({"a": (1, 2, 3)}, coordinateUnits="inch")]}), "inch"),
        (json.dumps({"markups": [markup({"a": (1, 2, 10**400)})]}), "OverflowError"),
        (json.dumps({"markups": [markup({"a": (1, 2, 3)}, coordinateUnits=[])]}), "IndexError"),
        ("[" * 200_000, "RecursionError"),
    ],
)
def test_markups_that_cannot_be_read_are_refused(tmp_path, content, problem):
    path = tmp_path / "p.mrk.json"
    path.write_text(content)
    with pytest.raises(InputError, match=problem) as error:
        read_landmarks(path, "p")
    assert str(path) in str(error.value)


MODERN = "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"


def fcsv(points, code, columns=MODERN):
    system = "" if code is None else f"# CoordinateSystem = {code}\n"
    rows = [f'{i},{x},{y},{z},0,0,0,1,1,1,0,{name},"a, b",\n'
            for i, (name, (x, y, z)) in enumerate(points.items())]  # fmt: skip
    return f"# Markups fiducial file version = 4.11\n{system}{columns}" + "".join(rows)


@pytest.mark.parametrize(
    ("points", "code"),
    [
        (POINTS, "0"),
        (POINTS, "RAS"),
        (POINTS, None),
        (lps(POINTS), "1"),
        (lps(POINTS), "LPS"),
        (lps(POINTS), "lps"),
    ],
)
@pytest.mark.parametrize("columns", [MODERN, ""])
def test_fcsv_in_all_its_frames(tmp_path, points, code, columns):
    path = tmp_path / "p.fcsv"
    path.write_text(fcsv(points, code, columns))
    assert points_of(read_landmarks(path, "p")) == POINTS


def test_fcsv_of_slicer_3_puts_the_label_first(tmp_path):
    path = tmp_path / "p.fcsv"
    path.write_text(
        "# Fiducial List file p.fcsv\n# version = 2\n# columns = label,x,y,z,sel,vis\nL-1,1,2,3,1,1\n"
    )
    assert points_of(read_landmarks(path, "p")) == {"L-1": (1, 2, 3)}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (fcsv(POINTS, "2"), "IJK"),
        (fcsv(POINTS, "IJK"), "IJK"),
        (fcsv(POINTS, "7"), "'7'"),
        (fcsv({"a": ("x", 0, 0)}, "0"), "line 4"),
        (MODERN + "1,2,3\n", "line 2"),
        (MODERN + "x" * 140_000 + ",1,2,3\n", "line 2 is not a fiducial .*limit"),
    ],
)
def test_fcsv_that_cannot_be_used_is_refused(tmp_path, text, problem):
    path = tmp_path / "p.fcsv"
    path.write_text(text)
    with pytest.raises(InputError, match=problem):
        read_landmarks(path, "p")


@pytest.mark.parametrize(("suffix", "separator"), [("csv", ","), ("tsv", "\t")])
def test_delimited_files_are_ras_mm(tmp_path, suffix, separator):
    path = tmp_path / f"p.{suffix}"
    rows = [["z_mm", "landmark", "x_mm", "y_mm", "note"]]
    rows += [[z, name, x, y, "n"] for name, (x, y, z) in POINTS.items()]
    path.write_text("\n".join(separator.join(map(str, row)) for row in rows) + "\n")
    read = read_landmarks(path, "p")
    assert points_of(read) == POINTS
    assert set(read["origin"]) == {"csv"}


def test_a_subject_column_selects_rows(tmp_path):
    path = tmp_path / "all.csv"
    path.write_text("subject,landmark,x_mm,y_mm,z_mm,origin\nq,a,9,9,9,expert\np,a,1,2,3,expert\n")
    read = read_landmarks(path, "p")
    assert points_of(read) == {"a": (1, 2, 3)}
    assert list(read["origin"]) == ["expert"]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("p.csv", "landmark,x_mm,y_mm\na,1,2\n", "z_mm"),
        ("p.csv", "landmark,x_mm,y_mm,z_mm\na,1,2,3\nb,1,two,3\n", "'b'.*not a number"),
        ("p.csv", "", "'landmark'"),
        ("p.xlsx", "", r"\.mrk\.json"),
        ("p.json", "{}", r"\.mrk\.json"),
    ],
)
def test_delimited_files_that_cannot_be_used_are_refused(tmp_path, name, text, problem):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputError, match=problem):
        read_landmarks(path, "p")


@pytest.mark.parametrize("name", ["p.mrk.json", "p.fcsv", "p.csv"])
def test_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(InputError, match=name):
        read_landmarks(tmp_path / name, "p")


def test_what_is_written_reads_back_and_is_the_same_bytes(tmp_path):
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    write_landmarks(table(), one)
    read = read_landmarks(one, "p1")
    write_landmarks(read, two)
    pd.testing.assert_frame_equal(read, table())
    assert one.read_bytes() == two.read_bytes()
    assert one.read_text().splitlines()[1] == "p1,left_asis,-80.000,20.500,3.250,test"
    assert sorted(os.listdir(tmp_path)) == ["one.csv", "two.csv"]


def test_a_good_table_comes_back_in_the_expected_order():
    names = ["tip", "right_asis", "left_asis"]
    assert list(check(POINTS, names)["landmark"]) == names


@pytest.mark.parametrize(
    ("points", "names", "problem"),
    [
        ({"left_asis": (-8, 0, 0)}, None, "'right_asis'.*1 more.*missing"),
        ({**POINTS, "hat": (0, 0, 0)}, None, "'hat'.*not among"),
        ({**POINTS, "tip": (0, np.nan, 0)}, None, "'tip'.*no finite"),
        ({**POINTS, "tip": (0, np.inf, 0)}, None, "'tip'.*no finite"),
        ({**POINTS, "tip": (0, 0, 101.1)}, None, "'tip'.*outside|outside.*'tip'"),
        ({**POINTS, "tip": (-101.1, 0, 0)}, None, "outside.*'tip'"),
        (lps(POINTS), None, "swapped in 1 of 1.*'left_asis'"),
    ],
)
def test_tables_that_cannot_be_right_are_refused(points, names, problem):
    with pytest.raises(InputError, match=problem) as error:
        check(points, names)
    assert str(error.value).startswith("p.fcsv: ")


def test_what_is_missing_names_the_way_to_do_without():
    with pytest.raises(InputError, match=r"'right_asis' is missing\. .*`use_landmarks`"):
        check({name: point for name, point in POINTS.items() if name != "right_asis"})
    known = ["tip", "left_asis", "right_asis", "hip"]
    assert needed_names(["tip", "hat"], ["left_asis"], known) == ["tip", "left_asis"]


def test_a_data_set_that_uses_some_landmarks_needs_only_those(tmp_path, monkeypatch):
    project = make_project(tmp_path / "p")
    monkeypatch.chdir(project.folder)
    write_volume(layout.CT.format(dataset="balls", subject="ball_patient"), VOLUME)
    points = project.folder / "points.csv"
    points.write_text("".join(points.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(InputError, match="'lower_ball' is missing"):
        data.landmarks(read_project("config.yaml"), "balls", "ball_patient")
    project.write("balls.yaml", DATASET | {"use_landmarks": ["left_ball", "right_ball"]})
    data.landmarks(read_project("config.yaml"), "balls", "ball_patient")
    made = pd.read_csv(layout.LANDMARKS.format(dataset="balls", subject="ball_patient"))
    assert made["landmark"].tolist() == ["left_ball", "right_ball"]


def test_duplicates_are_refused():
    double = pd.concat([table(), table({"tip": (0, 0, 0)})])
    with pytest.raises(InputError, match=r"'tip' .*more than once"):
        check_landmarks(double, list(POINTS), VOLUME, [], "p.csv")


def test_the_border_of_the_outermost_voxels_is_inside():
    check({**POINTS, "tip": (101.0, -101.0, 0)})


def test_inside_is_judged_in_voxels_of_any_orientation():
    flipped = AFFINE @ np.array([[-1, 0, 0, 100], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    check(POINTS, affine=flipped)
    shifted = flipped.copy()
    shifted[0, 3] += 50  # the volume now ends 50 mm right of the left spine
    with pytest.raises(InputError, match="left_asis"):
        check(POINTS, affine=shifted)


@given(st.lists(st.sampled_from(["left", "right", "t1", "upper", "leftover"]), min_size=1))
def test_mirroring_a_name_twice_gives_it_back(words):
    name = "_".join(words)
    assert mirrored(mirrored(name)) == name
    assert (mirrored(name) == name) == ("left" not in words and "right" not in words)


@pytest.mark.parametrize("name", ["p.mrk.json", "P.FCSV", "p.csv", "p.tsv"])
def test_points_are_no_landmark_file(tmp_path, name):
    (tmp_path / name).write_text(json.dumps({"markups": [markup({"a": (1, 2, 3)})]}))
    with pytest.raises(
        InputError, match=r"is a file of points.*A landmark file.*subject sheet"
    ) as e:
        read_landmark_set(tmp_path / name)
    assert len(str(e.value)) < 250 + len(str(tmp_path))


def test_pairs_are_left_right_in_the_order_of_the_names():
    names = ["right_a", "carina", "t1_upper_left", "left_a", "t1_upper_right", "left_b"]
    assert flip_pairs(names) == [("t1_upper_left", "t1_upper_right"), ("left_a", "right_a")]


def test_a_landmark_file_needs_only_names(tmp_path):
    path = tmp_path / "hand.yaml"
    path.write_text("landmarks: [{name: left_a}, {name: b, title: The b}, {name: right_a}]")
    landmarks = read_landmark_set(path)
    assert landmarks.name == "hand"
    assert landmarks.names == ["left_a", "b", "right_a"]
    assert landmarks.flip_pairs == [("left_a", "right_a")]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("landmarks: []", "landmarks"),
        ("landmarks: [{name: a}, {name: a}]", "'a' is listed twice"),
        ("landmarks: [{name: left_a}]", "lacks its other side, 'right_a'"),
        ("landmarks: [{name: Left A}]", "name"),
        ("landmarks: [{name: a, tilte: x}]", "'landmarks.0.tilte' is unknown"),
        ("landmarks: [{name: a, recipe: {kind: guess}}]", "kind"),
        ("name: x\nlandmarks: [{name: a}]", "'name' is unknown"),
    ],
)
def test_landmark_files_with_mistakes_are_refused(tmp_path, text, problem):
    path = tmp_path / "set.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=problem) as error:
        read_landmark_set(path)
    assert str(path) in str(error.value)
