"""The four files of a table: CSV for programs, Markdown, LaTeX and HTML for people."""

from collections.abc import Callable
from html import escape
from pathlib import Path

from raymark.core.files import atomic
from raymark.tables.base import Table

LONGEST_FLOAT = 40  # rows; a LaTeX float cannot break over pages


def write_table(table: Table, stem: str | Path) -> None:
    """Write `<stem>.csv`, `.md`, `.tex` and `.html`, each whole or not at all."""
    for suffix, text_of in WRITERS.items():
        with atomic(f"{stem}.{suffix}") as partial:
            partial.write_text(text_of(table), encoding="utf-8")


def csv(table: Table) -> str:
    """All columns of the frame, numbers unrounded, shares between 0 and 1."""
    return table.frame.to_csv(index=False, float_format="%.10g", lineterminator="\n")


def markdown(table: Table) -> str:
    """A pipe table; the best values bold."""

    def cell(text: str, bold: bool = False) -> str:
        text = text.replace("|", "\\|")
        return f"**{text}**" if bold else text

    aligned = ["---" if column.digits is None else "---:" for column in table.columns]
    lines = [
        f"**{table.title}**" + (f" ({table.label})" if table.label else ""),
        "",
        _pipes(cell(column.heading) for column in table.columns),
        _pipes(aligned),
        *(_pipes(row) for row in _rows(table, cell)),
    ]
    if table.notes:
        lines += ["", *(f"- {note}" for note in table.notes)]
    return "\n".join(lines) + "\n"


def latex(table: Table) -> str:
    """A booktabs table; `longtable` where it would not fit on a page."""

    def cell(text: str, bold: bool = False) -> str:
        return rf"\textbf{{{_tex(text)}}}" if bold else _tex(text)

    columns = "".join("l" if column.digits is None else "r" for column in table.columns)
    label = f" ({table.label})" if table.label else ""
    caption = rf"\caption{{{_tex(table.title + label)}}}"
    head = [r"\toprule", _ampersands(cell(c.heading) for c in table.columns), r"\midrule"]
    body = [_ampersands(row) for row in _rows(table, cell)]
    if len(body) > LONGEST_FLOAT:
        before = [rf"\begin{{longtable}}{{{columns}}}", caption + r" \\", *head, r"\endhead"]
        lines = [*before, *body, r"\bottomrule", r"\end{longtable}"]
    else:
        before = [r"\begin{table}", r"\centering", caption, rf"\begin{{tabular}}{{{columns}}}"]
        after = [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
        lines = [*before, *head, *body, *after]
    notes = [rf"% {note}" for note in table.notes]
    return "\n".join(["% needs the packages booktabs and longtable", *lines, *notes]) + "\n"


def html(table: Table) -> str:
    """A page of its own that also looks right inside a frame of the report."""
    heads = "".join(
        f'<th class="{_side(c)}">{escape(c.title)}'
        + (f"<small>{escape(c.unit)}</small>" if c.unit else "")
        + "</th>"
        for c in table.columns
    )
    bold = table.bold()
    rows = []
    for r, cells in enumerate(table.cells()):
        row = "".join(
            f'<td class="{_side(column)}">{_html_cell(cells[c], bold[r, c])}</td>'
            for c, column in enumerate(table.columns)
        )
        rows.append(f"<tr{_rule_above(table, r)}>{row}</tr>")
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


WRITERS: dict[str, Callable[[Table], str]] = {
    "csv": csv,
    "md": markdown,
    "tex": latex,
    "html": html,
}

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
    bold = table.bold()
    return [
        [cell(text, bold[r, c]) for c, text in enumerate(row)]
        for r, row in enumerate(table.cells())
    ]


def _pipes(cells) -> str:
    return f"| {' | '.join(cells)} |"


def _ampersands(cells) -> str:
    return " & ".join(cells) + r" \\"


def _tex(text: str) -> str:
    """Escape what LaTeX would read as commands, and write our signs as mathematics."""
    signs = {"±": r"$\pm$", "≤": r"$\leq$", "≥": r"$\geq$", "×": r"$\times$", "°": r"$^\circ$"}
    signs |= {
        "↓": r"$\downarrow$",
        "↑": r"$\uparrow$",
        "–": "--",
        "<": r"$<$",
        ">": r"$>$",
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
    }
    signs |= {"^": r"\textasciicircum{}"} | {sign: "\\" + sign for sign in "&%$#_{}"}
    return "".join(signs.get(letter, letter) for letter in text)


def _side(column) -> str:
    return "text" if column.digits is None else "number"


def _html_cell(text: str, bold: bool) -> str:
    return f"<b>{escape(text)}</b>" if bold else escape(text)


def _rule_above(table: Table, row: int) -> str:
    """Draw a line where a new group of rows begins."""
    if not table.groups or row == 0:
        return ""
    keys = table.frame[list(table.groups)].astype(str)
    return "" if (keys.iloc[row] == keys.iloc[row - 1]).all() else ' class="group"'
