"""Landmarks within a distance, and how far they are off (LandmarkNet, Fig. 4)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from raymark.figures.style import COLOURS, DOUBLE_IN, MARKERS, figure, line_of
from raymark.metrics.detection import correct_keypoints
from raymark.tables.instances import of_landmark, paper_scale
from raymark.tables.results import Part, Results

WHISKERS = (5, 95)


def of_types(results: Results, paper: str) -> dict[str, pd.DataFrame]:
    """Return the errors, in px of the paper's images, for each row of its table of types."""
    found = {}
    for row in results.papers[paper].rows:
        for part in results.lines({paper}) if row.landmark else []:
            if (part.dataset, part.method) == (row.dataset, row.method) and not part.missing:
                name = f"{_spoken(row.landmark)}, {results.project.title_of(part.dataset)}"
                found.setdefault(name, []).append(_errors(results, part, paper, row.landmark))
    shown = {name: pd.concat(tables) for name, tables in found.items()}
    return {name: table for name, table in shown.items() if table["visible"].any()}


def of_methods(results: Results, paper: str, landmark: str) -> dict[str, pd.DataFrame]:
    """Return the errors of a landmark by method, on the images where the paper compares methods."""
    on = {row.dataset for row in results.papers[paper].rows if row.landmark is None}
    return {
        results.method_title(part.method): _errors(results, part, paper, landmark)
        for part in results.lines({paper})
        if part.dataset in on and not part.missing
    }


def _errors(results: Results, part: Part, paper: str, landmark: str) -> pd.DataFrame:
    errors = of_landmark(results, part, landmark)
    return errors.assign(error_px=errors["error_px"] * paper_scale(results, part, {paper}))


def _spoken(name: str) -> str:
    return name.replace("_", " ").capitalize()


def keypoint_accuracy(
    of_types: Mapping[str, pd.DataFrame],
    of_methods: Mapping[str, pd.DataFrame],
    compared: str,
    thresholds_px: Sequence[float],
    stem: str | Path,
) -> None:
    """Draw PCK by distance for types and for methods, and the deviation of each type as a box.

    Both mappings have errors (error_px, visible, detected) by what a line is called: `of_types` of
    one method's landmark types and images, `of_methods` of several methods on the landmark that
    `compared` names. A box is of the landmarks that were found: median, quartiles, 5 to 95 %.
    """
    boxed = {name: _deviations(errors) for name, errors in of_types.items()}
    with figure(DOUBLE_IN, 3.1, stem) as page:
        types, methods, boxes = page.subplots(1, 3)
        _curves(types, of_types, thresholds_px, "a  By landmark type and images")
        _curves(methods, of_methods, thresholds_px, f"b  By method: {compared}")
        types.set_ylabel("PCK (%)")
        for index, values in enumerate(boxed.values()):
            box = boxes.boxplot(
                values, positions=[index], widths=0.55, whis=WHISKERS, showfliers=False,
                patch_artist=True, medianprops={"color": "black", "lw": 1.4},
            )  # fmt: skip
            box["boxes"][0].set(facecolor=COLOURS[index % len(COLOURS)], alpha=0.45)
            boxes.text(index, 1.0, f"n = {len(values)}", transform=boxes.get_xaxis_transform(),
                       ha="center", va="bottom", fontsize=6)  # fmt: skip
        boxes.set_xticks(range(len(boxed)), [name.replace(", ", "\n", 1) for name in boxed], rotation=35,
                         ha="right")  # fmt: skip
        boxes.set(ylabel="deviation (px)")
        boxes.set_ylim(bottom=0)
        boxes.set_title("c  Deviation of those found", loc="left", pad=12)
        for axes in (types, methods, boxes):
            axes.grid(True, axis="y")
            axes.set_axisbelow(True)


def _curves(
    axes: Axes, errors: Mapping[str, pd.DataFrame], thresholds_px: Sequence[float], title: str
) -> None:
    for index, (name, table) in enumerate(errors.items()):
        columns = [table[key].to_numpy() for key in ("error_px", "visible", "detected")]
        shares = [100 * correct_keypoints(*columns, limit).value for limit in thresholds_px]
        marker = MARKERS[index % len(MARKERS)]
        axes.plot(thresholds_px, shares, label=name, marker=marker, ms=3.5, **line_of(index))
    axes.set(xlabel="within (px of the paper's images)", ylim=(0, 102), xticks=list(thresholds_px))
    axes.set_title(title, loc="left", pad=12)
    if errors:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), handlelength=3.2)


def _deviations(errors: pd.DataFrame) -> np.ndarray:
    found = errors[errors["visible"] & errors["detected"]]["error_px"].to_numpy(float)
    return found[np.isfinite(found)]
