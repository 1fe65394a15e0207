"""Grewal 2020, Table 1: matches between CT slices, and how far they are off."""

import pandas as pd

from raymark.config.papers import Paper, paper_file, read_paper
from raymark.config.project import Project
from raymark.config.subjects import Subject
from raymark.correspondence.config import (
    Correspondence,
    correspondence_of,
    has_unseen_patients,
    shown_settings,
    subjects_for,
)
from raymark.correspondence.matches import (
    FAR_MM,
    FILES,
    METHODS,
    TRANSFORMATIONS,
    read_all_matches,
)
from raymark.tables._columns import column
from raymark.tables._summaries import quartiles
from raymark.tables.base import Column, Table, TableRecord, chapter_of_paper

PAPER = "correspondence"
WITHIN_MM = (2, 4, 8)
COLUMNS = [
    Column("transformation_title", "Transformation"),
    column("method_title"),
    Column("pairs", "Pairs", digits=0),
    Column("matches", "Matches per pair", digits=0, interval=True, best="max"),
    Column("published_matches", "Published matches"),
    Column("error_mm", "Spatial error", "mm", digits=1, interval=True, best="min"),
    Column("published_error_mm", "Published error", "mm"),
    *(
        Column(f"within_{mm}_mm", f"Within {mm} mm", "%", digits=1, scale=100, best="max")
        for mm in WITHIN_MM
    ),
    Column("far", f"Beyond {FAR_MM} mm", "%", digits=1, scale=100, best="min"),
    Column("published_share", "Published share"),
]


def table(
    matches: pd.DataFrame, follow_up: pd.DataFrame, paper: Paper, label: str, tested_on: str
) -> Table:
    """Make Table 1 with the published values beside ours, and below it what the paper judged by eye:
    the matches with a `follow_up`. `tested_on` says on which slices.
    """
    frame = summary(pd.concat([matches, follow_up], ignore_index=True))
    frame.insert(1, "transformation_title", frame["transformation"].str.capitalize())
    frame.insert(3, "method_title", frame["method"].map(METHODS))
    for name, digits in (("matches", 0), ("error_mm", 1)):
        frame[f"published_{name}"] = [
            _published(paper, row.method, f"{row.transformation}_{name}", digits)
            for row in frame.itertuples()
        ]
    frame["published_share"] = [
        _stated(paper, row.method, f"{row.transformation}_") for row in frame.itertuples()
    ]
    notes = [
        tested_on,
        "Median [quartiles]: of the matches over pairs, of the spatial error over all matches.",
        "The error is exact: each point of the second image is projected by the known "
        "transformation itself.",
        "Follow-up: a virtual second scan of the same patient (deformed, lying otherwise, with a "
        "contrast agent and other noise), registered affinely. Errors are in space: what moved across "
        "the slice counts, which no match within it can follow. The registration alone puts the same "
        f"points {follow_up['unmatched_mm'].median():.1f} mm off (median). The paper judged its "
        "follow-ups by eye.",
        "SIFT of scikit-image with OpenCV's default values, sub-pixel places; the network's "
        "landmarks are whole pixels of 1 mm.",
        *paper.notes,
    ]
    title = "Landmark correspondences between CT slices"
    return Table(title, frame, COLUMNS, label, notes, groups=("transformation",))


def summary(matches: pd.DataFrame) -> pd.DataFrame:
    """Summarise by transformation and method, in the paper's order: what its Table 1 shows, and more.

    Medians with quartiles (`_low`, `_high`) of the matches per pair and of the error of all matches
    together; shares of matches within some mm, and beyond `FAR_MM`.
    """
    groups = dict(iter(matches.groupby(["transformation", "method"])))
    places = [(kind, method) for kind in TRANSFORMATIONS for method in METHODS]
    return pd.DataFrame(
        {"transformation": place[0], "method": place[1], **_numbers(groups[place])}
        for place in places
        if place in groups
    )


def _numbers(rows: pd.DataFrame) -> dict:
    per_pair = rows.groupby(["subject", "z_mm"])["error_mm"].count()  # missing ones do not count
    error_mm = rows["error_mm"].dropna()
    return {
        "pairs": len(per_pair),
        **quartiles("matches", per_pair),
        **quartiles("error_mm", error_mm),
        **{f"within_{mm}_mm": (error_mm <= mm).mean() for mm in WITHIN_MM},
        "far": (error_mm > FAR_MM).mean(),
    }


def _published(paper: Paper, method: str, key: str, digits: int) -> str:
    """Print a published median with its quartiles."""
    row = next((row for row in paper.rows if row.method == method), None)
    if row is None or not {key, f"{key}_low", f"{key}_high"} <= row.values.keys():
        return ""
    middle, low, high = (row.values[key + end] for end in ("", "_low", "_high"))
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def _stated(paper: Paper, method: str, kind: str) -> str:
    """Print the shares that the paper states roughly of a method on a kind of transformation."""
    return "; ".join(
        f"{stated.text} {key.removeprefix(kind).replace('_', ' ')} ({stated.source})"
        for row in paper.rows
        if row.method == method
        for key, stated in row.stated.items()
        if key.startswith(kind)
    )


def tested_on(settings: Correspondence, project: Project, sheet: dict[str, Subject]) -> str:
    """Say which slices the matches are of."""
    slices = settings.slices
    if has_unseen_patients(settings, project, sheet):
        return "Slices of unseen patients."
    subjects = [subject for _, subject in subjects_for("test", settings, project, sheet)]
    return (
        f"No unseen patients: the upper {slices.test_share:.0%} of the CTs {', '.join(subjects)}; the "
        f"network trained on their slices at least {slices.gap_mm:g} mm below, and on no others."
    )


def _make(project: Project) -> Table:
    where = tested_on(correspondence_of(project), project, project.sheet)
    return table(*read_all_matches(), read_paper(PAPER), project.scale, where)


TABLE = TableRecord(
    about="matches between CT slices and their transformed copies, and how far they are off (Grewal "
    "2020, Table 1)",
    caption="Landmark matches between CT slices and their transformed copies (brightness and contrast, "
    "affine, elastic) and a virtual follow-up CT after affine registration, by the Siamese network and "
    "by SIFT, beside Table 1 of Grewal 2020.",
    needs=lambda project: [*FILES, paper_file(PAPER)],
    make=_make,
    asked=lambda project: project.config.correspondence is not None,
    chapter=lambda project: chapter_of_paper(PAPER),
    settings=shown_settings,
)
