"""Files of 3D points, of any usual program, as a table of named points in world RAS mm.

Points that were never placed, or are marked as missing, have no position here: NaN.
"""

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from raymark.core.errors import InputError
from raymark.ct import Volume
from raymark.landmarks.slicer import read_fcsv, read_markups

XYZ = ["x_mm", "y_mm", "z_mm"]
POINT_FILES = (".mrk.json", ".fcsv", ".csv", ".tsv", "_ctd.json")
# The axes by which Slicer's own table names its columns, and what makes RAS of them.
SLICER_AXES = {("r", "a", "s"): (1, 1, 1), ("l", "p", "s"): (-1, -1, 1)}
MARKERS = (0.0, -1.0)  # all three coordinates of a point that an annotator marked as missing
VERSE_LEVELS = dict(
    enumerate(
        [
            *(f"C{n}" for n in range(1, 8)),
            *(f"T{n}" for n in range(1, 13)),
            *(f"L{n}" for n in range(1, 7)),
            "sacrum",
            "coccyx",
            "T13",
        ],
        start=1,
    )
)
GridOf = Callable[[], Volume]


def read_points(
    path: str | Path, subject: str, names: Mapping[str, str] | None = None, ct: GridOf | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """Return a subject's points: landmark, x_mm, y_mm, z_mm, origin; and the doubts about them.

    `names` gives users' names ours. Of points without a position only their names are told, as doubts.
    Slicer's .mrk.json and .fcsv say their frame themselves, its .csv by the names of its columns; other
    tables have landmark, x_mm, y_mm, z_mm in RAS, and a column `subject` selects rows. VerSe's centroids
    are voxels of the CT that `ct` reads. InputError names file and remedy.
    """
    path = Path(path)
    name = path.name.lower()
    if name.endswith((".mrk.json", ".fcsv")):
        named = read_fcsv(path) if name.endswith(".fcsv") else read_markups(path)
        points = pd.DataFrame([(n, *xyz) for n, xyz in named], columns=["landmark", *XYZ])
        points = points.assign(origin="slicer")
    elif name.endswith("_ctd.json"):
        points = _verse_centroids(path, ct).assign(origin="verse")
    elif name.endswith((".csv", ".tsv")):
        points = _table(path, subject)
    else:
        raise InputError(path, "is no file of points by its name", f"Use {', '.join(POINT_FILES)}")
    points["landmark"] = _renamed(path, points["landmark"].tolist(), names or {})
    xyz = points[XYZ].to_numpy(float)
    marked = np.any([(xyz == marker).all(axis=1) for marker in MARKERS], axis=0)
    placed = np.isfinite(xyz).all(axis=1) & ~marked
    doubts = []
    if marked.any():
        position = "0, 0, 0 or -1, -1, -1"
        doubts.append(f"{_listed(points['landmark'][marked])} at {position}: taken as missing")
    if unplaced := [n for n in points["landmark"][~placed & ~marked]]:
        doubts.append(f"{_listed(unplaced)} without a position: taken as missing")
    return points[placed].reset_index(drop=True), doubts


def _listed(names: "pd.Series | list[str]") -> str:
    names = list(names)
    return f"{'landmarks' if len(names) > 1 else 'the landmark'} {', '.join(names)}"


def _renamed(path: Path, given: list[str], names: Mapping[str, str]) -> list[str]:
    """Apply the table of names; two that become one are refused."""
    renamed = [names.get(name, name) for name in given]
    for old, new in zip(given, renamed, strict=True):
        if old != new and new in given:
            problem = f"has both {old!r} and {new!r}, which `names` makes one"
            raise InputError(path, problem, "Remove one of them")
    return renamed


def _table(path: Path, subject: str) -> pd.DataFrame:
    """Read a table with commas, semicolons or tabs between columns; Slicer's or our own."""
    rows = _delimited(path)
    lower = {column.lower(): column for column in rows}
    for axes, signs in SLICER_AXES.items():
        if {"label", *axes} <= set(lower):
            points = rows[[lower["label"], *(lower[axis] for axis in axes)]]
            points.columns = pd.Index(["landmark", *XYZ])
            points = points.assign(origin="slicer")
            if "defined" in lower:
                undefined = rows[lower["defined"]].isin(["0", "false", "False"])
                points.loc[undefined, XYZ] = ""
            return _as_numbers(path, points, signs)
    if missing := [column for column in ["landmark", *XYZ] if column not in rows]:
        raise InputError(
            path,
            f"has no column {missing[0]!r}",
            f"The header needs landmark, {', '.join(XYZ)} (RAS, mm), or is that of Slicer's own "
            "table: label, l, p, s or label, r, a, s",
        )
    if "subject" in rows:
        rows = _of_subject(path, rows, subject)
    if "origin" not in rows:
        rows = rows.assign(origin="csv")
    return _as_numbers(path, rows[["landmark", *XYZ, "origin"]], (1, 1, 1))


def _delimited(path: Path) -> pd.DataFrame:
    """Read a table of text; with semicolons or tabs, numbers may have a decimal comma."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, f"cannot be read ({error})", "Save it as UTF-8 text") from None
    lines = [line for line in lines if line.strip() and not line.startswith("#")]
    first = lines[0] if lines else ""
    delimiter = max("\t;,", key=first.count)
    rows = [[c.strip() for c in row] for row in csv.reader(lines, delimiter=delimiter)]
    header = rows[0] if rows else []
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            problem = f"has {len(row)} columns in row {number} instead of {len(header)}"
            raise InputError(path, problem, "Give every column a cell, with a decimal point")
    if len(set(header)) < len(header):
        raise InputError(path, "has two columns of one name", "Rename one")
    table = pd.DataFrame(rows[1:], columns=header, dtype=str)
    if delimiter != ",":
        table = table.replace(r"^([+-]?\d+),(\d+)$", r"\1.\2", regex=True)
    return table


def _of_subject(path: Path, rows: pd.DataFrame, subject: str) -> pd.DataFrame:
    chosen = rows[rows["subject"] == subject]
    if chosen.empty and len(rows):
        others = list(dict.fromkeys(rows["subject"]))
        alike = [other for other in others if other.lower() == subject.lower()]
        problem = f"has no row of the subject {subject!r}" + (
            f", but of {alike[0]!r}" if alike else f"; it has {', '.join(others[:5])}"
        )
        raise InputError(path, problem, "Write the subject as the subject sheet does")
    return chosen


def _as_numbers(path: Path, points: pd.DataFrame, signs: tuple[int, ...]) -> pd.DataFrame:
    numbers = points[XYZ].apply(pd.to_numeric, errors="coerce")
    empty = points[XYZ].isin(["", "nan", "NaN", "NA", "None"])
    not_numbers = (numbers.isna() & ~empty).any(axis=1)
    if not_numbers.any():
        row = int(np.argmax(not_numbers))
        raise InputError(
            path,
            f"the landmark {points['landmark'].iloc[row]!r} has a coordinate that is not a number",
            "Write millimetres with a decimal point",
        )
    return points.assign(**(numbers * np.array(signs)))


def _verse_centroids(path: Path, ct: GridOf | None) -> pd.DataFrame:
    """Read VerSe's centroids: voxels along named axes of the CT's own grid, which becomes RAS."""
    if ct is None:
        raise InputError(path, "holds voxels of a CT that is not known here", "Give points in mm")
    try:
        head, *entries = json.loads(path.read_text(encoding="utf-8"))
        sides = [str(side) for side in head["direction"]]
        found = [(int(e["label"]), float(e["X"]), float(e["Y"]), float(e["Z"])) for e in entries]
        axes = [next(a for a, pair in enumerate(("RL", "AP", "SI")) if s in pair) for s in sides]
        if sorted(axes) != [0, 1, 2]:
            raise ValueError
    except Exception:  # anything may be at the place of anything in foreign JSON
        problem = "is no list of centroids as VerSe has them"
        raise InputError(path, problem, "It begins with direction, then label, X, Y, Z") from None
    volume = ct()
    rows = []
    for label, x, y, z in found:
        index = np.zeros(3)
        for side, axis, position in zip(sides, axes, (x, y, z), strict=True):
            size = volume.hu_xyz.shape[axis]
            index[axis] = position if side in "RAS" else size - 1 - position
        mm = volume.affine[:3, :3] @ index + volume.affine[:3, 3]
        rows.append((VERSE_LEVELS.get(label, str(label)), *mm))
    return pd.DataFrame(rows, columns=["landmark", *XYZ])
