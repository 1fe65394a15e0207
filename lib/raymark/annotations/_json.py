"""What layouts of JSON files share: reading, and one error for a file of another form."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from raymark.core.errors import InputError

ABSENT = (math.nan, math.nan)


def read_json(path: str | Path) -> Any:
    """Return what a JSON file holds; InputError where it cannot be read."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(path, f"cannot be read as JSON ({error})", "Export it again") from None


@contextmanager
def of_form(path: str | Path, form: str) -> Iterator[None]:
    """Turn what goes wrong where anything may be in the place of anything into one InputError."""
    try:
        yield
    except InputError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        told = " ".join(str(error).split())[:80]
        problem = f"is no {form} ({type(error).__name__}: {told})"
        raise InputError(path, problem, "Export it again, or choose another layout") from None


def json_files(folder: str) -> list[Path]:
    """Return the JSON files of a folder, sorted; InputError where there is none."""
    paths = sorted(Path(folder).glob("*.json"))
    if not paths:
        raise InputError(folder, "holds no JSON file", "Name the folder of the annotations")
    return paths


def once(points: dict[str, Any], name: str, place: str | Path) -> None:
    """Refuse a second point of one name."""
    if name in points:
        remedy = "Mark every landmark once in an image"
        raise InputError(place, f"the landmark {name!r} is there twice", remedy)


def carried(described: dict[str, Any], place: str | Path) -> dict[str, Any]:
    """Return `patient` and `pixel_mm` of an Annotation, where an export of ours has left them."""
    patient, size_mm = described.get("patient"), described.get("pixel_mm")
    if size_mm is not None:
        size_mm = float(size_mm)
        if not (math.isfinite(size_mm) and size_mm > 0):
            raise InputError(f"{place}, pixel_mm", f"{size_mm:g} is no size", "Give it in mm")
    return {"patient": None if patient is None else str(patient), "pixel_mm": size_mm}
