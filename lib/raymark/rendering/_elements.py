"""Elements as Elam, Ravel and Sieber tabulate them (2002), from xraydb's database.

The database is read itself: importing xraydb takes longer than a small shard. Its tables hold natural
logarithms of energies in eV and of cross-sections in cm²/g, with the second derivatives of a spline.
"""

import json
import sqlite3
from contextlib import closing
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

PARTS = (  # of the attenuation: table, column
    ("photoabsorption", "log_photoabsorption"),
    ("scattering", "log_coherent_scatter"),
    ("scattering", "log_incoherent_scatter"),
)


def attenuation(element: str, energies_ev: np.ndarray) -> np.ndarray:
    """Return the total mass attenuation coefficient in cm²/g at each energy, 100 eV to 800 keV."""
    log_ev = np.log(energies_ev)
    photo, coherent, incoherent = (
        np.exp(_spline(*_columns(element, table, column), log_ev)) for table, column in PARTS
    )
    return photo + coherent + incoherent


def number_and_mass(element: str) -> tuple[int, float]:
    """Return an element's atomic number and its molar mass in g/mol."""
    return _row(element, "elements", "atomic_number", "molar_mass")


def _spline(x: np.ndarray, y: np.ndarray, second: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return a cubic spline's values from its nodes, its values and its second derivatives there."""
    low = np.maximum(np.searchsorted(x, at, "left") - 1, 0)
    high = np.minimum(np.searchsorted(x, at, "right"), len(x) - 1)
    step = x[high] - x[low]
    a, b = (x[high] - at) / step, (at - x[low]) / step
    bent = (a * a - 1) * a * second[low] + (b * b - 1) * b * second[high]
    return a * y[low] + b * y[high] + (step * step / 6) * bent


@cache
def _columns(element: str, table: str, column: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a spline's nodes, its values and its second derivatives there."""
    row = _row(element, table, "log_energy", column, f"{column}_spline")
    nodes, values, second = (np.array(json.loads(text)) for text in row)
    return nodes, values, second


@cache
def _row(element: str, table: str, *columns: str) -> tuple:
    query = f"SELECT {', '.join(columns)} FROM {table} WHERE element = ?"
    with closing(sqlite3.connect(_database(), uri=True)) as database:
        return database.execute(query, (element,)).fetchone()


def _database() -> str:
    """Return the URI of the database, which nobody writes to, wherever it is installed."""
    package = find_spec("xraydb")
    assert package is not None  # the installation brings it
    assert package.origin is not None
    path = Path(package.origin).with_name("xraydb.sqlite").resolve()
    return f"{path.as_uri()}?mode=ro&immutable=1"
