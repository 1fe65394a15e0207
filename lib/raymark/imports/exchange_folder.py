"""The peers' exchange folder (xvr-data): `subjectNN/{volume.nii.gz, mask.nii.gz, xrays/NNN.dcm, NNN.pt}`.

A `.pt` file holds `pose` (1, 4, 4) and the intrinsics. It projects RAS mm that count from the volume's
middle: [u, v, 1] ~ K · inverse(pose · AP) · X, fx = sdd/delx, fy = −sdd/dely, the principal point from
x0 and y0. Landmarks are not among its files. Greys are what the DICOM files say.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from raymark.core.errors import InputError
from raymark.ct import Volume, read_ct, read_labels
from raymark.imports.calibrated import CalibratedSubject, CalibratedXray, looking_forward
from raymark.imports.xray_file import read_xray

AP = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
INTRINSICS = ("sdd", "delx", "dely", "x0", "y0", "height", "width")
SQUARE = 1e-3


def subjects(path: str | Path) -> list[str]:
    """Return the names of the folders with a volume; InputError where there is none."""
    found = sorted(file.parent.name for file in Path(path).glob("*/volume.nii.gz"))
    if not found:
        raise InputError(path, "has no subject", "Give the folder with subjectNN/volume.nii.gz")
    return found


def read_subject(path: str | Path, subject: str) -> CalibratedSubject:
    """Return a subject's CT, and its label map where there is one."""
    folder = Path(path) / subject
    volume, mask = read_ct(folder / "volume.nii.gz"), folder / "mask.nii.gz"
    return CalibratedSubject(volume, read_labels(mask, volume) if mask.exists() else None)


def read_xrays(path: str | Path, subject: str) -> Iterator[CalibratedXray]:
    """Yield a subject's images in the order of their names."""
    folder = Path(path) / subject
    volume = read_ct(folder / "volume.nii.gz")
    for file in sorted((folder / "xrays").glob("*.pt")):
        yield _xray(file, _content(file), volume)


def _xray(file: Path, content: Mapping, volume: Volume) -> CalibratedXray:
    xray = read_xray(file.with_suffix(".dcm"))
    sdd, delx, dely, x0, y0, height, width = (float(content[key]) for key in INTRINSICS)
    if xray.image_yx.shape != (height, width) or abs(delx / dely - 1) > SQUARE:
        size = " × ".join(map(str, xray.image_yx.shape[::-1]))
        problem = (
            f"is of {width:g} × {height:g} pixels of {delx:g} × {dely:g} mm, its X-ray has {size}"
        )
        raise InputError(file, problem, "Give square pixels, and the X-ray that the pose is of")
    K = np.array(
        [
            [sdd / delx, 0, (width - 1) / 2 + x0 / delx],
            [0, -sdd / dely, (height - 1) / 2 + y0 / dely],
            [0, 0, 1],
        ]
    )
    middle_mm = volume.affine @ [*(np.array(volume.hu_xyz.shape) - 1) / 2, 1]
    from_middle = np.eye(4)
    from_middle[:3, 3] = -middle_mm[:3]
    pose = np.linalg.inv(np.reshape(content["pose"], (4, 4)).astype(float) @ AP) @ from_middle
    K, pose = looking_forward(K, pose, middle_mm[None, :3], file)
    return CalibratedXray(file.stem, xray.image_yx.astype(float), K, pose, delx)


def _content(file: Path) -> Mapping:
    """Read a `.pt` file without running what it may hold."""
    import torch

    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        content = {**content, **content.get("intrinsics", {})}
        content["pose"] = np.asarray(content["pose"])
    except Exception as error:  # of many kinds, by what the file is
        reason = str(error).splitlines()[0][:120]
        problem = f"is no pose of the exchange folder ({reason})"
        raise InputError(file, problem, "Save pose and intrinsics as plain tensors") from None
    if missing := [key for key in INTRINSICS if key not in content]:
        raise InputError(file, f"lacks {missing[0]!r}", f"It needs {', '.join(INTRINSICS)}")
    return content
