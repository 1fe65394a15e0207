"""Names within label files: 3D Slicer's segments (.seg.nrrd) and the label table of a NIfTI header."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np

from raymark.core.errors import InputError
from raymark.ct.detached import check_data_file
from raymark.ct.grid import LabelMap, check_affine
from raymark.ct.voxel_files import ITK_SUFFIXES, LPS_TO_RAS, check_itk_size, reading

if TYPE_CHECKING:
    import SimpleITK

NAMED_BY = "NamedBy"
FIELD = re.compile(r"Segment(\d+)_(Name|LabelValue|Layer)")


def read_segments(path: Path) -> LabelMap | None:
    """Read a NRRD file with named segments; None where the file has none.

    Segments may lie in several layers, where they overlap: those of the first layer count. Raises
    InputError for segments of one id under two names.
    """
    if path.suffix.lower() not in (".nrrd", ".nhdr"):
        return None
    with reading(path):
        reader, file_bytes = _opened(path)
        segments = _segments(reader)
        if not segments:
            return None
        check_itk_size(reader, path, file_bytes)
        layers, affine = _layers(reader)
    check_affine(path, affine)
    return _merged(path, layers, affine, segments)


def nifti_names(path: Path) -> tuple[dict[int, str], str]:
    """Return the names by id in a NIfTI file's header (a LabelTable in XML), empty where there are none.

    The second value is who named them, which only the files that raymark writes tell.
    """
    import nibabel as nib  # see `raymark.ct.grid.to_ras`

    with reading(path):
        image = nib.load(path)
        extensions = getattr(image.header, "extensions", [])
        texts = [extension.get_content() for extension in extensions]
    names: dict[int, str] = {}
    named_by = ""
    for text in texts:
        text = text.encode() if isinstance(text, str) else bytes(text)
        if b"LabelTable" in text:
            found, named_by = _label_table(path, text)
            names |= found
    return names, named_by


def label_table(names: Mapping[int, str], named_by: str = "") -> bytes:
    """Return names by id as the XML that `nifti_names` and other programs read from a NIfTI header."""
    root = ElementTree.Element("CaretExtension")
    volume = ElementTree.SubElement(root, "VolumeInformation", Index="0")
    table = ElementTree.SubElement(volume, "LabelTable", {NAMED_BY: named_by} if named_by else {})
    for label, name in sorted(names.items()):
        ElementTree.SubElement(table, "Label", Key=str(label)).text = name
    return ElementTree.tostring(root, encoding="utf-8") if names else b""


def overlap_doubt(voxels: int, labels: np.ndarray) -> tuple[str, ...]:
    """Say how much of a label map was labelled twice."""
    if not voxels:
        return ()
    share = voxels / max(1, int(np.count_nonzero(labels)))
    return (f"{share:.1%} of what it labels is of two structures: the first of them counts",)


def _label_table(path: Path, text: bytes) -> tuple[dict[int, str], str]:
    try:
        root = ElementTree.fromstring(text.rstrip(b"\0 \n"))
        names = {
            int(label.attrib["Key"]): (label.text or "").strip()
            for label in root.iter("Label")
            if int(label.attrib["Key"]) > 0 and (label.text or "").strip()
        }
        return names, next((t.get(NAMED_BY, "") for t in root.iter("LabelTable")), "")
    except (ElementTree.ParseError, KeyError, ValueError):
        raise InputError(
            path,
            "has a table of label names in its header that cannot be read",
            "Save the label map again, or without the table; ids are then those of label_scheme",
        ) from None


def _opened(path: Path) -> tuple["SimpleITK.ImageFileReader", int]:
    import SimpleITK

    file_bytes = check_data_file(path)
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO(ITK_SUFFIXES[path.suffix.lower()])
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return reader, file_bytes


def _segments(reader: "SimpleITK.ImageFileReader") -> list[tuple[str, int, int]]:
    """Return (name, label, layer) of every segment, in the file's order."""
    found: dict[int, dict[str, str]] = {}
    for tag in reader.GetMetaDataKeys():
        if field := FIELD.fullmatch(tag):
            found.setdefault(int(field[1]), {})[field[2]] = reader.GetMetaData(tag).strip()
    return [
        (
            values.get("Name", f"Segment {n}"),
            int(values.get("LabelValue", n + 1)),
            int(values.get("Layer", 0)),
        )
        for n, values in sorted(found.items())
    ]


def _layers(reader: "SimpleITK.ImageFileReader") -> tuple[np.ndarray, np.ndarray]:
    """Return voxels (layers, i, j, k) and the affine (4, 4) to RAS."""
    import SimpleITK

    image = reader.Execute()
    voxels = SimpleITK.GetArrayFromImage(image)
    layers = voxels[None] if voxels.ndim == 3 else np.moveaxis(voxels, -1, 0)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return layers.transpose(0, 3, 2, 1), LPS_TO_RAS @ affine


def _merged(
    path: Path, layers: np.ndarray, affine: np.ndarray, segments: list[tuple[str, int, int]]
) -> LabelMap:
    """Give every segment an id of its own: its label value, or a free one where layers share values."""
    values = [label for _, label, _ in segments]
    own_ids = len(set(values)) == len(values)
    merged, names, overlap = np.zeros(layers.shape[1:], np.int16), {}, 0
    for number, (name, value, layer) in enumerate(segments, start=1):
        if not 0 < value <= np.iinfo(np.int16).max or not 0 <= layer < len(layers):
            problem = f"tells of the segment {name!r} with the label {value} in the layer {layer}"
            raise InputError(path, problem, "Save the segmentation again with 3D Slicer")
        label = value if own_ids else number
        inside = layers[layer] == value
        overlap += int(np.count_nonzero(inside & (merged > 0)))
        merged[inside & (merged == 0)] = label
        names[label] = name
    return LabelMap(merged, affine, names, overlap_doubt(overlap, merged))
