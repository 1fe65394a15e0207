"""DICOM X-rays: which grey means bone, which pixels are X-ray, how large and which way up.

Grey values pass the modality transformation (PS3.3 C.11.1). Whether bone is then bright is told by
PixelIntensityRelationshipSign where it is given (C.8.11.3.1.2: −1, higher values for less X-ray intensity),
or by PixelIntensityRelationship LIN; else by how the image is to be shown, white for high values unless it
is MONOCHROME1 or its PresentationLUTShape is INVERSE. Windows (VOI) change no order and are left out.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from raymark.core.errors import InputError
from raymark.imports.stored_image import Stored, coloured, letter_of, upright

if TYPE_CHECKING:
    import pydicom

# The pitch at the detector first: the others may be calibrated to another plane.
PITCHES = (
    "ImagerPixelSpacing",
    "ImagePlanePixelSpacing",
    "NominalScannedPixelSpacing",
    "PixelSpacing",
)
PITCH_MM = 0.005, 20.0  # what a detector or a scanner of films can have
DIFFERENT = 0.01
FLUOROSCOPY = ("XA", "RF")
SIDES = "LRAPHF"
CheckPixels = Callable[[Path, tuple[int, ...]], None]


def read_dicom(path: Path, frame: int | None, check_pixels: CheckPixels) -> Stored:
    """Read one image of a DICOM file, or one `frame` (from 1) of a series; bone bright, upright."""
    import pydicom

    dataset = pydicom.dcmread(path, force=True)
    _check_holds_image(path, dataset)
    check_pixels(path, (int(dataset.Rows), int(dataset.Columns)))
    stored_yx = _stored_values(path, dataset, _frame_index(path, dataset, frame))
    valid_yx = _valid(dataset, stored_yx)
    values_yx = _modality_values(path, dataset, stored_yx)
    inverted, doubts = _is_bone_dark(dataset)
    if inverted:
        values_yx = -values_yx
    if values_yx.min() < 0:  # brightness counts, not the origin
        values_yx = values_yx - (values_yx if valid_yx is None else values_yx[valid_yx]).min()
    spacing, about_pitch = _spacing(dataset)
    image = Stored(values_yx, spacing, valid_yx, aspect=_aspect(dataset))
    image = image.doubted([*doubts, *about_pitch])
    return _placed(dataset, image)


def _check_holds_image(path: Path, dataset: "pydicom.Dataset") -> None:
    """Tell what a file without a usable image lacks, or is instead."""
    if "DirectoryRecordSequence" in dataset:
        raise InputError(path, "is a DICOMDIR, a list of files", "Give one of the images it lists")
    kinds = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
    if not any(kind in dataset for kind in kinds):
        if "IconImageSequence" in dataset:
            problem = "holds an icon only, the image itself is missing"
        elif "SOPClassUID" not in dataset and "Rows" not in dataset:
            problem = "is no DICOM image, or was cut off within its header"
        else:
            modality = str(dataset.get("Modality") or "unknown")[:16]
            problem = f"holds no pixels (modality {modality}: a report, a plan or a header)"
        raise InputError(path, problem, "Export the image itself again")
    for tag in ("Rows", "Columns", "BitsAllocated", "PhotometricInterpretation"):
        if not dataset.get(tag) and not (tag == "BitsAllocated" and "PixelData" not in dataset):
            raise InputError(path, f"has no {tag}", "Export the image again, with its header")
    if int(dataset.get("SamplesPerPixel") or 1) != 1 or not str(
        dataset.PhotometricInterpretation
    ).startswith("MONOCHROME"):
        raise coloured(path)


def _frame_index(path: Path, dataset: "pydicom.Dataset", frame: int | None) -> int:
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frame is not None and frame > frames:
        raise InputError(path, f"has {frames} frames, no frame {frame}", "Give one it has")
    if frames > 1 and frame is None:
        problem = f"is a stack or a volume ({frames} frames)"
        raise InputError(path, problem, f"Choose one of 1 to {frames}: --frame N")
    return (frame or 1) - 1


def _stored_values(path: Path, dataset: "pydicom.Dataset", index: int) -> np.ndarray:
    """Return a frame's stored values (row, column), without what overlays keep in unused bits."""
    from pydicom.pixels import pixel_array

    _know_syntax(path, dataset)
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_compressed and "PixelData" in dataset:
        needed = int(dataset.Rows) * int(dataset.Columns) * int(dataset.BitsAllocated) // 8
        needed *= int(dataset.get("NumberOfFrames") or 1)
        if len(dataset.PixelData) < needed:
            problem = f"is cut off: it has {len(dataset.PixelData)} of {needed} bytes of pixels"
            raise InputError(path, problem, "Copy, download or export it again")
    try:
        frame_yx = pixel_array(dataset, index=index)
    except (RuntimeError, NotImplementedError, ValueError):
        if not syntax.is_compressed:
            raise
        problem = f"is compressed ({syntax.name}) and cannot be decoded"
        remedy = "Copy it again, or decompress it, e.g. with `gdcmconv --raw` or DCMTK's dcmdjpeg"
        raise InputError(path, problem, remedy) from None
    if frame_yx.dtype.kind == "f" or "PixelData" not in dataset or syntax.is_compressed:
        return frame_yx.astype(np.float64)
    used = int(dataset.get("BitsStored") or dataset.BitsAllocated)
    highest = int(dataset.get("HighBit") or used - 1)
    signed = bool(dataset.get("PixelRepresentation"))
    values = (frame_yx.astype(np.int64) >> (highest + 1 - used)) & ((1 << used) - 1)
    if signed:
        values -= (values >> (used - 1)) << used
    return values.astype(np.float64)


def _know_syntax(path: Path, dataset: "pydicom.Dataset") -> None:
    """Put in the transfer syntax that a file does not name, where its bytes show it."""
    import pydicom

    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
    if dataset.file_meta.get("TransferSyntaxUID"):
        return
    if bytes(dataset.get("PixelData", b"")[:4]) == b"\xfe\xff\x00\xe0":
        problem = "is compressed, but names no TransferSyntaxUID"
        raise InputError(path, problem, "Export it again, uncompressed")
    implicit, little = dataset.original_encoding
    uid = pydicom.uid
    dataset.file_meta.TransferSyntaxUID = (
        uid.ExplicitVRBigEndian
        if little is False
        else uid.ImplicitVRLittleEndian
        if implicit
        else uid.ExplicitVRLittleEndian
    )


def _valid(dataset: "pydicom.Dataset", stored_yx: np.ndarray) -> np.ndarray | None:
    """Return which pixels are no padding (PS3.3 C.7.5.1.1.2), None where none is declared."""
    padding = number_of(dataset, "PixelPaddingValue")
    if padding is None:
        return None
    limit = number_of(dataset, "PixelPaddingRangeLimit")
    low, high = sorted((padding, padding if limit is None else limit))
    if low < 0 <= stored_yx.min() and dataset.get("PixelRepresentation") == 0:
        low, high = low + 65536, high + 65536 if high < 0 else high  # written signed by mistake
    return (stored_yx < low) | (stored_yx > high)


def _modality_values(path: Path, dataset: "pydicom.Dataset", stored_yx: np.ndarray) -> np.ndarray:
    if "ModalityLUTSequence" in dataset:
        from pydicom.pixels import apply_modality_lut

        return apply_modality_lut(stored_yx.astype(np.int64), dataset).astype(np.float64)
    slope, intercept = (number_of(dataset, f"Rescale{name}") for name in ("Slope", "Intercept"))
    if slope == 0:
        raise InputError(path, "has a RescaleSlope of 0", "Export the image again")
    return stored_yx * (1.0 if slope is None else slope) + (intercept or 0.0)


def _is_bone_dark(dataset: "pydicom.Dataset") -> tuple[bool, list[str]]:
    """Tell whether bone is dark after the modality transformation, and what speaks against it."""
    shown_inverted = dataset.PhotometricInterpretation == "MONOCHROME1" or (
        dataset.get("PresentationLUTShape") == "INVERSE"
    )
    sign = number_of(dataset, "PixelIntensityRelationshipSign")
    relation = str(dataset.get("PixelIntensityRelationship") or "")
    if sign not in (1, -1) and relation == "LIN":
        sign = 1
    if sign not in (1, -1):
        doubtful = dataset.get("Modality") in FLUOROSCOPY and not shown_inverted
        told = "does not tell whether bone is bright or dark (PixelIntensityRelationshipSign): "
        remedy = "taken as bright, as it is shown; if it is dark: --invert"
        return shown_inverted, [told + remedy] if doubtful else []
    slope = number_of(dataset, "RescaleSlope") or 1.0
    dark = bool(sign * slope > 0)
    if dark == shown_inverted:
        return dark, []
    return dark, [
        "shows bone dark by its PhotometricInterpretation or PresentationLUTShape, against its "
        "PixelIntensityRelationship or that one's sign, which count: bone is made bright"
    ]


def _spacing(dataset: "pydicom.Dataset") -> tuple[tuple[float, float] | None, list[str]]:
    """Return the first usable pitch (y, x) in mm, and what contradicts it or had to be passed over."""
    usable: dict[str, tuple[float, float]] = {}
    doubts = []
    for tag in PITCHES:
        if dataset.get(tag) is None:
            continue
        pitch = _pair(dataset[tag].value)
        if pitch is None or not (PITCH_MM[0] <= min(pitch) <= max(pitch) <= PITCH_MM[1]):
            doubts.append(f"has no usable {tag}: passed over")
        else:
            usable[tag] = pitch
    if not usable:
        return None, doubts
    (tag, pitch), *others = usable.items()
    for other, differing in others:
        if not np.allclose(pitch, differing, rtol=DIFFERENT):
            doubts.append(
                f"has two pixel sizes: {tag} {pitch[0]:g} mm counts, not {other} {differing[0]:g} mm"
            )
    return pitch, doubts


def _aspect(dataset: "pydicom.Dataset") -> float:
    """Return a pixel's height by its width (PixelAspectRatio), 1 where it is not told."""
    ratio = _pair(dataset.get("PixelAspectRatio"))
    return 1.0 if ratio is None or min(ratio) <= 0 else ratio[0] / ratio[1]


def _placed(dataset: "pydicom.Dataset", image: Stored) -> Stored:
    """Put an image where its header says it lies, and turn it upright."""
    axes = numbers_of(dataset.get("ImageOrientationPatient"), 6)
    origin = numbers_of(dataset.get("ImagePositionPatient"), 3)
    row = column = ""
    if axes is not None and np.allclose(np.linalg.norm(axes.reshape(2, 3), axis=1), 1, atol=1e-2):
        along_row, along_column = axes.reshape(2, 3)
        row, column = letter_of(along_row), letter_of(along_column)
        if origin is not None and image.spacing_yx_mm is not None:
            tall, wide = image.spacing_yx_mm
            image = image.placed(np.column_stack([along_row * wide, along_column * tall, origin]))
    told = dataset.get("PatientOrientation")
    sides = [str(side).strip().upper()[:1] for side in told] if _is_many(told, 2) else []
    if len(sides) == 2 and all(side and side in SIDES for side in sides):
        row, column = sides
    return upright(image, row, column) if row and column else image


def number_of(dataset: "pydicom.Dataset", tag: str) -> float | None:
    numbers = numbers_of(dataset.get(tag), 1)
    return None if numbers is None else float(numbers[0])


def _pair(value: Any) -> tuple[float, float] | None:
    numbers = numbers_of(value, 2)
    return None if numbers is None else (float(numbers[0]), float(numbers[1]))


def numbers_of(value: Any, count: int) -> np.ndarray | None:
    try:
        numbers = np.array(value, dtype=np.float64).reshape(count)
    except (TypeError, ValueError):
        return None
    return numbers if np.isfinite(numbers).all() else None


def _is_many(value: Any, count: int) -> bool:
    return value is not None and not isinstance(value, str) and len(value) == count
