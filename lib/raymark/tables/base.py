"""What every table is: numbers with how each column is read, and the record by which it is known."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from raymark.config.papers import read_paper
from raymark.config.project import Project

DIVERGED = "DIV"
NOTHING = "–"


@dataclass(frozen=True)
class Column:
    """One printed column.

    `key` names the frame's column; `spread` one that follows as "± x"; `interval` prints
    "[low, high]" from the columns `<key>_low` and `<key>_high`; `mark` names a column of signs that
    end the cell; `diverged` names a boolean column that turns the cell into DIV. Numbers are
    multiplied by `scale` before they are printed with `digits` decimals; without `digits` the cell is
    text. `best` is "min" or "max". What several tables show is in `raymark.tables._columns`, with its
    `meaning`.
    """

    key: str
    title: str
    unit: str = ""
    digits: int | None = None
    scale: float = 1.0
    spread: str | None = None
    interval: bool = False
    mark: str | None = None
    best: str | None = None
    diverged: str | None = None
    meaning: str = ""

    @property
    def heading(self) -> str:
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def text(self, row: pd.Series) -> str:
        """Print this column's cell of a row."""
        value = row.get(self.key, np.nan)
        if self.diverged and row.get(self.diverged) == True:  # noqa: E712 (may be missing)
            return DIVERGED
        if pd.isna(value) or value == "":
            return NOTHING
        if self.digits is None:
            return str(value)
        text = self._number(value)
        if self.spread and pd.notna(row.get(self.spread)):
            text += f" ± {self._number(row[self.spread])}"
        if self.interval and pd.notna(row.get(f"{self.key}_low")):
            low, high = (self._number(row[f"{self.key}_{end}"]) for end in ("low", "high"))
            text += f" [{low}, {high}]"
        if self.mark and row[self.mark]:
            text += f" {row[self.mark]}"
        return text

    def _number(self, value: float) -> str:
        return f"{value * self.scale:,.{self.digits}f}"


@dataclass(frozen=True)
class Table:
    """Rows, columns and what must be said about them.

    `label` stands out above the table ("demo scale"). Rows that agree in the columns `groups` are
    compared with each other for the best value; with `across` the columns that have a `best` are
    compared within each row instead. `few` names a boolean column: rows that stand on too few
    observations to hold a best value.
    """

    title: str
    frame: pd.DataFrame
    columns: list[Column]
    label: str = ""
    notes: list[str] = field(default_factory=list)
    groups: tuple[str, ...] = ()
    across: bool = False
    few: str = ""

    def cells(self) -> list[list[str]]:
        """Print every cell."""
        return [[c.text(row) for c in self.columns] for _, row in self.frame.iterrows()]

    def bold(self) -> np.ndarray:
        """Tell which cells (row, column) hold the best value, as printed; ties are all best, unless all are."""
        value_rc = np.full((len(self.frame), len(self.columns)), np.nan)
        for c, column in enumerate(self.columns):
            if column.best and column.key in self.frame:
                sign = 1 if column.best == "min" else -1
                rounded = (self.frame[column.key].astype(float) * column.scale).round(column.digits)
                usable = rounded.notna()
                if column.diverged in self.frame:
                    usable &= self.frame[column.diverged].fillna(False) != True  # noqa: E712
                value_rc[:, c] = np.where(usable, sign * rounded, np.nan)
        if self.few in self.frame:
            value_rc[(self.frame[self.few] == True).to_numpy()] = np.nan  # noqa: E712 (may be missing)
        if self.across:
            return _lowest(value_rc)
        return np.concatenate(
            [_lowest(run.T).T for run in np.split(value_rc, self.group_starts())], axis=0
        )

    def group_starts(self) -> np.ndarray:
        """Return the numbers of the rows, but for the first, that differ in `groups` from the one above."""
        if not self.groups or self.frame.empty:
            return np.array([], int)
        keys = self.frame[list(self.groups)].astype(str)
        return np.flatnonzero((keys != keys.shift()).any(axis=1).to_numpy())[1:]


@dataclass(frozen=True)
class TableRecord:
    """All that is known of a table but its name, which is that of its module in `raymark.tables`.

    `about` says in one line what it is, `caption` what the report prints under it. `make` reads the
    files that `needs` lists, and no other but the configuration's own. `asked` tells whether a
    configuration calls for it. `publishes` is a metric of papers that it prints beside ours: it is
    made only where an experiment's paper publishes that. `chapter` names its chapter of the report;
    without one that is the first such paper's, or else "Tables". `settings` returns, as JSON, what of the
    configuration it prints.
    """

    about: str
    caption: str
    needs: Callable[[Project], list[str]]
    make: Callable[[Project], Table]
    asked: Callable[[Project], bool] = lambda project: True
    publishes: str | None = None
    chapter: Callable[[Project], str] | None = None
    settings: Callable[[Project], str] = Project.shown_settings

    def paper(self, project: Project) -> str | None:
        """Name the first paper, in the order of the experiments, of those whose values it prints."""
        if self.publishes is None:
            return None
        beside = project.publishing(self.publishes).config.experiments
        return next((experiment.paper for experiment in beside), None)


def chapter_of_paper(name: str | None) -> str:
    """Return what the report calls the chapter of a paper; "Tables" where it is none's."""
    return f"Paper – {read_paper(name).short}" if name else "Tables"


def chapter_of_setup(project: Project) -> str:
    """Return the chapter of what belongs to set-up errors: that of their first experiment's paper."""
    papers = [e.paper for e in project.config.experiments if e.setup and e.paper]
    return chapter_of_paper(papers[0] if papers else None)


def _lowest(value_rc: np.ndarray) -> np.ndarray:
    """Mark each row's lowest values; where all are the same, none is better."""
    known = np.isfinite(value_rc)
    lowest = np.where(known, value_rc, np.inf).min(axis=1, keepdims=True, initial=np.inf)
    highest = np.where(known, value_rc, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    return known & (value_rc == lowest) & (lowest < highest)
