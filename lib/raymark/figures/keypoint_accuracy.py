"""Landmarks within a distance, and how far they are off (LandmarkNet, Fig. 4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from raymark.config.project import Project
from raymark.core.drawing import DOUBLE_IN, GREY, MARKERS, draw_box, figure, key, line_of
from raymark.evaluation.results import UNSEEN, Part, Results, files_of, read_results
from raymark.figures.base import FigureRecord
from raymark.metrics.detection import correct_keypoints
from raymark.tables._paper_px import WITHIN_PX, in_paper_px, of_landmark
from raymark.tables.base import chapter_of_paper

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STRIP_SHARE = 0.3  # of the axis' length: the strip of published values
HOLLOW = {"linestyle": "", "mfc": "none", "ms": 5.0, "mew": 1.1}


@dataclass(frozen=True)
class Measured:
    """Errors of a landmark (error_px, visible, detected), in px of the paper's images, and the share
    within `WITHIN_PX` that the paper publishes, NaN where it does not."""

    errors: pd.DataFrame
    published: float = np.nan


def papers(project: Project) -> list[tuple[str, ...]]:
    """List the paper whose figure this is, where an experiment is compared with it."""
    return [("landmarknet",)] if project.experiments_with("landmarknet") else []


def beside(project: Project, paper: str) -> Project:
    """Return the project with only the experiments that are compared with a paper."""
    return project.with_experiments(project.experiments_with(paper))


def needs(project: Project, paper: str) -> list[str]:
    return files_of(beside(project, paper))


def draw(project: Project, paper: str, stem: str | Path) -> None:
    results = read_results(beside(project, paper))
    compared = results.papers[paper].compared_landmarks[0]
    thresholds_px = project.config.evaluation.pck_px
    types, methods = of_types(results, paper), of_methods(results, paper, compared)
    keypoint_accuracy(types, methods, compared.replace("_", " "), thresholds_px, stem)


def of_types(results: Results, paper: str) -> dict[str, Measured]:
    """Return what is measured for each row of the paper's table of types."""
    found = {}
    for row in results.papers[paper].rows:
        if row.landmark is None or row.dataset is None:
            continue
        tables = [
            _errors(results, part, row.landmark)
            for part in _parts(results)
            if (part.dataset, part.method) == (row.dataset, row.method)
        ]
        if tables and (errors := pd.concat(tables))["visible"].any():
            name = f"{_spoken(row.landmark)}, {results.project.title_of(row.dataset)}"
            found[name] = Measured(errors, row.values.get("pck_8_paper_px", np.nan))
    return found


def of_methods(results: Results, paper: str, landmark: str) -> dict[str, Measured]:
    """Return what is measured of a landmark by method, where the paper compares methods: on the view
    sets that all of them were evaluated on."""
    published = results.papers[paper]
    on = {row.dataset for row in published.rows if row.landmark is None}
    by_method: dict[str, dict[tuple[str, str], Part]] = {}
    for part in _parts(results):
        if part.dataset in on:
            by_method.setdefault(part.method, {})[part.dataset, part.view_set] = part
    shared = set.intersection(*map(set, by_method.values())) if by_method else set()
    found = {}
    for method, parts in by_method.items() if shared else ():
        rows = [published.row(method, parts[place].evaluated_on, place[0]) for place in shared]
        found[results.method_title(method)] = Measured(
            pd.concat([_errors(results, parts[p], landmark) for p in sorted(shared)]),
            next((row.values.get("pck_8_paper_px", np.nan) for row in rows if row), np.nan),
        )
    return found


def _parts(results: Results) -> list[Part]:
    """List the parts on unseen patients, of whom the paper speaks; where there are none, all."""
    return [part for part in results.parts if part.evaluated_on == UNSEEN] or results.parts


def _errors(results: Results, part: Part, landmark: str) -> pd.DataFrame:
    return in_paper_px(results, part, of_landmark(results, part, landmark))


def _spoken(name: str) -> str:
    return name.replace("_", " ").capitalize()


def keypoint_accuracy(
    of_types: Mapping[str, Measured],
    of_methods: Mapping[str, Measured],
    compared: str,
    thresholds_px: Sequence[float],
    stem: str | Path,
) -> None:
    """Draw PCK by distance for types and for methods, and the deviation of each type as a box.

    Both mappings are by what a line is called: `of_types` of one method's landmark types and images,
    `of_methods` of several methods on the landmark that `compared` names. A box is of the landmarks
    that were found: median, quartiles, 5 to 95 %. Hollow markers are the published shares.
    """
    boxed = {name: _deviations(each.errors) for name, each in of_types.items()}
    with figure(DOUBLE_IN, 3.3, stem) as page:
        types, methods, boxes = page.subplots(1, 3)
        _curves(types, of_types, thresholds_px, "a  By landmark type and images")
        _curves(methods, of_methods, thresholds_px, f"b  By method: {compared}")
        types.set_ylabel("PCK (%)")
        for index, values in enumerate(boxed.values()):
            draw_box(boxes, values, index)
            boxes.text(index, 1.0, f"n = {len(values)}", transform=boxes.get_xaxis_transform(),
                       ha="center", va="bottom", fontsize=6)  # fmt: skip
        boxes.set_xticks(range(len(boxed)), [name.replace(", ", "\n", 1) for name in boxed], rotation=35,
                         ha="right")  # fmt: skip
        boxes.set(ylabel="deviation (px of the paper's images)")
        boxes.set_ylim(bottom=0)
        boxes.set_title("c  Deviation of those found", loc="left", pad=12)
        for axes in (types, methods, boxes):
            axes.grid(True, axis="y")
            axes.set_axisbelow(True)


def _curves(
    axes: "Axes", measured: Mapping[str, Measured], thresholds_px: Sequence[float], title: str
) -> None:
    for index, (name, each) in enumerate(measured.items()):
        keys = ("error_px", "visible", "detected")
        error_px, visible, detected = (each.errors[key].to_numpy() for key in keys)
        pck = [correct_keypoints(error_px, visible, detected, limit) for limit in thresholds_px]
        shares = [100 * share.value for share in pck]
        look = {"marker": MARKERS[index % len(MARKERS)], **line_of(index)}
        axes.plot(thresholds_px, shares, label=name, ms=3.5, **look)
    axes.set(xlabel="within (px of the paper's images)", ylim=(0, 104), xticks=list(thresholds_px))
    axes.set_title(title, loc="left", pad=12)
    handles, _ = axes.get_legend_handles_labels()
    if np.isfinite([each.published for each in measured.values()]).any():
        _draw_published(axes, measured)
        published = {"marker": "o", "color": GREY, "label": f"published, at {WITHIN_PX:g} px"}
        handles.append(key(**published | HOLLOW))
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.2), handlelength=3.2)


def _draw_published(axes: "Axes", measured: Mapping[str, Measured]) -> None:
    """Draw the published shares, which often coincide, side by side on a strip beyond the axis."""
    low, high = axes.get_xlim()
    step = STRIP_SHARE * (high - low) / len(measured)
    for index, each in enumerate(measured.values()):
        look = {"marker": MARKERS[index % len(MARKERS)], **line_of(index)}
        axes.plot(high + (index + 0.5) * step, 100 * each.published, **look | HOLLOW)
    end = high + len(measured) * step
    axes.axvspan(high, end, color=GREY, alpha=0.12, lw=0)
    axes.set_xlim(low, end)


def _deviations(errors: pd.DataFrame) -> np.ndarray:
    found = errors[errors["visible"] & errors["detected"]]["error_px"].to_numpy(float)
    return found[np.isfinite(found)]


FIGURE = FigureRecord(
    about="landmarks within a distance, by type and method",
    caption="""\
Share of landmarks found within a distance, in px of images as wide as the paper's: a by landmark type
and kind of images, b by method on the landmark the paper compares them on, over the view sets that all
methods were evaluated on. Of unseen patients where there are any, else new views of those trained on;
hollow markers on the grey strip: published, at 8 px. c: distance of the landmarks that were found, median,
quartiles and the 5 to 95 % range. Compare with Fig. 4 of LandmarkNet.""",
    of=papers,
    needs=needs,
    draw=draw,
    chapter=lambda project, paper: chapter_of_paper(paper),
)
