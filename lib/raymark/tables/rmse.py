"""The registration-loss paper's Table 1, turned: RMSE per landmark and their mean, beside its cells."""

import pandas as pd

from raymark.core.names import readable
from raymark.evaluation.errors import MEAN_POSITION
from raymark.evaluation.results import Part, Results
from raymark.metrics import errors
from raymark.tables._columns import column, published_column
from raymark.tables._landmarks import MEAN, WHICH, described, in_order
from raymark.tables._rows import Row, clusters, of_results, table_of
from raymark.tables.base import Table

NUMBERS = ("rmse_px", "rmse_px_low", "rmse_px_high", "published_rmse_px")


def table(results: Results) -> Table:
    """A column for each method, and one of what is published of it."""
    lines, wide = results.lines(), pd.DataFrame()
    sources: dict[str, str] = {}
    for part in lines:
        rows, source = _rows(results, part)
        wide = _beside(wide, rows)
        sources[part.method] = source or sources.get(part.method, "")
    wide = in_order(results, wide)
    papers = results.papers.values()
    numbers = {ours: f" ({n})" for paper in papers for n, ours in paper.landmarks.items()}
    titles = [readable(name) + numbers.get(name, "") for name in wide["landmark"]]
    wide = wide.assign(landmark_title=titles)
    columns = []
    for method in sorted(sources, key=lambda name: name == MEAN_POSITION):  # that comes last
        ours = column(
            "rmse_px",
            key=f"{method}_rmse_px",
            title=results.method_title(method),
            interval=True,
            diverged=f"{method}_diverged",
        )
        columns.append(ours)
        if sources[method]:
            names = {"key": f"{method}_published_rmse_px", "title": "published"}
            columns.append(published_column(ours, **names, diverged=f"{method}_published_diverged"))
    columns += [column("views_showing"), column("ci_over")]
    notes = [
        "RMSE of the radial error over all visible landmarks at the maximum of the map, whatever its "
        "value; the mean is that of the landmarks' RMSE, as in the paper's column.",
        *(f"Published: {source}." for source in dict.fromkeys(sources.values()) if source),
        "Views showing it: on how many images the landmark lies. DIV: the training diverged by the "
        "rule in docs/pose-loss.md, or so the paper says.",
        *(
            f"{paper.short}: its mean is over its {len(paper.landmarks)} "
            "landmarks, ours over those that the data set has."
            for paper in papers
        ),
    ]
    title = "RMSE of landmarks"
    return table_of(results, lines, title, columns, wide, notes, what=WHICH, across=True)


def _rows(results: Results, part: Part) -> tuple[pd.DataFrame, str]:
    """Return one method's rows of the table, and where the published cells come from."""
    seen, row = part.errors[part.errors["visible"]], Row(results, part)
    cells: dict[str, dict[str, float | None]] = {MEAN: {}}
    ci_over = row.values.get("ci_over")
    if not part.missing:
        groups = clusters(seen)
        px, names = seen["error_px"].to_numpy(), seen["landmark"].to_numpy()
        mean = errors.mean_landmark_rmse(px, names)
        cells[MEAN], ci_over = row.interval("rmse_px", mean, groups, drawn_as="px"), groups.kind
    for landmark, rows in seen.groupby("landmark"):
        rmse = errors.rmse(rows["error_px"].to_numpy())
        cells[landmark] = row.interval("rmse_px", rmse, clusters(rows), drawn_as=landmark)
    source, diverged = "", False
    if beside := results.published(part):
        paper, theirs = beside
        source, diverged = f"{paper.short}, {theirs.source}", theirs.diverged
        cells[MEAN]["published_rmse_px"] = theirs.values.get("rmse_px")
        for name, value in theirs.landmark_rmse_px.items():
            cells.setdefault(paper.landmarks[name], {})["published_rmse_px"] = value
    table = pd.DataFrame.from_dict(cells, orient="index").reindex(columns=NUMBERS).astype(float)
    table["diverged"] = part.diverged
    table["published_diverged"] = diverged & (table.index == MEAN)
    table = table.add_prefix(f"{part.method}_").rename_axis("landmark")
    table["views_showing"] = seen.groupby("landmark")["view"].nunique().reindex(table.index)
    table["ci_over"] = pd.Series({MEAN: ci_over}).reindex(table.index)
    return described(results, part, table.reset_index()), source


def _beside(wide: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Put one method's rows beside those of others; the same view set may meet several methods."""
    if wide.empty:
        return rows
    keys = ["dataset", "dataset_title", "view_set", "view_set_title", "evaluated_on", "landmark"]
    wide, rows = wide.set_index(keys), rows.set_index(keys)
    return rows.combine_first(wide).reset_index()


TABLE = of_results(
    table,
    about="RMSE per landmark beside the published cells (registration-loss paper)",
    caption="RMSE in px of each landmark and their mean, beside Table 1 of the registration-loss "
    "paper. DIV: the training diverged.",
    publishes="rmse_px",
)
