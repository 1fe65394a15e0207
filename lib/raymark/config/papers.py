"""Published figures, beside which ours are printed."""

from pathlib import Path

from pydantic import Field

from raymark.core.sections import Name, Section, checked
from raymark.core.yaml_files import read_yaml

FOLDER = Path("config/papers")


class Statement(Section):
    """A figure that the paper states only roughly."""

    text: str = Field(description='as it is printed beside ours, e.g. "> 99 %"')
    source: str = Field(description="where the paper states it, e.g. section 4.1")


class Row(Section):
    """What a paper states about one method on one kind of patients."""

    method: Name | None = Field(
        None, description="`name` of our method that it is compared with; null: it is not here"
    )
    title: str = Field(description="what the paper calls the method")
    evaluated_on: str = Field(description="`new views of training patients` or `unseen patients`")
    source: str = Field(description="where the paper states it: table, figure or section")
    table: Name | None = Field(
        None,
        description="our table that prints it as a row of its own, below ours; null: none does",
    )
    images: str = Field("", description="what that table calls the images it was measured on")
    dataset: Name | None = Field(
        None,
        description="`name` of our data set of the kind of images it was measured on; null: any",
    )
    landmark: Name | None = Field(
        None,
        description="the one of our landmarks or landmark types that it is about, for the table "
        "`instances`; null: it is about all of them",
    )
    test_set: str = Field("", description="which of its test sets, by our view set's name")
    test_images: int | None = Field(None, description="how many images; null: not stated")
    values: dict[str, float] = Field(
        {},
        description="figures by the columns of our tables, e.g. mre_found_px; px are those of the paper's own "
        "images",
    )
    stated: dict[str, Statement] = Field(
        {}, description="rough figures, by the columns of our tables"
    )
    landmark_rmse_px: dict[str, float] = Field(
        {}, description="RMSE of single landmarks, by the paper's names, in its own px"
    )
    diverged: bool = Field(False, description="the paper reports no figures because it diverged")


class Paper(Section):
    """What a paper states, to be printed beside what is measured here."""

    name: Name = Field(description="the file's own name, without .yaml")
    short: str = Field(description="what tables cite it as")
    citation: str = Field(description="who, when, what and where, for the reader of the file")
    landmarks: dict[str, str] = Field({}, description="our landmarks' names by the paper's")
    compared_landmarks: list[Name] = Field(
        [], description="those of our landmarks that its figures are about; empty: all"
    )
    image_width_px: int | None = Field(
        None, gt=0, description="width of the images whose px it states; null: not known"
    )
    pixel_mm: float | None = Field(
        None, gt=0, description="pixel pitch of the detector whose px it states; null: not known"
    )
    notes: list[str] = Field(
        [], description="footnotes: what must be said where its figures are compared with ours"
    )
    pose_notes: list[str] = Field(
        [],
        description="footnotes of the table of poses: figures that no column of ours compares with",
    )
    rows: list[Row] = Field(description="its figures")

    def row(self, method: str, evaluated_on: str, dataset: str) -> Row | None:
        """Return the row of a method: of the same kind of patients where the paper has one.

        It is one about all landmarks, or about those compared, and about images like `dataset`'s.
        """
        of_method = [row for row in self.rows if row.method == method and row.landmark is None]
        rows = [row for row in of_method if row.dataset in (None, dataset)]
        alike = [row for row in rows if row.evaluated_on == evaluated_on]
        return next(iter(alike or rows), None)

    def publishes(self, metric: str) -> bool:
        return any(metric in row.values for row in self.rows)

    def cited(self, row: Row) -> str:
        return f"{self.short}, {row.source}: {row.evaluated_on}"


def paper_file(name: str, folder: str | Path = FOLDER) -> str:
    return str(Path(folder) / f"{name}.yaml")


def read_paper(name: str, folder: str | Path = FOLDER) -> Paper:
    """Read `<folder>/<name>.yaml`."""
    path = paper_file(name, folder)
    return checked(Paper, read_yaml(path), path)
