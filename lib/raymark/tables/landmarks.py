"""Tables that tell landmarks apart, however many there are."""

import pandas as pd

from raymark.datasets.available import NOT_PRESENT
from raymark.evaluation.errors import MEAN_POSITION
from raymark.evaluation.results import Part, Results
from raymark.landmarks.names import readable
from raymark.metrics import errors
from raymark.tables.base import Column, Table
from raymark.tables.rows import (
    MM_NOTE,
    PX_NOTE,
    Row,
    clusters,
    missing_notes,
    notes_of,
    papers_with,
    pointless_notes,
    standing_notes,
)

MEAN = "mean of landmarks"
WHAT = [
    Column("dataset_title", "Data set"),
    Column("view_set_title", "View set"),
    Column("evaluated_on", "Evaluated on"),
    Column("landmark_title", "Landmark"),
]
GROUPS = ("dataset_title", "view_set", "evaluated_on")
ENDS = ("", "_low", "_high")  # of the names of a number and its interval


def landmarks(results: Results) -> Table:
    """Each landmark's mean error and how often it is detected: a row for every method."""
    lines = results.lines()
    baseline = {_place(p): p for p in lines if p.method == MEAN_POSITION}
    methods = [part for part in lines if part.method != MEAN_POSITION]
    tables = [_landmark_rows(results, part, baseline.get(_place(part))) for part in methods]
    table = _in_order(results, pd.concat(tables, ignore_index=True))
    table = table.assign(landmark_title=table["landmark"].map(readable))
    columns = [
        *WHAT,
        Column("visible", "Visible", digits=0),
        Column("method_title", "Method"),
        Column(
            "mm", "Error", "mm", 1, spread="sd_mm", interval=True, best="min", diverged="diverged"
        ),
        Column("detected", "Detected", "%", 0, 100, diverged="diverged"),
        Column("mean_position_mm", "Mean position", "mm", 1),
        Column("ci_over", "Interval over"),
    ]
    notes = [
        "Mean ± population sd of the error over all views that show the landmark, detected or not.",
        "Visible: on how many images the landmark lies.",
        *pointless_notes(results, lines),
        MM_NOTE,
        *standing_notes(results, lines),
        *missing_notes(results, lines),
    ]
    groups = (*GROUPS, "landmark")
    return Table("Error of each landmark", table, columns, results.label, notes, groups)


def _place(part: Part) -> tuple[str, str, str]:
    return part.dataset, part.view_set, part.evaluated_on


def _landmark_rows(results: Results, part: Part, baseline: Part | None) -> pd.DataFrame:
    """Return one method's rows; what has no data has one row that says so."""
    seen, row = part.errors[part.errors["visible"]], Row(results, part)
    means = {}
    if baseline:
        shown = baseline.errors[baseline.errors["visible"]]
        means = shown.groupby("landmark")["error_detector_mm"].mean()
    rows = [{"landmark": NOT_PRESENT}] if part.missing else []
    for landmark, found in seen.groupby("landmark"):
        mm, groups = found["error_detector_mm"].to_numpy(), clusters(found)
        row.add(landmark, errors.mean_radial_error(mm), groups)
        low, high = (row.values[f"{landmark}_{end}"] for end in ("low", "high"))
        rows.append(
            {
                "landmark": landmark,
                "visible": found["view"].nunique(),
                "mm": row.values[landmark],
                "sd_mm": errors.standard_deviation(mm),
                "mm_low": low,
                "mm_high": high,
                "px": found["error_px"].mean(),
                "detected": found["detected"].mean(),
                "mean_position_mm": means.get(landmark),
                "ci_over": groups.kind,
            }
        )
    table = _described(results, part, pd.DataFrame(rows))
    method = {"method": part.method, "method_title": results.method_title(part.method)}
    return table.assign(**method, diverged=part.diverged)


def rmse(results: Results) -> Table:
    """Paper 2's Table 1, turned: RMSE per landmark and their mean, the published cells beside ours."""
    papers = papers_with(results, "rmse_px")
    lines, wide, sources = results.lines(papers), pd.DataFrame(), {}
    for part in lines:
        rows, source = _rmse_rows(results, part, papers)
        wide = _beside(wide, rows)
        sources[part.method] = source or sources.get(part.method, "")
    wide = _in_order(results, wide)
    numbers = {ours: f" ({n})" for p in papers for n, ours in results.papers[p].landmarks.items()}
    titles = [readable(name) + numbers.get(name, "") for name in wide["landmark"]]
    wide = wide.assign(landmark_title=titles)
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
        "RMSE of the radial error over all visible landmarks at the maximum of the map, whatever its "
        "value; the mean is that of the landmarks' RMSE, as in the paper's column.",
        *(f"Published: {source}." for source in dict.fromkeys(sources.values()) if source),
        "Visible: on how many images the landmark lies. DIV: the training diverged by the rule in "
        "docs/pose-loss.md, or so the paper says.",
        *(
            f"{results.papers[n].short}: its mean is over its {len(results.papers[n].landmarks)} "
            "landmarks, ours over those that the data set has."
            for n in sorted(papers)
        ),
        *notes_of(results, papers),
        PX_NOTE,
        *standing_notes(results, lines),
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
        cells[MEAN] = {f"px{end}": mean.values[f"px{end}"] for end in ENDS}
        mean.values["ci_over"] = groups.kind
    for landmark, rows in seen.groupby("landmark"):
        mean.add(landmark, errors.rmse(rows["error_px"].to_numpy()), clusters(rows))
        cells[landmark] = {f"px{end}": mean.values[f"{landmark}{end}"] for end in ENDS}
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
    return _described(results, part, table.reset_index()), source


def _described(results: Results, part: Part, table: pd.DataFrame) -> pd.DataFrame:
    """Say in every row what it is of."""
    view_set_title = results.project.view_set_title(part.dataset, part.view_set)
    table.insert(0, "dataset", part.dataset)
    table.insert(1, "dataset_title", results.project.title_of(part.dataset))
    table.insert(2, "view_set", part.view_set)
    table.insert(3, "view_set_title", view_set_title)
    table.insert(4, "evaluated_on", part.evaluated_on)
    return table


def _beside(wide: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
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
    return wide.loc[keys.map(place).sort_values(kind="stable").index].reset_index(drop=True)


def _methods(parts: list[Part]) -> list[str]:
    """List the methods, the baseline last."""
    names = list(dict.fromkeys(part.method for part in parts))
    return sorted(names, key=lambda name: name == MEAN_POSITION)
