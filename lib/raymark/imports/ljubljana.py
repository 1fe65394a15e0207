"""Ljubljana (Mitrović et al. 2013): 3D angiograms of ten heads, each with 2D angiograms of known pose.

One HDF5 file, `ljubljana.h5`, that users download themselves. Its volumes are **not HU**: they are
`Angiogram`s, of which nothing is rendered and which are no subjects of rendered data sets. Its world is
the volume's own frame in mm, as the file has it. Whether its cameras look along z or −z is told by
where the vessels lie (`looking_forward`). The images are subtractions: their greys are taken as they are.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from raymark.core.errors import InputError
from raymark.imports.calibrated import (
    Angiogram,
    CalibratedSubject,
    CalibratedXray,
    looking_forward,
)

if TYPE_CHECKING:
    import h5py

VIEWS = ("proj-ap", "proj-lat", "proj-ap-max", "proj-lat-max")
SQUARE = 1e-3


def subjects(path: str | Path) -> list[str]:
    """Return the subjects' names; InputError where the file is not Ljubljana's."""
    with _opened(path) as file:
        return sorted(file)


def read_subject(path: str | Path, subject: str) -> CalibratedSubject:
    """Return a subject's volume, and the points (n, 3) of its vessels' centre lines in mm."""
    with _opened(path) as file:
        content = _of(path, file, subject)
        volume, affine = content["volume"], np.eye(4)
        affine[:3, :3] = np.diag(np.ravel(volume["spacing"]).astype(float))
        affine[:3, 3] = np.ravel(volume["origin"])
        values = np.array(volume["pixels"], dtype=np.float32)
        points = np.array(content["points"], dtype=float)
    return CalibratedSubject(Angiogram(values, affine), points_mm=points)


def read_xrays(path: str | Path, subject: str) -> Iterator[CalibratedXray]:
    """Yield a subject's images, each with a K of its own."""
    with _opened(path) as file:
        content = _of(path, file, subject)
        points = np.array(content["points"], dtype=float)
        for name in VIEWS:
            if name in content:
                yield _xray(f"{path}, {subject}/{name}", name, content[name], points)


def _xray(place: str, name: str, view: "h5py.Group", points: np.ndarray) -> CalibratedXray:
    sides_mm = [float(np.array(view[f"{axis}-spacing"]).item()) for axis in ("col", "row")]
    if abs(sides_mm[0] / sides_mm[1] - 1) > SQUARE:
        problem = f"has pixels of {sides_mm[0]:g} × {sides_mm[1]:g} mm"
        raise InputError(place, problem, "Resample it to square pixels")
    pose = np.eye(4)
    pose[:3] = np.array(view["extrinsic"], dtype=float)[:3]
    K, pose = looking_forward(np.array(view["intrinsic"], dtype=float), pose, points, place)
    return CalibratedXray(name, np.array(view["pixels"], dtype=float), K, pose, sides_mm[0])


def _opened(path: str | Path) -> "h5py.File":
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        problem = "is missing" if not Path(path).exists() else f"cannot be read as HDF5 ({error})"
        raise InputError(path, problem, "Download ljubljana.h5") from None
    if not len(file) or any("volume" not in file[name] for name in file):
        file.close()
        raise InputError(path, "is not Ljubljana's file", "Give ljubljana.h5")
    return file


def _of(path: str | Path, file: "h5py.File", subject: str) -> "h5py.Group":
    if subject not in file:
        raise InputError(path, f"has no subject {subject!r}", f"It has {', '.join(sorted(file))}")
    return file[subject]
