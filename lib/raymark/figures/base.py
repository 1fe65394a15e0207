"""What every figure's module offers: one record, `FIGURE`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from raymark.config.project import Project


@dataclass(frozen=True)
class FigureRecord:
    """A kind of figure. What it is of are the parts of its name after its kind, e.g. a data set and a
    view set; all functions take these parts after the project.

    `about` is one line, as docs/figures.md lists it; `caption` is what the report prints below it, in
    reStructuredText, with `{of}` for what it is of; `beside` names the figure of a paper that it is like, by
    the paper's file, where an experiment names that paper. `of` lists what it is drawn of: [()] for one of the
    whole project, [] where the configuration does not call for it. `needs` lists every file that `draw` reads besides
    the configuration and the subject sheet; `draw` writes `<stem>.svg` and `.png`; `chapter` names the
    report's chapter that it belongs to; `settings` returns, as JSON, what of the configuration it shows.
    """

    about: str
    caption: str
    of: Callable[[Project], list[tuple[str, ...]]]
    needs: Callable[..., list[str]]
    draw: Callable[..., None]
    chapter: Callable[..., str]
    settings: Callable[[Project], str] = Project.shown_settings
    beside: Mapping[str, str] = field(default_factory=dict)
