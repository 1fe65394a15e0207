"""Who takes part of those that a data set names: not whom the subject sheet excludes, nor whose CT was refused.

A workflow knows its jobs before any CT is read. So ingestion writes a verdict on each CT, jobs of a refused one
leave a line in the place of their files (`raymark.core.left_out`), and jobs on many go on without it.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from raymark import layout
from raymark.config.dataset import Dataset
from raymark.config.project import Project
from raymark.config.subjects import SPLITS, Subject, parent_of
from raymark.core.errors import InputError
from raymark.core.files import atomic


def without_excluded(project: Project) -> Project:
    """Return the project without the subjects that its sheet excludes; InputError where a data set has no other."""
    if not project.datasets:
        return project
    excluded = {s: f"excluded: {row.exclude}" for s, row in project.sheet.items() if row.exclude}
    left_out = {
        name: {subject: excluded[subject] for subject in dataset.subjects if subject in excluded}
        for name, dataset in project.datasets.items()
    }
    kept = project.without({name: why for name, why in left_out.items() if why})
    for name, dataset in kept.datasets.items():
        if not dataset.subjects:
            problem = f"excludes every subject of the data set {name!r}"
            remedy = "Empty the column of one of them, or take the data set out of the main file"
            raise InputError(f"{project.config.subjects}, column exclude", problem, remedy)
    return kept


def without_refused(project: Project, datasets: Iterable[str]) -> Project:
    """Return the project without the subjects of some data sets whose CTs were refused.

    A CT without a verdict is not refused. Raises InputError where a split has no other.
    """
    left_out = refused(project, datasets)
    for name, why in left_out.items():
        _check_splits(project.datasets[name], why, project.sheet)
    return project.without(left_out)


def refused(project: Project, datasets: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return why CTs of some data sets were refused, by data set and subject."""
    reasons = {
        name: {subject: refusal(name, subject) for subject in project.datasets[name].subjects}
        for name in datasets
        if name in project.datasets
    }
    told = {name: {s: why for s, why in of.items() if why} for name, of in reasons.items()}
    return {name: why for name, why in told.items() if why}


def refusal(dataset: str, subject: str) -> str:
    """Return why a CT was refused; nothing where it was not, or is not read yet."""
    path = Path(layout.VERDICT.format(dataset=dataset, subject=subject))
    return json.loads(path.read_text(encoding="utf-8"))["refused"] if path.exists() else ""


def write_verdict(path: str | Path, refused: str = "") -> None:
    """Write that a CT can be used, or why it was `refused`."""
    with atomic(path) as partial:
        partial.write_text(json.dumps({"refused": refused}) + "\n", encoding="utf-8")


def verdict_files(dataset: str, subjects: Iterable[str]) -> list[str]:
    """List the verdicts on some subjects' CTs, each once; that of a virtual patient is its parent's."""
    real = dict.fromkeys(parent_of(subject) for subject in subjects)
    return [layout.VERDICT.format(dataset=dataset, subject=subject) for subject in real]


def told(left_out: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Say in a line each who takes no part of which data sets, and why."""
    datasets: dict[tuple[str, str], list[str]] = {}
    for name, why in left_out.items():
        for subject, reason in why.items():
            datasets.setdefault((subject, reason), []).append(name)
    return [
        f"Left out of {', '.join(names)}: {subject}: {reason}"
        for (subject, reason), names in datasets.items()
    ]


def _check_splits(dataset: Dataset, why: Mapping[str, str], sheet: Mapping[str, Subject]) -> None:
    """Refuse (InputError) a data set of which a split has nobody left."""
    for split in SPLITS:
        members = [s for s in dataset.subjects if s in sheet and sheet[s].split == split]
        if members and all(subject in why for subject in members):
            raise InputError(
                f"data set {dataset.name}",
                f"every CT of the split {split!r} was refused; {members[0]}: {why[members[0]]}",
                "Mend one of them, or put another patient into that split",
            )
