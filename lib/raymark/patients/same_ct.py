"""One CT under two patients would be trained on and evaluated on at once."""

import csv
from collections.abc import Mapping
from pathlib import Path

from raymark.config.subjects import Subject
from raymark.core.errors import InputError
from raymark.ct.quality import SAME_CT


def check_patients(quality: Mapping[str, str | Path], sheet: Mapping[str, Subject]) -> None:
    """Refuse two subjects of one CT under different patients; `quality` are their files by subject.

    The CTs are compared by their voxels, so that a copy in another format or place is one too.
    """
    first: dict[str, str] = {}
    for subject, path in quality.items():
        with open(path, newline="", encoding="utf-8") as file:
            digest = next(csv.DictReader(file))[SAME_CT]
        other = first.setdefault(digest, subject)
        if sheet[other].patient != sheet[subject].patient:
            raise InputError(
                sheet[subject].ct,
                f"is the same CT as {sheet[other].ct}, under the patients "
                f"{sheet[other].patient!r} and {sheet[subject].patient!r}",
                "Give both subjects one patient in the subject sheet, or leave one of them out",
            )
