"""Each figure by its name, from what the workflow wrote below the working folder."""

from pathlib import Path

from raymark.config.project import Project
from raymark.core.errors import InputError
from raymark.figures import figure_names, make_images, make_results

MAKERS = make_results.MAKERS | make_images.MAKERS


def make_figure(name: str, project: Project, stem: str | Path) -> None:
    """Draw the figure called `name` to `<stem>.svg` and `.png`; InputError if there is none."""
    known = figure_names(project)
    if name not in known:
        raise InputError(f"figure {name!r}", "is not known", f"Known: {', '.join(known)}")
    kind, *end = name.split("-")
    MAKERS[kind](project, *end, stem=stem)
