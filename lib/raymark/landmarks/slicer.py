"""Points placed in 3D Slicer: markups (.mrk.json) and the older fiducial lists (.fcsv), to RAS mm."""

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path

from raymark.core.errors import InputError

NamedPoint = tuple[str, tuple[float, float, float]]
MM_PER_UNIT = {"mm": 1.0, "um": 1e-3, "cm": 10.0, "m": 1000.0}
UNPLACED = (math.nan, math.nan, math.nan)
PLACED = "2"  # the status of a point behind the columns of a .fcsv file, since Slicer 5
# How .fcsv writes its frame: a number before Slicer 4.11, a name since.
FCSV_FRAMES = {"0": "RAS", "1": "LPS", "2": "IJK", "RAS": "RAS", "LPS": "LPS", "IJK": "IJK"}
FCSV_COLUMNS = [
    "id",
    "x",
    "y",
    "z",
    "ow",
    "ox",
    "oy",
    "oz",
    "vis",
    "sel",
    "lock",
    "label",
    "desc",
    "associatedNodeID",
]


def read_markups(path: str | Path) -> list[NamedPoint]:
    """Read the control points of every markup in a .mrk.json file as (label, RAS mm).

    Each markup states its own frame (LPS when it does not) and unit. Points whose `positionStatus`
    is not ``defined`` were never placed: their coordinates are NaN.
    """
    try:
        markups = json.loads(Path(path).read_text(encoding="utf-8-sig"))["markups"]
        return [point for markup in markups for point in _markup_points(markup, path)]
    except InputError:
        raise
    except Exception as error:  # anything may be at the place of anything in foreign JSON
        raise InputError(
            path,
            f"is not a readable Slicer markups file ({type(error).__name__}: {error})",
            "Save the point list again from Slicer as .mrk.json",
        ) from None


def _markup_points(markup: dict, path: str | Path) -> list[NamedPoint]:
    frame, unit = markup.get("coordinateSystem", "LPS"), markup.get("coordinateUnits", "mm")
    unit = unit if isinstance(unit, str) else unit[0]
    if unit not in MM_PER_UNIT:
        raise InputError(path, f"the unit {unit!r} is unknown", "Save the points in mm")
    scale = MM_PER_UNIT[unit]
    return [
        (
            point.get("label", ""),
            _to_ras([scale * float(x) for x in point["position"]], frame, path)
            if point.get("positionStatus", "defined") == "defined"
            else UNPLACED,
        )
        for point in markup["controlPoints"]
    ]


def read_fcsv(path: str | Path) -> list[NamedPoint]:
    """Read a fiducial list of any Slicer version as (label, RAS mm).

    The comment lines name the frame (RAS when they do not) and the order of the columns. Points that
    were never placed have NaN as coordinates.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, f"cannot be read ({error})", "Check the path and the file") from None
    header = dict(_header_entries(lines))
    code = header.get("coordinatesystem", "0")
    frame = FCSV_FRAMES.get(code.upper(), code)
    columns = header["columns"].split(",") if "columns" in header else FCSV_COLUMNS
    points = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            cells = next(csv.reader([line]))
            row = dict(zip(columns, cells, strict=False))
            placed = len(cells) <= len(columns) or cells[len(columns)].strip() == PLACED
            label, position = row["label"], [float(row[axis] or "nan") for axis in "xyz"]
        except (KeyError, ValueError, csv.Error) as error:
            raise InputError(
                path,
                f"line {number} is not a fiducial ({error})",
                f"It needs the columns {', '.join(columns)}",
            ) from None
        points.append((label, _to_ras(position, frame, path) if placed else UNPLACED))
    return points


def _header_entries(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Yield (key, value) of comment lines like ``# CoordinateSystem = 0``; keys in lower case."""
    for line in lines:
        key, separator, value = line.lstrip("# ").partition("=")
        if line.startswith("#") and separator:
            yield key.strip().lower(), value.strip()


def _to_ras(position: list[float], frame: str, path: str | Path) -> tuple[float, float, float]:
    if frame not in ("RAS", "LPS") or len(position) != 3:
        raise InputError(
            path,
            f"has points with {len(position)} coordinates in the frame {frame!r}",
            "Load it in Slicer beside its CT and save it as .mrk.json, in RAS or LPS",
        )
    x, y, z = position
    return (x, y, z) if frame == "RAS" else (-x, -y, z)
