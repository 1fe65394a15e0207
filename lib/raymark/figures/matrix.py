"""The matrix in one picture: a panel for each data set, a line for each method."""

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from raymark.config.project import Project
from raymark.core.drawing import BLUE, DOUBLE_IN, GREY, VERMILION, explain, figure, key
from raymark.evaluation.errors import MEAN_POSITION
from raymark.evaluation.results import files_of, read_results
from raymark.figures._places import where_evaluated
from raymark.figures.base import FigureRecord
from raymark.tables._columns import column
from raymark.tables._matrix import comparison_rows, patients_of, place_title
from raymark.tables.base import chapter_of_paper

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# What the test said: marker, line colour, fill. Shape and fill tell them apart in greyscale too.
LOOKS = {
    "↓": ("o", BLUE, BLUE),
    "↑": ("D", VERMILION, VERMILION),
    "": ("o", GREY, "white"),
    "baseline": ("|", "black", "black"),
}
LEGEND = {
    "↓": "error below the baseline's",
    "": "no difference shown",
    "↑": "error above the baseline's",
}
COLUMNS, TITLE_WIDTH, WORDS_WIDTH = 3, 80, 108  # letters over the whole width
LINE_IN, ROOM_IN = 0.17, 0.95  # height of a method, and of what surrounds a panel


def draw(project: Project, stem: str | Path) -> None:
    results = read_results(project)
    rows = comparison_rows(results)
    places = zip(rows["dataset"], rows["view_set"], rows["evaluated_on"], strict=True)
    rows = rows.assign(place_title=[place_title(results, *place) for place in places])
    order = [results.method_title(name) for name in [*project.methods, MEAN_POSITION]]
    matrix(rows, order, stem)


def matrix(rows: pd.DataFrame, order: list[str], stem: str | Path) -> None:
    """Draw mean radial errors with their intervals, data set by data set.

    `rows` is the frame of the table *comparisons* with a column `place_title`; `order` lists the
    titles of all methods from top to bottom. Panels side by side share their methods; one without a
    row in a panel was not trained there.
    """
    titles = list(dict.fromkeys(rows["place_title"]))
    columns = min(COLUMNS, len(titles))
    lines = [titles[start : start + columns] for start in range(0, len(titles), columns)]
    methods = [_methods_of(rows[rows["place_title"].isin(line)], order) for line in lines]
    heights = [ROOM_IN + LINE_IN * len(names) for names in methods]
    with figure(DOUBLE_IN, sum(heights) + 0.35, stem) as page:
        grid = page.subplots(
            len(lines), columns, sharey="row", squeeze=False, height_ratios=heights
        )
        for line, names, panels in zip(lines, methods, grid, strict=True):
            for axes in panels[len(line) :]:
                axes.set_axis_off()
            for title, axes in zip(line, panels, strict=False):
                part = rows[rows["place_title"] == title]
                _panel(axes, part, names)
                words = fill(_stands_on(part), WORDS_WIDTH // columns)
                axes.set_xlabel(f"{column('mre_isocentre_mm').heading}\n{words}", fontsize=6.5)
                axes.set_title(fill(title, TITLE_WIDTH // columns), loc="left")
            panels[0].set_yticks(range(len(names)), names)
            panels[0].set_ylim(len(names) - 0.4, -0.6)
        explain(page, *_keys(), ncols=4)


def _methods_of(rows: pd.DataFrame, order: list[str]) -> list[str]:
    return [method for method in order if method in set(rows["method_title"])]


def _panel(axes: "Axes", rows: pd.DataFrame, methods: list[str]) -> None:
    baseline = rows[rows["change"] == "baseline"].iloc[0]
    low, high = baseline["mre_isocentre_mm_low"], baseline["mre_isocentre_mm_high"]
    if np.isfinite(low):
        axes.axvspan(low, high, color="#E4E4E4", lw=0)
    axes.axvline(baseline["mre_isocentre_mm"], color="black", lw=0.8, ls=(0, (4, 2)))
    for _, row in rows.iterrows():
        _line(axes, row, methods.index(row["method_title"]))
    for place in sorted(set(range(len(methods))) - set(map(methods.index, rows["method_title"]))):
        _word(axes, place, "not trained")
    for border in range(len(methods) - 1):
        axes.axhline(border + 0.5, color="#EFEFEF", lw=0.5, zorder=0)
    axes.set_xscale("log")
    _ticks(axes, rows)
    axes.tick_params(axis="y", length=0)


def _line(axes: "Axes", row: pd.Series, place: int) -> None:
    if row["diverged"]:
        return _word(axes, place, "DIV")
    marker, colour, fill = LOOKS[row["change"]]
    low, high = row["mre_isocentre_mm_low"], row["mre_isocentre_mm_high"]
    if np.isfinite(low):
        axes.plot([low, high], [place, place], color=colour, lw=1.2, solid_capstyle="butt")
    axes.plot(
        row["mre_isocentre_mm"], place, marker=marker, mfc=fill, mec=colour, ms=4.5, mew=1.1, ls=""
    )
    return None


def _word(axes: "Axes", place: int, word: str) -> None:
    """Write what takes the place of a number, at the panel's left edge."""
    axes.text(0.02, place, word, transform=axes.get_yaxis_transform(), color=GREY, va="center",
              fontsize=6)  # fmt: skip


def _ticks(axes: "Axes", rows: pd.DataFrame) -> None:
    """Fit the axis to what is shown, with ticks at 1, 2 and 5, or evenly where these were too few."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    shown = rows[~rows["diverged"].astype(bool)]
    names = ["mre_isocentre_mm", "mre_isocentre_mm_low", "mre_isocentre_mm_high"]
    low, high = np.nanmin(shown[names]), np.nanmax(shown[names])
    room = max(high / low, 1.5) ** 0.06
    axes.set_xlim(low / room, high * room)
    wide = high / low > 6
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if wide else MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _stands_on(rows: pd.DataFrame) -> str:
    """Say what a panel stands on; methods may lack points of what the baseline is measured on."""
    baseline = rows[rows["change"] == "baseline"].iloc[0]
    shown = rows.loc[~rows["diverged"].astype(bool), "paired_landmarks"]
    points = "–".join(f"{n:,}" for n in dict.fromkeys([shown.min(), shown.max()]))
    return f"{patients_of(baseline)}, {baseline['views']} views, {points} points"


def _keys() -> list:
    """Explain the three outcomes and the baseline."""
    from matplotlib.patches import Patch

    outcomes = [
        key(marker=LOOKS[change][0], color=LOOKS[change][1], mfc=LOOKS[change][2], ms=4.5, lw=1.2,
            label=words)
        for change, words in LEGEND.items()
    ]  # fmt: skip
    return [*outcomes, Patch(facecolor="#E4E4E4", edgecolor="black", label="baseline")]


FIGURE = FigureRecord(
    about="errors of methods by data sets, beside the baseline's",
    caption="""\
Mean radial error (MRE), in mm at the isocentre, of the methods trained on each data set, with bootstrap
intervals; the band is the baseline's. Filled: the difference from the baseline is significant after
correction for all comparisons (table *comparisons*). DIV: the training diverged.""",
    of=where_evaluated,
    needs=files_of,
    draw=draw,
    chapter=lambda project: chapter_of_paper(None),
)
