"""Reader of one DICOM CT series, from a folder or a zip, slice order and gaps judged by position.

A zip is read in memory; nothing is extracted. Errors name the slice's file and quote no identity,
date or UID: only the tags listed in `TAGS` are read, and of these only the modality is ever shown.
"""

import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
import pydicom
from pydicom.pixels import get_decoder, pixel_array

from raymark.core.errors import InputError
from raymark.ct.grid import check_affine, check_shape
from raymark.ct.values import AIR_HU, connected_with_rim
from raymark.ct.voxel_files import LPS_TO_RAS, reading

TAGS = [
    "SeriesInstanceUID",
    "Modality",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "PixelSpacing",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]
# "US" is "unspecified"; HU_MOD are Hounsfield units of a spectral scan. Others are no densities.
HOUNSFIELD_RESCALE_TYPES = ("", "HU", "US", "HU_MOD")
SIDE_FILES = ("DICOMDIR", "LOCKFILE", "VERSION", "Thumbs.db", "desktop.ini")
SIDE_SUFFIXES = (".txt", ".csv", ".tsv", ".json", ".xml", ".html", ".htm", ".pdf", ".md")
LARGEST_SLICE_BYTES = 2**28  # 4096² voxels take 2^25: a larger member of a zip is no CT slice
DUPLICATE_MM = 1e-3
IRREGULAR = 0.1  # deviation of a slice from its place in a regular stack, in slice distances

FRAME_MACROS = (
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
)

Open = Callable[[], IO[bytes]]


@dataclass(frozen=True)
class Slice:
    """What the header of one file says about its place (LPS mm) and its scale."""

    source: str
    open: Open
    shape_yx: tuple[int, int]
    spacing_yx_mm: np.ndarray
    axes: np.ndarray  # (2, 3): directions of growing column index and of growing row index
    position_mm: np.ndarray
    slope: float
    intercept: float
    frame: int = 0

    @property
    def normal(self) -> np.ndarray:
        return np.cross(*self.axes)


def read_series(path: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Read the one CT series of a folder, a zip or an enhanced file.

    Returns int16 HU (column, row, slice), the affine to RAS mm, and doubts.
    """
    with reading(path), _files(path) as files:
        slices = _slices(path, files)
        check_shape(path, (*slices[0].shape_yx, len(slices)))
        slices = _sorted_stack(slices)
        affine = LPS_TO_RAS @ _affine(slices)
        check_affine(path, affine)
        hu_kji = np.empty((len(slices), *slices[0].shape_yx), np.int16)
        bright_kji = np.zeros(hu_kji.shape, bool)
        decoder = _Decoder()
        for hu_ji, bright_ji, image in zip(hu_kji, bright_kji, slices, strict=True):
            hu_ji[:], bright_ji[:] = decoder.hounsfield(image)
    if not bright_kji.any():
        return hu_kji.T, affine, []
    outside = connected_with_rim(bright_kji)  # tissue may have the same value
    hu_kji[outside] = AIR_HU
    doubts = [f"{outside.mean():.0%} of it is padding (PixelPaddingValue): taken as air"]
    return hu_kji.T, affine, doubts


@contextmanager
def _files(path: Path) -> Iterator[dict[str, Open]]:
    """Yield the candidate files of a folder or zip, in order of name, each with how to open it."""
    if path.is_file() and path.suffix.lower() != ".zip":
        yield {path.name: partial(_opened, path)}
        return
    if path.is_dir():
        inside = sorted(file for file in path.rglob("*") if file.is_file())
        yield _wanted(path, {f.relative_to(path).as_posix(): partial(_opened, f) for f in inside})
        return
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        for member in members:
            _check_member(path, member)
        files = {member.filename: partial(archive.open, member) for member in members}
        if len(files) < len(members):
            raise _unsafe(path, "two files of the same name")
        yield _wanted(path, dict(sorted(files.items())))


def _opened(file: Path) -> IO[bytes]:
    return file.open("rb")


def _wanted(path: Path, files: dict[str, Open]) -> dict[str, Open]:
    """Leave out what lies beside exported series: hidden files, indexes, text."""
    wanted = {}
    for name, open_file in files.items():
        parts = PurePosixPath(name).parts
        hidden = any(part.startswith(".") for part in parts)
        beside = parts[-1] in SIDE_FILES or name.lower().endswith(SIDE_SUFFIXES)
        if not hidden and not beside:
            wanted[name] = open_file
    if not wanted:
        raise InputError(path, "holds no DICOM file", "Put the files of one CT series into it")
    return wanted


def _check_member(path: Path, member: zipfile.ZipInfo) -> None:
    name = member.filename.replace("\\", "/")
    if name.startswith("/") or ":" in name or ".." in name.split("/"):
        raise _unsafe(path, "a path that leads outside")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise _unsafe(path, "a symbolic link")
    if member.file_size > LARGEST_SLICE_BYTES:
        raise _unsafe(path, f"a file above {LARGEST_SLICE_BYTES >> 20} MiB")
    if member.flag_bits & 1:
        raise InputError(path, "is encrypted", "Unpack it and name the folder instead")


def _unsafe(path: Path, what: str) -> InputError:
    return InputError(path, f"holds {what}", "Zip the plain files of one CT series again")


def _slices(path: Path, files: dict[str, Open]) -> list[Slice]:
    """Read the headers of all files and see that they are slices of one and the same CT series."""
    parent = path.parent if path.is_file() and path.suffix.lower() != ".zip" else path
    headers = {f"{parent}/{name}": _header(f"{parent}/{name}", files[name]) for name in files}
    series = {header.SeriesInstanceUID for header in headers.values()}
    if len(series) > 1:
        raise InputError(
            path,
            f"holds {len(series)} series",
            "Put one series per folder, the one to use; scouts and reports count as series too",
        )
    slices = []
    for open_file, (source, header) in zip(files.values(), headers.items(), strict=True):
        with reading(source):
            _check_kind(source, header)
            for frame in range(_frames(header)):
                own = _of_frame(source, header, frame) if _frames(header) > 1 else header
                slices.append(replace(_slice(source, open_file, own), frame=frame))
    first = slices[0]
    for other in slices[1:]:
        same_shape = other.shape_yx == first.shape_yx
        same_spacing = np.allclose(other.spacing_yx_mm, first.spacing_yx_mm, rtol=1e-3)
        if not (same_shape and same_spacing and np.allclose(other.axes, first.axes, atol=1e-3)):
            raise InputError(
                other.source,
                "differs from the series' first slice in size, pixel spacing or orientation",
                "Keep the axial slices of one reconstruction only; take scouts out",
            )
    return slices


def _header(source: str, open_file: Open) -> pydicom.Dataset:
    with reading(source), open_file() as file:
        if file.read(132)[128:] != b"DICM":
            raise InputError(
                source, "is no DICOM file", "Take it out of the series, or copy it again"
            )
        file.seek(0)
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=TAGS)
        if not header.get("SeriesInstanceUID"):  # also when the file ends within its header
            raise _bad_tag(source, "SeriesInstanceUID")
        return header


def _check_kind(source: str, header: pydicom.Dataset) -> None:
    modality = str(header.get("Modality", "")) or "missing"
    if modality != "CT":
        raise InputError(source, f"is not CT (its modality is {modality})", "Give a CT series")
    if _frames(header) > 1 and "PerFrameFunctionalGroupsSequence" not in header:
        raise InputError(
            source,
            "holds several frames in one file, and does not say where each lies",
            "Export it as one file per slice, or convert it to NIfTI with dcm2niix",
        )
    if header.get("SamplesPerPixel", 1) != 1:
        raise InputError(source, "is a colour picture", "Take it out; give the scan's own slices")
    if not header.get("PhotometricInterpretation"):
        raise _bad_tag(source, "PhotometricInterpretation")
    if header.PhotometricInterpretation != "MONOCHROME2":
        raise InputError(
            source,
            "is not MONOCHROME2 (larger values brighter)",
            "Export the scanner's own slices, not inverted or palette pictures",
        )
    if str(header.get("RescaleType") or "") not in HOUNSFIELD_RESCALE_TYPES:
        raise InputError(
            source,
            "is not rescaled to Hounsfield units (RescaleType)",
            "Give the ordinary or a virtual monoenergetic reconstruction, not a material map",
        )


def _frames(header: pydicom.Dataset) -> int:
    return int(header.get("NumberOfFrames") or 1)


def _of_frame(source: str, header: pydicom.Dataset, frame: int) -> pydicom.Dataset:
    """Return a header with one frame's place and scale, from the groups of an enhanced file.

    Frames of several stacks or phases lie where others do, and are refused as duplicates.
    """
    own = pydicom.Dataset()
    own.Rows, own.Columns = header.Rows, header.Columns
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        items = header.get(groups) or []
        item = items[frame if groups.startswith("Per") else 0] if items else pydicom.Dataset()
        for macro in FRAME_MACROS:
            for part in item.get(macro) or []:
                for tag in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
                    if tag in part:
                        own[tag] = part[tag]
                for tag in ("RescaleSlope", "RescaleIntercept"):
                    if tag in part:
                        own[tag] = part[tag]
    if "RescaleSlope" not in own:
        raise _bad_tag(source, "RescaleSlope")
    return own


def _slice(source: str, open_file: Open, header: pydicom.Dataset) -> Slice:
    (slope,) = _numbers(source, header, "RescaleSlope", 1)
    (intercept,) = _numbers(source, header, "RescaleIntercept", 1)
    axes = _numbers(source, header, "ImageOrientationPatient", 6).reshape(2, 3)
    spacing_yx_mm = _numbers(source, header, "PixelSpacing", 2)
    rows, columns = _numbers(source, header, "Rows", 1), _numbers(source, header, "Columns", 1)
    position_mm = _numbers(source, header, "ImagePositionPatient", 3)
    if slope == 0:
        raise _bad_tag(source, "RescaleSlope")
    if (spacing_yx_mm <= 0).any():
        raise _bad_tag(source, "PixelSpacing")
    if not np.allclose(axes @ axes.T, np.eye(2), atol=1e-3):
        raise _bad_tag(source, "ImageOrientationPatient")
    axes = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    shape_yx = int(rows[0]), int(columns[0])
    return Slice(source, open_file, shape_yx, spacing_yx_mm, axes, position_mm, slope, intercept)


def _numbers(source: str, header: pydicom.Dataset, tag: str, count: int) -> np.ndarray:
    """Return the finite numbers of a tag, (count,); a missing or malformed one is an InputError."""
    try:
        numbers = np.array(header[tag].value, dtype=np.float64).reshape(count)
    except Exception:
        raise _bad_tag(source, tag) from None
    if not np.isfinite(numbers).all():
        raise _bad_tag(source, tag)
    return numbers


def _bad_tag(source: str, tag: str) -> InputError:
    return InputError(
        source,
        f"has no usable {tag}",
        "Copy or export the series again, original images only",
    )


def _sorted_stack(slices: list[Slice]) -> list[Slice]:
    """Sort along the normal of the first slice; refuse duplicates, gaps and irregular places."""
    normal = slices[0].normal
    slices = sorted(slices, key=lambda image: image.position_mm @ normal)
    offsets = np.array([image.position_mm - slices[0].position_mm for image in slices])
    heights = offsets @ normal
    steps = np.diff(heights)
    duplicates = np.flatnonzero(steps < DUPLICATE_MM)
    if len(duplicates):
        raise InputError(
            slices[duplicates[0] + 1].source,
            f"lies where another slice lies ({len(duplicates)} duplicate slices in the series)",
            "Keep one file per position; split time points or phases into folders of their own",
        )
    step = steps.min()
    gaps = np.flatnonzero(steps > 1.5 * step)
    if len(gaps):
        missing = int(np.sum(np.rint(steps[gaps] / step) - 1))
        raise InputError(
            slices[gaps[0]].source,
            f"is followed by a gap of {steps[gaps[0]]:.2f} mm where slices are {step:.2f} mm apart "
            f"({missing} missing slices in the series)",
            "Copy or download the whole series again",
        )
    line = np.linspace(0, 1, len(slices))[:, None] * offsets[-1]
    deviations = np.linalg.norm(offsets - line, axis=1)
    worst = int(np.argmax(deviations))
    if deviations[worst] > IRREGULAR * step:
        raise InputError(
            slices[worst].source,
            "does not lie in line and at a regular distance with the other slices",
            "Give a reconstruction with one slice distance throughout",
        )
    return slices


def _affine(slices: list[Slice]) -> np.ndarray:
    """Return the affine (4, 4) from (column, row, slice) to LPS mm, DICOM PS3.3 C.7.6.2.1.1."""
    first, last = slices[0], slices[-1]
    affine = np.eye(4)
    affine[:3, 0] = first.axes[0] * first.spacing_yx_mm[1]
    affine[:3, 1] = first.axes[1] * first.spacing_yx_mm[0]
    affine[:3, 2] = (last.position_mm - first.position_mm) / (len(slices) - 1)
    affine[:3, 3] = first.position_mm
    return affine


class _Decoder:
    """Decodes slices; of a file with many frames it keeps the last one open."""

    def __init__(self) -> None:
        self.source, self.dataset = "", pydicom.Dataset()

    def hounsfield(self, image: Slice) -> tuple[np.ndarray, np.ndarray]:
        """Return one slice as HU (row, column), and where it has a padding value above air's."""
        with reading(image.source):
            if image.source != self.source:
                with image.open() as file:
                    self.source, self.dataset = image.source, pydicom.dcmread(file)
            stored = self._stored(image)
            hu = stored * image.slope + image.intercept
            bright = np.zeros(hu.shape, bool)
            padding = self.dataset.get("PixelPaddingValue")
            if padding is not None:
                limit = self.dataset.get("PixelPaddingRangeLimit", padding)
                low, high = sorted((int(padding), int(limit)))
                bright = (stored >= low) & (stored <= high) & (hu > AIR_HU)
        limits = np.iinfo(np.int16)
        return np.clip(np.rint(hu), limits.min, limits.max), bright

    def _stored(self, image: Slice) -> np.ndarray:
        syntax = self.dataset.file_meta.TransferSyntaxUID
        if syntax.is_compressed and not _can_decode(syntax):
            raise _compressed(image.source, syntax)
        try:
            return pixel_array(self.dataset, index=image.frame)
        except (RuntimeError, NotImplementedError, ValueError):
            if syntax.is_encapsulated:
                raise _compressed(image.source, syntax) from None
            raise


def _compressed(source: str, syntax: pydicom.uid.UID) -> InputError:
    return InputError(
        source,
        f"is compressed ({syntax.name}), and damaged or in a way that cannot be decoded here",
        "Copy it again, or decompress the series, e.g. `gdcmconv --raw` or DCMTK's dcmdjpeg",
    )


def _can_decode(syntax: pydicom.uid.UID) -> bool:
    try:
        return syntax.is_deflated or get_decoder(syntax).is_available
    except NotImplementedError:
        return False
