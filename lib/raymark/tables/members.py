"""Where the error of a chain comes from: members taken for their neighbours, and right ones that are off."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from raymark.config.project import Project
from raymark.core.names import readable
from raymark.datasets.available import NOT_PRESENT
from raymark.datasets.lookup import landmark_types
from raymark.evaluation.errors import MEAN_POSITION
from raymark.evaluation.results import Part, Results
from raymark.landmarks.types import chain_of
from raymark.metrics import errors
from raymark.metrics.members import KEYS, members_by_view
from raymark.metrics.ratio import Ratio
from raymark.tables._columns import column
from raymark.tables._rows import GROUPS, PLACE, Row, clusters, of_results, table_of
from raymark.tables.base import Column, Table

ALL = "all"
FEWEST = 3  # members in which one is easily taken for another
SHARE: dict[str, Any] = {"unit": "%", "digits": 1, "scale": 100, "diverged": "diverged"}


def table(results: Results) -> Table:
    """A row for all members of a method, and one for each."""
    lines = [p for p in results.lines() if _chain(results, p) and p.method != MEAN_POSITION]
    rows = [row for part in lines for row in _rows(results, part)]
    columns = [
        column("method_title"),
        Column("right", "On itself", interval=True, best="max", **SHARE),
        Column("one_off", "On a neighbour", **SHARE),
        Column("farther_off", "Farther off", **SHARE),
        column("mre_isocentre_mm"),
        column(
            "mre_isocentre_mm",
            key="mre_right_isocentre_mm",
            title="MRE at isocentre of those on themselves",
            interval=True,
        ),
        column("views_showing"),
        column("ci_over"),
    ]
    notes = [
        "A member of a chain, such as a vertebra, is where the mean of its landmarks is. On itself: none "
        "of the image's true members is nearer to where it was found; else the nearest is a neighbour, "
        "or farther off. Members without a point count as none of these.",
    ]
    what, groups = [*PLACE, Column("member", "Member")], (*GROUPS, "member")
    title, frame = "Members of chains", pd.DataFrame(rows)
    return table_of(results, lines, title, columns, frame, notes, what=what, groups=groups)


def _chain(results: Results, part: Part) -> list[list[str]]:
    """List the landmarks of each member of the chain that a data set's landmarks make."""
    names = results.landmarks.get(part.dataset, [])
    chain = chain_of(names, results.types.get(part.dataset, {}))
    return [[names[n] for n in member if n is not None] for member in chain]


def _rows(results: Results, part: Part) -> list[dict]:
    chain, row = _chain(results, part), Row(results, part)
    if part.missing:
        return [row.values | {"member": NOT_PRESENT}]
    of = {name: number for number, member in enumerate(chain) for name in member}
    seen = part.errors[part.errors["visible"] & part.errors["landmark"].isin(of)]
    seen = seen.assign(member=seen["landmark"].map(of))
    seen = seen.merge(members_by_view(seen, chain), on=[*KEYS, "member"])
    rows = [row.values | _measured(row, seen, ALL)]
    for number, member in enumerate(chain):
        own = seen[seen["member"] == number]
        if len(own):
            rows.append(row.values | _measured(row, own, _title(member)))
    return rows


def _title(member: list[str]) -> str:
    """Name a member by the words that its landmarks' names have in common: t1_superior_left, ... is T1."""
    words = zip(*(name.split("_") for name in member), strict=False)
    shared = [places[0] for places in words if len(set(places)) == 1]
    return readable("_".join(shared)) or readable(member[0])


def _measured(row: Row, seen: pd.DataFrame, member: str) -> dict:
    """Measure the landmarks (one row each) of one member, or of all."""
    once = seen.drop_duplicates([*KEYS, "member"])
    off, groups = once["off"].to_numpy(), clusters(once)
    error_mm = seen["error_isocentre_mm"].to_numpy()
    right = np.where(seen["off"] == 0, error_mm, np.nan)
    return {
        "member": member,
        **row.interval("right", _share(off == 0), groups, drawn_as=f"right_{member}"),
        "one_off": np.mean(np.abs(off) == 1),
        "farther_off": np.mean(np.abs(off) > 1),
        "mre_isocentre_mm": errors.mean_radial_error(error_mm).value,
        **row.interval(
            "mre_right_isocentre_mm",
            errors.mean_radial_error(right),
            clusters(seen),
            drawn_as=f"mre_right_{member}",
        ),
        "views_showing": once["view"].nunique(),
        "ci_over": groups.kind,
    }


def _share(holds: np.ndarray) -> Ratio:
    return Ratio(holds.astype(float), np.ones(len(holds)))


def _asked(project: Project) -> bool:
    """Tell whether a data set that is evaluated has landmarks of a type that has several."""
    datasets = {e.dataset for e in project.config.experiments if e.evaluate}
    types = [members for d in datasets for members in landmark_types(project, d).values()]
    return any(len(members) >= FEWEST for members in types)


TABLE = replace(
    of_results(
        table,
        about="members of chains, such as vertebrae: taken for a neighbour, or themselves and off",
        caption="How often each member of a chain, such as a vertebra, was found on itself and not on a "
        "neighbour that looks like it, and how far off those on themselves are.",
    ),
    asked=_asked,
)
