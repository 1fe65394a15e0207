"""Published figures, beside which ours are printed."""

from pathlib import Path

from pydantic import Field

from raymark.core.sections import Name, Section, checked
from raymark.core.yaml_files import read_yaml

FOLDER = Path("config/papers")


class Statement(Section):
    """A figure that a paper states only roughly."""

    text: str = Field(description='as it is printed beside ours, e.g. "> 99 %"')
    source: str = Field(description="section")


class Row(Section):
    """What a paper states about one method on one kind of patients."""

    method: Name | None = Field(
        None, description="our method that it is compared with; null: one that is not here"
    )
    title: str = Field(description="how the paper calls it")
    evaluated_on: str = Field(description="new views of training patients, or unseen patients")
    source: str = Field(description="table, figure or section")
    table: Name | None = Field(
        None, description="our table that prints it as a row of its own, below ours"
    )
    images: str = Field("", description="what that table calls the images it was measured on")
    dataset: Name | None = Field(
        None, description="our data set of the kind of images it was measured on; null: any"
    )
    landmark: Name | None = Field(
        None, description="our landmark or landmark type that it is about alone (table `instances`)"
    )
    test_set: str = Field("", description="which of their test sets, by our view set's name")
    test_images: int | None = Field(None, description="how many, where stated")
    values: dict[str, float] = Field({}, description="metrics by our names; px of the paper's size")
    stated: dict[str, Statement] = Field({}, description="rough figures, by our names of metrics")
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
    image_width_px: int | None = Field(
        None, gt=0, description="width of the images whose px it states; null: none in particular"
    )
    pixel_mm: float | None = Field(
        None, gt=0, description="pitch of the detector whose px it states; null: not known"
    )
    notes: list[str] = Field([], description="what must be said when its figures are compared")
    rows: list[Row]

    def row(self, method: str, evaluated_on: str, dataset: str) -> Row | None:
        """Return the row of a method: of the same kind of patients where the paper has one.

        It is one about all landmarks, or about those compared, and about images like `dataset`'s.
        """
        of_method = [row for row in self.rows if row.method == method and row.landmark is None]
        rows = [row for row in of_method if row.dataset in (None, dataset)]
        alike = [row for row in rows if row.evaluated_on == evaluated_on]
        return next(iter(alike or rows), None)

    def cited(self, row: Row) -> str:
        return f"{self.short}, {row.source}: {row.evaluated_on}"


def paper_file(name: str, folder: str | Path = FOLDER) -> str:
    return str(Path(folder) / f"{name}.yaml")


def read_paper(name: str, folder: str | Path = FOLDER) -> Paper:
    """Read `<folder>/<name>.yaml`."""
    path = paper_file(name, folder)
    return checked(Paper, read_yaml(path), path)
