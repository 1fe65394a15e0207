"""CT ingestion: any CT a user has becomes one canonical volume, or one clear error.

Canonical means: axes along the ones closest to right, anterior, superior; int16 Hounsfield units; the
affine of the original voxel centres, obliqueness included; nothing else of the input's header.
"""

from raymark.ct.canonical import canonical
from raymark.ct.grid import LabelMap, Volume
from raymark.ct.ingest import ingest
from raymark.ct.labels.read import read_labels
from raymark.ct.quality import quality
from raymark.ct.read import read_ct
from raymark.ct.store import read_label_map, read_volume, write_labels, write_volume

__all__ = [
    "LabelMap",
    "Volume",
    "canonical",
    "ingest",
    "quality",
    "read_ct",
    "read_label_map",
    "read_labels",
    "read_volume",
    "write_labels",
    "write_volume",
]
