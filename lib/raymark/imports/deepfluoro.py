"""DeepFluoro (Grupp et al. 2020, doi 10.7281/T1/IFSXNV): fluoroscopy of six cadavers with known poses.

One HDF5 file, `ipcai_2020_full_res_data.h5`, that users download themselves. Its poses lead from the
C-arm's isocentre frame (not the camera's) to the volume's LPS, and its camera looks along −z; here they
become `world_to_camera` from RAS as everywhere (`raymark.geometry.camera`). Its 2D landmarks are projected
3D points, not clicks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from raymark.core.errors import InputError
from raymark.ct import LabelMap, Volume
from raymark.ct.grid import to_ras
from raymark.geometry.camera import project
from raymark.imports.calibrated import CalibratedSubject, CalibratedXray

if TYPE_CHECKING:
    import h5py

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
LOOKS_BACK = np.diag([-1.0, 1.0, -1.0, 1.0])
HALF_TURN = np.diag([-1.0, -1.0, 1.0, 1.0])
BODIES = {
    "pelvis": "cam-to-pelvis-vol",
    "left_femur": "cam-to-left-femur-vol",
    "right_femur": "cam-to-right-femur-vol",
}
# Our names for their landmarks, each with -l or -r behind it.
NAMES = {
    "ASIS": "asis",
    "FH": "femoral_head",
    "GSN": "greater_sciatic_notch",
    "IOF": "inferior_obturator",
    "MOF": "medial_obturator",
    "SPS": "superior_pubic_symphysis",
    "IPS": "inferior_pubic_symphysis",
}
SIDES = {"l": "left", "r": "right"}
UNSOUND = {("17-1882", "003"), ("17-1882", "050"), ("18-2799", "002"), ("18-2799", "004")}
CROP_PX = 50  # of each side, where the collimator shows
# Their labels, by our names (docs/landmarks.md).
LABELS = {
    1: "hip_left",
    2: "hip_right",
    3: "vertebrae",
    4: "upper_sacrum",
    5: "femur_left",
    6: "femur_right",
    7: "lower_sacrum",
}
AGREE_PX = 2.0  # stored 2D landmarks are projected 3D ones: farther apart, something is misread
# The true poses were found with voxels whose corner, not whose centre, is the origin.
CORNER_VOXELS = 0.5


@dataclass(frozen=True)
class FluoroView:
    """A fluoroscopy image (row, column), logarithmic, bone bright, upright, with all that is known of it.

    `valid_yx` leaves out the rim; `landmarks_px` are named points (x, y), possibly outside of the image;
    poses (4, 4) by body.
    """

    specimen: str
    number: str
    image_yx: np.ndarray
    valid_yx: np.ndarray
    K: np.ndarray
    world_to_camera: dict[str, np.ndarray]
    landmarks_px: dict[str, np.ndarray]


def specimens(path: str | Path) -> list[str]:
    """Return the specimens' names; InputError where the file is not DeepFluoro's."""
    with _opened(path) as file:
        return sorted(name for name in file if name != "proj-params")


def read_specimen(
    path: str | Path, specimen: str
) -> tuple[Volume, LabelMap, dict[str, np.ndarray]]:
    """Return a specimen's CT, labels and named landmarks (3,) in RAS mm."""
    with _opened(path) as file:
        content = _of(path, file, specimen)
        voxels, affine = _grid(content["vol"])
        hu, ras, _ = to_ras(np.clip(np.rint(voxels), -1024, 32767).astype(np.int16), affine)
        voxels, affine = _grid(content["vol-seg/image"])
        labels, label_ras, _ = to_ras(voxels.astype(np.uint8), affine)
        points = {
            our_name(name): LPS[:3, :3] @ np.ravel(point).astype(float)
            for name, point in content["vol-landmarks"].items()
        }
    return (
        Volume(np.ascontiguousarray(hu), ras),
        LabelMap(np.ascontiguousarray(labels), label_ras, LABELS, named_by="DeepFluoro"),
        points,
    )


def subjects(path: str | Path) -> list[str]:
    """List the subjects of the calibrated data set: the specimens."""
    return specimens(path)


def read_subject(path: str | Path, subject: str) -> CalibratedSubject:
    """Return a specimen as a subject of a calibrated data set."""
    return CalibratedSubject(*read_specimen(path, subject))


def read_xrays(path: str | Path, subject: str) -> Iterator[CalibratedXray]:
    """Yield a specimen's images without their rims, with the pelvis's pose `for_intensities`.

    InputError where the projected 3D landmarks are not at the stored 2D ones.
    """
    volume, _, points = read_specimen(path, subject)
    pixel_mm = _pixel_mm(path)
    for view in read_views(path, subject):
        _check_projections(path, view, points)
        K = view.K.copy()
        K[:2, 2] -= CROP_PX
        pose = for_intensities(view.world_to_camera["pelvis"], volume)
        image_yx = view.image_yx[CROP_PX:-CROP_PX, CROP_PX:-CROP_PX]
        yield CalibratedXray(view.number, image_yx, K, pose, pixel_mm)


def _check_projections(path: str | Path, view: FluoroView, points: dict[str, np.ndarray]) -> None:
    shared = [name for name in view.landmarks_px if name in points]
    if not shared:
        return
    world = np.array([points[name] for name in shared])
    stored = np.array([view.landmarks_px[name] for name in shared])
    apart = project(view.K, view.world_to_camera["pelvis"], world) - stored
    typical_px = float(np.median(np.linalg.norm(apart, axis=1)))
    if not typical_px <= AGREE_PX:
        place = f"{path}, {view.specimen}/projections/{view.number}"
        problem = f"has its 2D landmarks {typical_px:.1f} px from the projected 3D ones"
        raise InputError(place, problem, "Download the file again: pose or landmarks are damaged")


def _pixel_mm(path: str | Path) -> float:
    with _opened(path) as file:
        return float(np.array(file["proj-params/pixel-col-spacing"]).item())


def read_views(path: str | Path, specimen: str) -> Iterator[FluoroView]:
    """Yield a specimen's images but those whose truth is unsound."""
    with _opened(path) as file:
        parameters = file["proj-params"]
        intrinsic, extrinsic = (np.array(parameters[k], float) for k in ("intrinsic", "extrinsic"))
        for number, content in sorted(_of(path, file, specimen)["projections"].items()):
            if (specimen, number) not in UNSOUND:
                yield _view(specimen, number, content, intrinsic, extrinsic)


def _view(
    specimen: str, number: str, content: Any, intrinsic: np.ndarray, extrinsic: np.ndarray
) -> FluoroView:
    intensity = np.array(content["image/pixels"], float)
    turned = bool(np.array(content["rot-180-for-up"]).item())
    last = np.array(intensity.shape[::-1]) - 1.0
    landmarks = {
        our_name(name): np.ravel(point).astype(float)
        for name, point in content["gt-landmarks"].items()
    }
    if turned:
        intensity = intensity[::-1, ::-1]
        landmarks = {name: last - point for name, point in landmarks.items()}
    floor = max(float(intensity.max()), 1.0) * 1e-4
    valid = np.zeros(intensity.shape, dtype=bool)
    valid[CROP_PX:-CROP_PX, CROP_PX:-CROP_PX] = True
    poses = {
        body: world_to_camera(extrinsic, np.array(content["gt-poses"][key], float), turned)
        for body, key in BODIES.items()
        if key in content["gt-poses"]
    }
    log = np.log(max(float(intensity.max()), 1.0)) - np.log(np.maximum(intensity, floor))
    K = camera_matrix(intrinsic)
    if turned:
        K[:2, 2] = last - K[:2, 2]
    return FluoroView(specimen, number, log, valid, K, poses, landmarks)


def camera_matrix(intrinsic: np.ndarray) -> np.ndarray:
    """Return our K (3, 3) of theirs, whose both focal lengths are negative: the camera looks along −z."""
    K = np.array(intrinsic, dtype=float)
    K[1, 1] = -K[1, 1]
    return K


def world_to_camera(
    extrinsic: np.ndarray, carm_to_volume: np.ndarray, turned: bool = False
) -> np.ndarray:
    """Return our pose (4, 4) of theirs; `turned` where the image is turned by 180° to be upright."""
    pose = LOOKS_BACK @ extrinsic @ np.linalg.inv(carm_to_volume) @ LPS
    return HALF_TURN @ pose if turned else pose


def for_intensities(pose: np.ndarray, volume: Volume) -> np.ndarray:
    """Return the pose by which the CT's voxels, not its landmarks, lie as in the image.

    It differs by half a voxel along each axis of the file's grid (LPS): what the data set's users report,
    not checked here on the original file.
    """
    shift = np.eye(4)
    shift[:3, 3] = np.diag([-1.0, -1.0, 1.0]) @ (CORNER_VOXELS * volume.spacing_mm)
    return pose @ shift


def our_name(name: str) -> str:
    """Return our name of a landmark of theirs, such as ``left_femoral_head`` of ``FH-l``."""
    stem, _, side = name.rpartition("-")
    return f"{SIDES[side]}_{NAMES[stem]}" if side in SIDES and stem in NAMES else name


def _grid(content: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return voxels (x, y, z) and the affine (4, 4) to RAS mm."""
    lps = np.eye(4)
    lps[:3, :3] = np.array(content["dir-mat"], float) * np.ravel(content["spacing"])
    lps[:3, 3] = np.ravel(content["origin"])
    return np.array(content["pixels"]).T, LPS @ lps


def _opened(path: str | Path) -> "h5py.File":
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        problem = "is missing" if not Path(path).exists() else f"cannot be read as HDF5 ({error})"
        remedy = "Download ipcai_2020_full_res_data.h5 (doi 10.7281/T1/IFSXNV)"
        raise InputError(path, problem, remedy) from None
    if "proj-params" not in file:
        file.close()
        raise InputError(path, "is not DeepFluoro's file", "Give ipcai_2020_full_res_data.h5")
    return file


def _of(path: str | Path, file: "h5py.File", specimen: str) -> Any:
    if specimen not in file:
        there = ", ".join(sorted(name for name in file if name != "proj-params"))
        raise InputError(path, f"has no specimen {specimen!r}", f"It has {there}")
    return file[specimen]
