"""Published figures, beside which ours are printed."""

from pathlib import Path

from pydantic import Field

from raymark.config import checked, read_yaml
from raymark.sections import Name, Section

FOLDER = Path("config/papers")


class Row(Section):
    """What a paper states about one method on one kind of patients."""

    method: Name = Field(description="our method that it is compared with")
    title: str = Field(description="how the paper calls it")
    evaluated_on: str = Field(description="new views of training patients, or unseen patients")
    source: str = Field(description="table, figure or section")
    values: dict[str, float] = Field({}, description="metrics by our names; px of the paper's size")
    landmark_rmse_px: dict[str, float] = Field({}, description="by the paper's landmark names")
    diverged: bool = Field(False, description="the paper reports no figures because it diverged")


class Paper(Section):
    """One paper's figures."""

    name: Name
    short: str = Field(description="how tables cite it")
    citation: str
    landmarks: dict[str, str] = Field({}, description="our landmark names by the paper's")
    compared_landmarks: list[Name] = Field(
        [], description="our landmarks that its figures are about; empty: all"
    )
    notes: list[str] = Field([], description="what must be said when its figures are compared")
    rows: list[Row]

    def row(self, method: str, evaluated_on: str) -> Row | None:
        """Return the row of a method: of the same kind of patients where the paper has one."""
        rows = [row for row in self.rows if row.method == method]
        alike = [row for row in rows if row.evaluated_on == evaluated_on]
        return next(iter(alike or rows), None)

    def cited(self, row: Row) -> str:
        return f"{self.short}, {row.source}: {row.evaluated_on}"


def read_paper(name: str, folder: str | Path = FOLDER) -> Paper:
    """Read `<folder>/<name>.yaml`."""
    path = Path(folder) / f"{name}.yaml"
    return checked(Paper, read_yaml(path), path)
