"""The canonical files: NIfTI with nothing in them but voxels and their place, same bytes every time."""

import gzip
from pathlib import Path
from typing import cast

import numpy as np

from raymark.core.files import atomic
from raymark.ct.grid import LabelMap, Volume
from raymark.ct.labels.segments import label_table, nifti_names
from raymark.ct.voxel_files import reading

COMPRESSION_LEVEL = 1  # several times faster than the usual 6 for files about a tenth larger


def write_volume(path: str | Path, volume: Volume) -> None:
    """Write int16 HU as NIfTI gz, whole or not at all; equal volumes give equal bytes."""
    _write(path, volume.hu_xyz, volume.affine)


def write_labels(path: str | Path, labels: LabelMap) -> None:
    """Write label ids (uint8 or int16) as NIfTI gz, whole or not at all, with the names that they have."""
    _write(path, labels.labels_xyz, labels.affine, label_table(labels.names, labels.named_by))


def read_volume(path: str | Path) -> Volume:
    """Read what `write_volume` wrote; the checks of `read_ct` are not repeated."""
    return Volume(*_read(path))


def read_label_map(path: str | Path) -> LabelMap:
    """Read what `write_labels` wrote."""
    names, named_by = nifti_names(Path(path))
    return LabelMap(*_read(path), names, named_by=named_by)


def _write(
    path: str | Path, voxels_xyz: np.ndarray, affine: np.ndarray, table: bytes = b""
) -> None:
    import nibabel as nib  # see `raymark.ct.grid.to_ras`

    image = nib.Nifti1Image(voxels_xyz, affine)
    if table:
        image.header.extensions.append(nib.nifti1.Nifti1Extension(0, table))
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    image.header.set_xyzt_units("mm")
    # No file name and no time in the gzip header, which would make equal contents differ.
    with (
        atomic(path) as partial,
        open(partial, "wb") as file,
        gzip.GzipFile("", "wb", COMPRESSION_LEVEL, file, mtime=0) as packed,
    ):
        image.to_stream(packed)


def _read(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    import nibabel as nib  # see `raymark.ct.grid.to_ras`

    with reading(path):
        image = cast(nib.Nifti1Image, nib.load(path))  # as `_write` wrote it
        return np.asarray(image.dataobj), np.asarray(image.affine, dtype=np.float64)
