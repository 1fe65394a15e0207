"""CT files whose values, units or grids mislead."""

import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from raymark.core.errors import InputError
from raymark.ct import read_ct
from tests.foreign.case import Case
from tests.unit.ct.examples import write_series

AFFINE = np.diag([3.0, 3.0, 4.0, 1.0])
SHAPE = (40, 36, 24)
BONE = (12, 20, 9)  # a voxel (x, y, z) of the RAS grid


def body(air: int = -1000) -> np.ndarray:
    """HU of a cylinder of fat and muscle in air, along z, with one bone and gas inside."""
    x, y, _ = np.indices(SHAPE)
    hu = np.full(SHAPE, air, np.int16)
    away = np.hypot((x - 19) / 14, (y - 17) / 12)
    hu[away < 1] = -100
    hu[away < 0.8] = 40
    hu[18:21, 10:13, 10:14] = -800
    x, y, z = BONE
    hu[x - 2 : x + 3, y - 2 : y + 3, z - 2 : z + 3] = 1200
    return hu


def described(path: Path, straighten: bool = False) -> str:
    """Read a CT and say where its bone is in mm, what surrounds the body, and the doubts."""
    try:
        volume = read_ct(path, straighten)
    except InputError as error:
        return f"refused: {error}"
    middle = np.argwhere(volume.hu_xyz > 600).mean(axis=0)
    mm = volume.affine[:3, :3] @ middle + volume.affine[:3, 3]
    place = ", ".join(f"{value:.1f}" for value in mm)
    corner = int(np.median(volume.hu_xyz[:3, :3]))
    highest = int(volume.hu_xyz.max())
    return (
        f"bone at {place} mm; corner {corner} HU; highest {highest} HU; "
        f"doubts: {'; '.join(volume.doubts) or 'none'}"
    )


def nifti(hu: np.ndarray, affine=AFFINE, unit="mm", name="ct.nii.gz"):
    def make(folder: Path) -> str:
        image = nib.Nifti1Image(hu, affine)
        image.header.set_xyzt_units(unit)
        nib.save(image, folder / "saved.nii")
        content = (folder / "saved.nii").read_bytes()
        packed = name in ("ct.nii.gz", "packed.nii")
        (folder / name).write_bytes(gzip.compress(content) if packed else content)
        return described(folder / name)

    return make


def series(hu: np.ndarray, change: Callable | None = None, straighten: bool = False):
    def make(folder: Path) -> str:
        files = sorted(write_series(folder / "s", hu, AFFINE).iterdir())
        for file in files if change is not None else []:
            ds = pydicom.dcmread(file)
            change(ds, file)
            if file.exists():
                ds.save_as(file)
        return described(folder / "s", straighten)

    return make


def padded_with_4095(ds, _) -> None:
    pixels = ds.pixel_array.copy()
    rows, columns = np.indices(pixels.shape)
    pixels[np.hypot(rows - 18, columns - 20) > 17] = 4095
    ds.PixelData = pixels.tobytes()
    ds.add_new("PixelPaddingValue", "US", 4095)


def tilted(ds, _) -> None:
    """The gantry is tilted by 20°: slices lie along z, their normals do not."""
    cos, sin = np.cos(np.radians(20)), np.sin(np.radians(20))
    ds.ImageOrientationPatient = [1, 0, 0, 0, float(cos), float(sin)]


def tilted_truth() -> np.ndarray:
    """Where the bone lies then, by DICOM's own formula (PS3.3 C.7.6.2.1.1): columns to the left."""
    cos, sin = np.cos(np.radians(20)), np.sin(np.radians(20))
    x, y, z = np.array(BONE) * [3.0, 3.0, 4.0]
    return np.array([-x, -y * cos, z + y * sin])


def compressed(syntax: str):
    def change(_, file: Path) -> None:
        import gdcm

        reader, changer, writer = (
            gdcm.ImageReader(),
            gdcm.ImageChangeTransferSyntax(),
            gdcm.ImageWriter(),
        )
        reader.SetFileName(str(file))
        assert reader.Read()
        uid = str(getattr(pydicom.uid, syntax))
        changer.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(uid)))
        changer.SetInput(reader.GetImage())
        assert changer.Change()
        writer.SetFileName(str(file))
        writer.SetFile(reader.GetFile())
        writer.SetImage(changer.GetOutput())
        assert writer.Write()

    def make(folder: Path) -> str:
        for file in write_series(folder / "s", body(), AFFINE).iterdir():
            change(None, file)
        return described(folder / "s")

    return make


def enhanced(with_places: bool = True):
    """One file of many frames, as enhanced CT is, its frames from the head down."""

    def make(folder: Path) -> str:
        files = sorted(write_series(folder / "s", body(), AFFINE).iterdir())
        slices = sorted(
            (pydicom.dcmread(f) for f in files), key=lambda s: -s.ImagePositionPatient[2]
        )
        whole = slices[0]
        whole.PixelData = b"".join(s.PixelData for s in slices)
        whole.NumberOfFrames = len(slices)
        groups = []
        for one in slices:
            place, scale, group = Dataset(), Dataset(), Dataset()
            place.ImagePositionPatient = one.ImagePositionPatient
            scale.RescaleSlope, scale.RescaleIntercept = one.RescaleSlope, one.RescaleIntercept
            group.PlanePositionSequence = Sequence([place])
            group.PixelValueTransformationSequence = Sequence([scale])
            groups.append(group)
        axes, measures, shared = Dataset(), Dataset(), Dataset()
        axes.ImageOrientationPatient, measures.PixelSpacing = (
            whole.ImageOrientationPatient,
            whole.PixelSpacing,
        )
        shared.PlaneOrientationSequence = Sequence([axes])
        shared.PixelMeasuresSequence = Sequence([measures])
        for tag in (
            "ImagePositionPatient",
            "ImageOrientationPatient",
            "PixelSpacing",
            "RescaleSlope",
            "RescaleIntercept",
        ):
            if tag in whole:
                del whole[tag]
        if with_places:
            whole.SharedFunctionalGroupsSequence = Sequence([shared])
            whole.PerFrameFunctionalGroupsSequence = Sequence(groups)
        whole.save_as(folder / "enhanced.dcm")
        return described(folder / "enhanced.dcm")

    return make


AT = "bone at 36.0, 60.0, 36.0 mm; corner {} HU; highest 1200 HU; doubts: "
RIGHT = AT.format(-1000)


def same(out: str) -> bool:
    return out == f"{RIGHT}none"


def says(start: str, *words: str) -> Callable[[str], bool]:
    return lambda out: out.startswith(start) and all(word in out for word in words)


def refused(*words: str) -> Callable[[str], bool]:
    return lambda out: out.startswith("refused") and all(word in out for word in words)


def straight(out: str) -> bool:
    if not out.startswith("bone at") or "rectangular" not in out:
        return False
    found = np.array([float(value) for value in out[8 : out.index(" mm")].split(", ")])
    return bool(np.abs(found - tilted_truth()).max() < 1.0)


def case(given: str, expected: str, make, right=same) -> Case:
    return Case("CT", given, expected, make, right)


CROP = np.ascontiguousarray(body()[8:30, 12:24, 3:20])
CROP[CROP < -150] = -120 + (np.arange((CROP < -150).sum()) % 40).astype(np.int16)
SHIFTED = np.where(body() == -1000, -2000, body() + 1024).astype(np.int16)

CASES = (
    case("NIfTI", "read", nifti(body())),
    case("surroundings stored as 0, gas inside", "air around, said", nifti(body(0)), says(AT.format(-1024), "padding of 0 HU")),
    case("surroundings stored as 3071", "air around, said", nifti(body(3071)), says(AT.format(-1024), "padding of 3071 HU")),
    case("padding at −2048", "read; it is raised to air when used", nifti(body(-2048)), says(AT.format(-2048))),
    case("HU + 1024 with padding −2000", "refused, said", nifti(SHIFTED), refused("HU + 1024")),
    case("a crop within the body, without air", "read, said", nifti(CROP), says("bone", "crop within the body")),
    case("a window of −160 to 240 HU", "refused", nifti(np.clip(body(), -160, 240)), refused("Hounsfield")),
    case("NIfTI in metres, said in its header", "read in mm", nifti(body(), np.diag([0.003, 0.003, 0.004, 1]), "meter")),
    case("spacing of a tenth", "told", nifti(body(), np.diag([0.3, 0.3, 0.4, 1])), says("bone at 3.6, 6.0, 3.6", "centimetres")),
    case("spacing in metres, not said", "refused", nifti(body(), np.diag([0.003, 0.003, 0.004, 1])), refused("measures")),
    case("gzip named .nii", "read", nifti(body(), name="packed.nii")),
    case("NIfTI named .nii.gz", "read", nifti(body(), name="plain.nii.gz")),
    case("DICOM series", "read", series(body())),
    case("PixelPaddingValue 4095 around the field of view", "air, said", series(body(), padded_with_4095), says(AT.format(-1024), "PixelPaddingValue")),
    case("a tilted gantry", "refused, the key named", series(body(), tilted), refused("sheared", "ct.straighten")),
    case("a tilted gantry, straightened", "bone at its true place", series(body(), tilted, straighten=True), straight),
    *(case(f"a series in {syntax}", "read exactly", compressed(syntax)) for syntax in ("JPEGLosslessSV1", "JPEGLSLossless", "JPEG2000Lossless")),
    case("enhanced CT, frames from the head down", "read", enhanced()),
    case("many frames without their places", "refused", enhanced(with_places=False), refused("where each lies")),
)  # fmt: skip
