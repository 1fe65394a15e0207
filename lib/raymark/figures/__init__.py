"""Figures: one module for each kind, found by its name, with one record (`raymark.figures.base`).

A figure's name is its kind and what it is of: ``overlays-pelvis-cpm-grid``, ``matrix``. Each is made
from the files that its record names and written as SVG and PNG. See docs/adding-a-figure.md.
"""

import sys
from importlib import import_module
from pathlib import Path

from raymark.config.papers import read_paper
from raymark.config.project import Project
from raymark.core.errors import InputError
from raymark.core.registry import names_in
from raymark.figures.base import FigureRecord


def kinds() -> list[str]:
    """List the kinds of figures."""
    return names_in(sys.modules[__name__])


def record(kind: str) -> FigureRecord:
    """Return the record of a kind of figure; InputError where there is none."""
    if kind not in kinds():
        raise InputError(f"figure {kind!r}", "is not known", f"Known: {', '.join(kinds())}")
    return import_module(f"{__name__}.{kind}").FIGURE


def figure_names(project: Project) -> list[str]:
    """List the figures that a configuration calls for."""
    return ["-".join([kind, *parts]) for kind in kinds() for parts in record(kind).of(project)]


def parts_of(name: str) -> tuple[str, tuple[str, ...]]:
    """Cut a figure's name into its kind and what it is of."""
    kind, *parts = name.split("-")
    return kind, tuple(parts)


def needs(name: str, project: Project) -> list[str]:
    """List the files that a figure is drawn from, each once."""
    figure, parts = _of_project(name, project)
    return list(dict.fromkeys(figure.needs(project, *parts)))


def chapter_of(name: str, project: Project) -> str:
    """Name the report's chapter that a figure belongs to."""
    figure, parts = _of_project(name, project)
    return figure.chapter(project, *parts)


def labels_of(name: str) -> dict[str, str]:
    """Return the report's label of a figure: one, as of several the report makes switches and hides some."""
    kind, parts = parts_of(name)
    return {"figure": ": ".join(filter(None, [kind.replace("_", " "), ", ".join(parts)]))}


def settings_of(name: str, project: Project) -> str:
    """Return, as JSON, what of the configuration a figure shows."""
    return _of_project(name, project)[0].settings(project)


def caption_of(name: str, project: Project) -> str:
    """Return what the report prints below a figure."""
    kind, parts = parts_of(name)
    figure = record(kind)
    like = [
        f" Compare with {figure.beside[paper]} of {read_paper(paper).short}."
        for paper in project.papers()
        if paper in figure.beside
    ]
    return figure.caption.format(of=", ".join(parts)) + "".join(like)


def make_figure(name: str, project: Project, stem: str | Path) -> None:
    """Draw a figure to `<stem>.svg` and `.png`."""
    figure, parts = _of_project(name, project)
    figure.draw(project, *parts, stem=stem)


def _of_project(name: str, project: Project) -> tuple[FigureRecord, tuple[str, ...]]:
    """Look up a figure's record and its parts; InputError where the project does not call for it."""
    kind, parts = parts_of(name)
    if parts not in record(kind).of(project):
        alike = ["-".join([kind, *of]) for of in record(kind).of(project)]
        remedy = f"Known: {', '.join(alike)}" if alike else "The configuration calls for none"
        raise InputError(f"figure {name!r}", "is not known", remedy)
    return record(kind), parts
