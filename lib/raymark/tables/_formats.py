"""The four files of a table: CSV for programs, Markdown, LaTeX and HTML for people."""

from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path

from raymark.core.files import atomic
from raymark.tables._latex import latex
from raymark.tables.base import Table


def write_table(table: Table, stem: str | Path, shown: Table | None = None) -> None:
    """Write `<stem>.csv`, `.md`, `.tex` and `.html`, each whole or not at all.

    `shown` is what people read of it, where that is less than all of it.
    """
    shown = shown or table
    texts = {
        "csv": csv(table),
        "md": markdown(shown),
        "tex": latex(shown, Path(stem).name),
        "html": html(shown),
    }
    for suffix, text in texts.items():
        with atomic(f"{stem}.{suffix}") as partial:
            partial.write_text(text, encoding="utf-8")


def csv(table: Table) -> str:
    """All columns of the frame, numbers unrounded, shares between 0 and 1."""
    return table.frame.to_csv(index=False, float_format="%.10g", lineterminator="\n")


def markdown(table: Table) -> str:
    """A pipe table; the best values bold."""

    def cell(text: str, bold: bool = False) -> str:
        text = text.replace("|", "\\|")
        return f"**{text}**" if bold else text

    lines = [
        f"**{table.title}**" + (f" ({table.label})" if table.label else ""),
        "",
        _pipes(cell(column.heading) for column in table.columns),
        _pipes("---" if column.digits is None else "---:" for column in table.columns),
        *(_pipes(row) for row in _rows(table, cell)),
    ]
    if table.notes:
        lines += ["", *(f"- {note}" for note in table.notes)]
    return "\n".join(lines) + "\n"


def html(table: Table) -> str:
    """A page of its own that also looks right inside a frame of the report."""

    def cell(text: str, bold: bool) -> str:
        return f"<b>{escape(text)}</b>" if bold else escape(text)

    sides = ["text" if column.digits is None else "number" for column in table.columns]
    heads = "".join(
        f'<th class="{side}">{escape(c.title)}'
        + (f"<small>{escape(c.unit)}</small>" if c.unit else "")
        + "</th>"
        for side, c in zip(sides, table.columns, strict=True)
    )
    rules, rows = set(table.group_starts()), []
    for r, cells in enumerate(_rows(table, cell)):
        row = "".join(f'<td class="{s}">{c}</td>' for s, c in zip(sides, cells, strict=True))
        rows.append(f'<tr class="group">{row}</tr>' if r in rules else f"<tr>{row}</tr>")
    label = f' <span class="label">{escape(table.label)}</span>' if table.label else ""
    notes = "".join(f"<li>{escape(note)}</li>" for note in table.notes)
    return PAGE.format(
        title=escape(table.title),
        style=STYLE,
        label=label,
        heads=heads,
        rows="\n".join(rows),
        notes=f"<ul>{notes}</ul>" if notes else "",
    )


PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title><style>{style}</style></head>
<body>
<h1>{title}{label}</h1>
<div class="scroll"><table>
<thead><tr>{heads}</tr></thead>
<tbody>
{rows}
</tbody>
</table></div>
{notes}
</body>
</html>
"""

STYLE = """
:root { color-scheme: light; }
body { background: #fff; color: #1a1a1a; margin: 1.2rem;
  font: 15px/1.45 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.15rem; font-weight: 600; margin: 0 0 .8rem; }
.label { background: #fff3d6; border: 1px solid #d9a300; border-radius: .3rem; font-size: .8rem;
  font-weight: 500; margin-left: .5rem; padding: .1rem .45rem; white-space: nowrap; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; border-top: 2px solid #1a1a1a; border-bottom: 2px solid #1a1a1a;
  font-variant-numeric: tabular-nums; }
th { background: #fff; border-bottom: 1px solid #1a1a1a; font-weight: 600; position: sticky; top: 0;
  vertical-align: bottom; }
th small { color: #555; display: block; font-weight: 400; }
th, td { padding: .32rem .7rem; }
td { white-space: nowrap; }
td.text { max-width: 20rem; white-space: normal; }
tbody tr:hover { background: #f2f6fa; }
tr.group td { border-top: 1px solid #999; }
.text { text-align: left; }
.number { text-align: right; }
ul { color: #444; font-size: .85rem; margin: .8rem 0 0; max-width: 60rem; padding-left: 1.1rem; }
"""


def _rows(table: Table, cell: Callable[[str, bool], str]) -> list[list[str]]:
    """Print every cell by `cell`, which is told whether it holds a best value."""
    return [
        list(map(cell, texts, best))
        for texts, best in zip(table.cells(), table.bold(), strict=True)
    ]


def _pipes(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
