"""The ingestion step: one subject's CT and labels in, canonical files and quality row out."""

import csv
from pathlib import Path

import numpy as np

from raymark.config.dataset import Ct
from raymark.core.doubts import warn
from raymark.core.files import atomic
from raymark.ct.canonical import canonical
from raymark.ct.grid import LabelMap
from raymark.ct.labels.read import read_labels
from raymark.ct.quality import quality
from raymark.ct.read import read_ct
from raymark.ct.store import write_labels, write_volume


def ingest(
    ct_path: str | Path,
    labels_path: str | Path | None,
    config: Ct,
    out_volume: str | Path,
    out_labels: str | Path,
    out_quality: str | Path,
    subject: str,
    label_scheme: str = "",
) -> None:
    """Read, check and bring one subject's CT to canonical form; write three files, the row last.

    Without labels the label map is all background, so that later steps find the same three files for
    every subject. Raises InputError for input that cannot be used; then nothing is written.
    """
    original = read_ct(ct_path, config.straighten)
    labels = None if labels_path is None else read_labels(labels_path, original, label_scheme)
    volume, labels = canonical(original, labels, config)
    if labels is None:
        labels = LabelMap(np.zeros(volume.hu_xyz.shape, np.uint8), volume.affine)
    row = {"subject": subject} | quality(volume, original)
    doubts = [part for part in str(row["warnings"]).split("; ") if part]
    warn(ct_path, doubts)
    if labels_path is not None:
        warn(labels_path, labels.doubts)
    row |= {"warnings": "; ".join([*doubts, *labels.doubts]), "labels_named_by": labels.named_by}
    write_volume(out_volume, volume)
    write_labels(out_labels, labels)
    with atomic(out_quality) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(row), lineterminator="\n")
        writer.writeheader()
        writer.writerow(row)
