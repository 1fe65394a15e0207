"""Mistakes in annotated images and their settings are named, and nothing is written."""

import shutil
from pathlib import Path

import pytest
import yaml

from raymark import cli
from raymark.config.imports import read_import
from raymark.core.errors import InputError
from raymark.imports.image_folder import ImageFolder
from raymark.imports.write import import_2d
from tests.unit.imports.examples import (
    read_rows,
    settings,
    write_table,
)


def edit(path, old, new):
    Path(path).write_text(Path(path).read_text().replace(old, new, 1))


def first_point(value):
    """Overwrite the first x in the table of points."""
    rows = read_rows("points.csv")
    rows[1][2] = value
    write_table("points.csv", rows[0], rows[1:])


def repeat_first_line():
    rows = read_rows("points.csv")
    write_table("points.csv", rows[0], [*rows[1:], rows[1]])


MISTAKES = {
    "missing image": (lambda: Path("images/x02.png").unlink(), ["points.csv, line 8", "'x02.png'"]),
    "unreadable image": (
        lambda: Path("images/x02.png").write_bytes(b"no image"),
        ["images/x02.png"],
    ),
    "image there twice": (
        lambda: shutil.copytree("images/deeper", "images/other"),
        ["'x01.png' could be any of", "path below the folder"],
    ),
    "no number": (lambda: first_point("nan"), ["points.csv, line 2, column x_px", "'nan'"]),
    "far outside": (lambda: first_point("900"), ["'left_blob'", "900.0", "60 × 120 px"]),
    "twice": (
        repeat_first_line,
        ["points.csv, line 38", "'left_blob' of 'x00.png' is there twice"],
    ),
    "no column": (lambda: edit("points.csv", "y_px", "y_mm"), ["line 1", "no column 'y_px'"]),
    "too few columns": (
        lambda: edit("points.csv", ",p0", ""),
        ["line 2", "4 columns instead of 5"],
    ),
    "unknown landmark": (
        lambda: edit("points.csv", "x03.png,tip", "x03.png,tup"),
        ["'x0", "'tup'"],
    ),
    "no annotations": (lambda: Path("points.csv").unlink(), ["points.csv: cannot be read"]),
    "two patients": (
        lambda: edit("points.csv", "p0", "p5"),
        ["column patient", "'p0', before 'p5'"],
    ),
}


def elsewhere(place):
    """Name, in the annotations, an image outside the folder of images; it is there."""
    shutil.copy("images/x02.png", "private.png")
    edit_all("points.csv", "x02.png", place())


def edit_all(path, old, new):
    Path(path).write_text(Path(path).read_text().replace(old, str(new)))


MISTAKES |= {
    "image outside": (
        lambda: elsewhere(lambda: "../private.png"),
        ["points.csv, line 8", "'../private.png' lies outside images", "below the folder"],
    ),
    "image anywhere": (
        lambda: elsewhere(lambda: Path("private.png").resolve()),
        ["points.csv, line 8", "private.png' lies outside images"],
    ),
    "endless cell": (
        lambda: edit("points.csv", "x00.png", "x" * 200_000),
        ["points.csv: cannot be read", "field larger"],
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_in_the_data_are_named_and_nothing_is_written(project_folder, mistake):
    make, parts = MISTAKES[mistake]
    make()
    with pytest.raises(InputError) as error:
        import_2d(settings(), "made.yaml")
    for part in parts:
        assert part in str(error.value)
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"scale": {"kind": "pixel"}}, ["made.yaml, scale.pixel_mm", "does not tell its pitch"]),
        (
            {"scale": {"kind": "distance", "mm": 5, "between": (["tip"], ["top"])}},
            ["made.yaml, scale.between", "'top' is not a landmark", "left_blob"],
        ),
        ({"flip_pairs": [("tip", "top")]}, ["made.yaml, flip_pairs", "'top'"]),
        ({"split": {"kind": "folds", "folds": 7}}, ["6 patients cannot make 7 folds"]),
        ({"split": {"kind": "folds", "fold": 5}}, ["no fold 5 of 5", "0 to 4"]),
        ({"split": {"kind": "official-2015"}}, ["'x00.png' is not numbered from 1 to 400"]),
        ({"split": {"kind": "table", "file": "none.csv"}}, ["none.csv: cannot be read"]),
        ({"images": "nowhere"}, ["nowhere: is not a folder"]),
        ({"landmarks": ["tip"]}, ["has an unknown 'left_blob'"]),
    ],
)
def test_mistakes_in_the_settings_are_named(project_folder, changes, parts):
    with pytest.raises(InputError) as error:
        import_2d(settings(**changes), "made.yaml")
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        (["train"] * 11 + ["test"], ["patient 'p5'", "'x10.png'", "'x11.png'", "one split"]),
        (["train"] * 11, ["split.csv: has no line for 'x11.png'", "leaves it out"]),
        (["train"] * 13, ["line 14", "'x12.png' is not annotated"]),
        (["Train"] * 12, ["line 2, column view_set", "'Train' is not a name"]),
        ([""] * 12, ["leaves every image out"]),
        ([None], ["line 2", "1 columns instead of 2"]),
    ],
)
def test_mistakes_in_a_table_of_splits_are_named(project_folder, rows, parts):
    write_table(
        "split.csv",
        ["image", "view_set"],
        [[f"x{n:02d}.png", *([] if r is None else [r])] for n, r in enumerate(rows)],
    )
    with pytest.raises(InputError) as error:
        import_2d(settings(split={"kind": "table", "file": "split.csv"}), "made.yaml")
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize("pattern", ["(", "x", "(x){99999999999}"])
def test_a_pattern_that_cannot_be_used_is_named(tmp_path, pattern):
    values = settings().model_dump(mode="json") | {"patient_pattern": pattern}
    (tmp_path / "made.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(InputError, match=r"made\.yaml: patient_pattern"):
        read_import(tmp_path / "made.yaml")


def test_a_file_name_without_a_patient_is_named(project_folder):
    rows = [row[:4] for row in read_rows("points.csv")]
    write_table("points.csv", rows[0], rows[1:])
    import_2d(settings(patient_pattern=r"x(\d\d)"), "made.yaml")
    with pytest.raises(InputError, match=r"x00.png: patient_pattern .* finds no patient"):
        import_2d(settings(patient_pattern=r"x(9)"), "made.yaml")


def test_points_in_mm_are_told_and_points_in_px_are_not(project_folder, capsys):
    import_2d(settings(), "made.yaml")
    assert not capsys.readouterr().err
    header, *rows = read_rows("points.csv")
    in_mm = [[image, name, float(x) * 0.3, float(y) * 0.3, who] for image, name, x, y, who in rows]
    write_table("points.csv", header, in_mm)
    import_2d(settings(), "made.yaml")
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert told[0].startswith(
        "Warning: made.yaml: all points lie in the upper left corner of every image"
    )


def test_an_odd_scale_is_told_to_be_kept(project_folder, capsys):
    header, *rows = read_rows("points.csv")
    rows[1][2:4] = [float(rows[0][2]) + 0.5, rows[0][3]]  # the two ends of the distance
    write_table("points.csv", header, rows)
    scale = {"kind": "distance", "mm": 35, "between": [["left_blob"], ["right_blob"]]}
    Path("made.yaml").write_text(yaml.safe_dump(settings(scale=scale).model_dump(mode="json")))
    assert cli.main(["import-2d", "made.yaml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("x00.png: ") and line.endswith("It is kept") for line in lines)


def test_an_image_name_that_no_file_can_have_is_named(tmp_path):
    with pytest.raises(InputError, match=r"points\.csv, line 2: .* is not in"):
        ImageFolder(tmp_path).find("x" * 300, "points.csv, line 2")
