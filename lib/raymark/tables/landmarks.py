"""Tables with a row per landmark and a column per method, however many landmarks there are."""

import pandas as pd

from raymark.evaluation import MEAN_POSITION
from raymark.metrics import errors
from raymark.presence import NOT_PRESENT
from raymark.tables.results import Part, Results
from raymark.tables.rows import (
    BASELINE_NOTE,
    MM_NOTE,
    PX_NOTE,
    Row,
    clusters,
    interval_note,
    missing_notes,
    notes_of,
    papers_with,
)
from raymark.tables.table import Column, Table

MEAN = "mean of landmarks"
WHAT = [
    Column("dataset_title", "Data set"),
    Column("view_set_title", "View set"),
    Column("evaluated_on", "Evaluated on"),
    Column("landmark", "Landmark"),
]
GROUPS = ("dataset_title", "view_set", "evaluated_on")


def landmarks(results: Results) -> Table:
    """Each landmark's mean error and how often it is detected, for every method."""
    wide, lines = pd.DataFrame(), results.lines()
    for part in lines:
        wide = _beside(wide, _landmark_rows(results, part), part.method)
    wide = _in_order(results, wide)
    columns = [*WHAT, Column("visible", "Visible", digits=0)]
    for method in _methods(lines):
        title, diverged = results.method_title(method), f"{method}_diverged"
        columns += [
            Column(
                f"{method}_mm",
                title,
                "mm",
                1,
                spread=f"{method}_sd_mm",
                best="min",
                diverged=diverged,
            )
        ]
        if method != MEAN_POSITION:
            columns.append(Column(f"{method}_detected", "detected", "%", 0, 100, diverged=diverged))
    notes = [
        "Mean ± population sd of the error over all views that show the landmark, detected or not.",
        "Visible: on how many images the landmark lies.",
        MM_NOTE,
        BASELINE_NOTE,
        *missing_notes(results, lines),
    ]
    return Table("Error of each landmark", wide, columns, results.label, notes, GROUPS, across=True)


def _landmark_rows(results: Results, part: Part) -> pd.DataFrame:
    seen = part.errors[part.errors["visible"]]
    grouped = seen.groupby("landmark")
    mm = grouped["error_detector_mm"]
    method = part.method
    values = {
        "visible": grouped["view"].nunique(),
        f"{method}_mm": mm.mean(),
        f"{method}_sd_mm": mm.std(ddof=0),
        f"{method}_px": grouped["error_px"].mean(),
        f"{method}_detected": grouped["detected"].mean(),
    }
    table = pd.DataFrame(values, index=[NOT_PRESENT] if part.missing else None, dtype=float)
    table[f"{method}_diverged"] = part.diverged
    return _described(results, part, table.rename_axis("landmark"))


def rmse(results: Results) -> Table:
    """Paper 2's Table 1, turned: RMSE per landmark and their mean, the published cells beside ours."""
    papers = papers_with(results, "rmse_px")
    lines, wide, sources = results.lines(papers), pd.DataFrame(), {}
    for part in lines:
        rows, source = _rmse_rows(results, part, papers)
        wide = _beside(wide, rows, part.method)
        sources[part.method] = source or sources.get(part.method, "")
    wide = _in_order(results, wide)
    columns = [*WHAT]
    for method in _methods(lines):
        diverged, title = f"{method}_diverged", results.method_title(method)
        columns.append(
            Column(f"{method}_px", title, "px", 2, interval=True, best="min", diverged=diverged)
        )
        if sources[method]:
            columns.append(
                Column(f"{method}_published_px", "published", "px", 2,
                       diverged=f"{method}_published_diverged")
            )  # fmt: skip
    notes = [
        "RMSE over all visible landmarks at the maximum of the map, whatever its value; the mean is "
        "that of the landmarks' RMSE, as in the paper's column.",
        *(f"Published for {results.method_title(m)}: {s}." for m, s in sources.items() if s),
        "Visible: on how many images the landmark lies. DIV: the training diverged by the rule in "
        "docs/pose-loss.md, or so the paper says.",
        *(
            f"{results.papers[n].short}: its mean is over its {len(results.papers[n].landmarks)} "
            "landmarks, ours over those with a number of ours."
            for n in sorted(papers)
        ),
        *notes_of(results, papers),
        PX_NOTE,
        interval_note(results),
        BASELINE_NOTE,
        *missing_notes(results, lines),
    ]
    columns += [Column("visible", "Visible", digits=0), Column("ci_over", "Interval over")]
    return Table("RMSE of landmarks", wide, columns, results.label, notes, GROUPS, across=True)


def _rmse_rows(results: Results, part: Part, papers: set[str]) -> tuple[pd.DataFrame, str]:
    """Return one method's rows of the table, and where the published cells come from."""
    seen = part.errors[part.errors["visible"]]
    px, names, method = seen["error_px"].to_numpy(), seen["landmark"].to_numpy(), part.method
    mean = Row(results, part)
    cells = {MEAN: {}}
    if not part.missing:
        groups = clusters(seen)
        mean.add("px", errors.mean_landmark_rmse(px, names), groups)
        cells[MEAN] = {key: mean.values[key] for key in ("px", "px_low", "px_high")}
        mean.values["ci_over"] = groups.kind
    for landmark, rows in seen.groupby("landmark"):
        cells[landmark] = {"px": errors.rmse(rows["error_px"].to_numpy()).value}
    source = ""
    experiment = results.experiment(part, papers)
    row = experiment and results.papers[experiment.paper].row(
        method, part.evaluated_on, part.dataset
    )
    if row:
        paper = results.papers[experiment.paper]
        source = f"{paper.short}, {row.source}"
        cells[MEAN]["published_px"] = row.values.get("rmse_px")
        for theirs, value in row.landmark_rmse_px.items():
            cells.setdefault(paper.landmarks[theirs], {})["published_px"] = value
        cells[MEAN]["published_diverged"] = row.diverged
    table = pd.DataFrame.from_dict(cells, orient="index")
    for key in ("px", "px_low", "px_high", "published_px"):
        table[key] = table[key].astype(float) if key in table else float("nan")
    table["diverged"] = part.diverged
    table["published_diverged"] = bool(row and row.diverged) & (table.index == MEAN)
    table = table.add_prefix(f"{method}_").rename_axis("landmark")
    table["visible"] = seen.groupby("landmark")["view"].nunique().reindex(table.index)
    table["ci_over"] = pd.Series({MEAN: mean.values["ci_over"]}).reindex(table.index)
    return _described(results, part, table), source


def _described(results: Results, part: Part, table: pd.DataFrame) -> pd.DataFrame:
    """Say in every row what it is of."""
    table = table.reset_index()
    view_set_title = results.project.view_set_title(part.dataset, part.view_set)
    table.insert(0, "dataset", part.dataset)
    table.insert(1, "dataset_title", results.project.title_of(part.dataset))
    table.insert(2, "view_set", part.view_set)
    table.insert(3, "view_set_title", view_set_title)
    table.insert(4, "evaluated_on", part.evaluated_on)
    return table


def _beside(wide: pd.DataFrame, rows: pd.DataFrame, method: str) -> pd.DataFrame:
    """Put one method's rows beside those of others; the same view set may meet several methods."""
    if wide.empty:
        return rows
    keys = ["dataset", "dataset_title", "view_set", "view_set_title", "evaluated_on", "landmark"]
    wide, rows = wide.set_index(keys), rows.set_index(keys)
    return rows.combine_first(wide).reset_index()


def _in_order(results: Results, wide: pd.DataFrame) -> pd.DataFrame:
    """Sort rows as data sets, view sets and landmarks are configured; the mean comes first, and what
    only a paper has, last."""
    place = {}
    published = [name for paper in results.papers.values() for name in paper.landmarks.values()]
    for part in results.lines():
        ours = results.landmarks.get(part.dataset, [])
        for name in [NOT_PRESENT, MEAN, *ours, *published]:
            place.setdefault((part.dataset, part.view_set, part.evaluated_on, name), len(place))
    keys = wide[["dataset", "view_set", "evaluated_on", "landmark"]].apply(tuple, axis=1)
    return wide.loc[keys.map(place).sort_values().index].reset_index(drop=True)


def _methods(parts: list[Part]) -> list[str]:
    """List the methods, the baseline last."""
    names = list(dict.fromkeys(part.method for part in parts))
    return sorted(names, key=lambda name: name == MEAN_POSITION)
