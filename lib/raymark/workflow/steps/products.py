"""Steps that make what people look at: tables and figures."""

from typing import TYPE_CHECKING

from raymark import layout
from raymark.workflow.steps.arguments import FigureName, TableName

if TYPE_CHECKING:
    from raymark.config.project import Project


def table(project: "Project", table: TableName) -> None:
    """Write a table as CSV, Markdown, LaTeX and HTML."""
    from raymark.tables import make_table, printed, write_table

    stem = layout.TABLE.format(table=table, format="csv").removesuffix(".csv")
    made = make_table(table, project)
    write_table(made, stem, printed(table, made, project))


def figure(project: "Project", figure: FigureName) -> None:
    """Draw a figure as SVG and PNG, and a small copy for the report."""
    from raymark.core.drawing import small_copy
    from raymark.datasets.available import only_present
    from raymark.figures import make_figure

    stem = layout.FIGURE.format(figure=figure, format="svg").removesuffix(".svg")
    make_figure(figure, only_present(project, project.sheet), stem)
    small_copy(f"{stem}.png", layout.FIGURE_IN_REPORT.format(figure=figure))
