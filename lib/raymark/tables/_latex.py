"""A table as LaTeX that sets on a page: booktabs, with the notes as table notes.

What a group of rows has in common stands once above it. A table that is too wide becomes several below
each other under one number, each with the columns that say what a row is; one that is too tall for a page
breaks over pages. Widths are estimated, in digits of Computer Modern at `SIZE`, against the text width of
LaTeX's article on letter paper, the narrowest in common use.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count, pairwise
from textwrap import wrap

import numpy as np

from raymark.tables.base import Column, Table

SIZE = r"\footnotesize\setlength{\tabcolsep}{3pt}"
FULL_WIDTH = r"@{\extracolsep{\fill}}"
GAP = 1.4  # between two columns, twice \tabcolsep
DIGIT_PT = 4.4  # a little more than it is
PAGE_WIDTH = 78.0  # digits; 345 pt are 81
PAGE_LINES = 46  # of a float; more would fit, but for a caption and rules
TEXT_WIDTH = 22.0  # digits; longer texts are set in lines
HEAD_WIDTH = 10.0  # digits; longer headings too
WIDTHS = dict.fromkeys(" ,.:;()[]|iljtfI", 0.65) | dict.fromkeys("mwMW%±≤≥×–↓↑", 1.6)
BOLD = 1.15  # as wide as the same text that is not
PACKAGES = "array, booktabs, longtable and threeparttable"
SIGNS = (
    {"±": r"$\pm$", "≤": r"$\leq$", "≥": r"$\geq$", "×": r"$\times$", "°": r"$^\circ$"}
    | {"↓": r"$\downarrow$", "↑": r"$\uparrow$", "→": r"$\rightarrow$", "−": "$-$"}
    | {"²": "$^2$", "³": "$^3$", "Σ": r"$\Sigma$", "μ": r"$\mu$", "µ": r"$\mu$"}
    | {"–": "--", "<": "$<$", ">": "$>$", "|": "$|$", '"': r"\textquotedbl{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {sign: "\\" + sign for sign in "&%$#_{}"}
)


def latex(table: Table, name: str) -> str:
    """Return the table as LaTeX, to be referred to as `tab:<name>`."""
    texts = [f"% needs the packages {PACKAGES}"]
    notes = [rf"\item {{}}{escaped(note)}" for note in table.notes]  # {}: "[low" is no option
    parts = _parts(_Layout(table))
    for number, part in enumerate(parts, start=1):
        caption = escaped(table.title + (f" ({table.label})" if table.label else ""))
        caption += f", part {number} of {len(parts)}" if len(parts) > 1 else ""
        caption = rf"\caption{{{caption}}}" + (rf"\label{{tab:{name}}}" if number == 1 else "")
        if number > 1:
            texts.append(r"\addtocounter{table}{-1}")
        told = notes if number == len(parts) else []
        lines = part.lines + sum(len(wrap(note, int(PAGE_WIDTH))) for note in told)
        texts += (_float if lines <= PAGE_LINES else _over_pages)(part, caption, told)
    return "\n".join(texts) + "\n"


def escaped(text: str) -> str:
    """Escape what LaTeX would read as commands, and write our signs as mathematics."""
    text = "".join(SIGNS.get(letter, letter) for letter in text)
    return re.sub(r"(?<![\w$-])-(?=[\d.])", "$-$", text)  # below zero, not a hyphen


class _Layout:
    """How a table is printed: its cells, how wide its columns are, and what groups have in common."""

    def __init__(self, table: Table):
        self.columns, self.cells, self.bold = table.columns, table.cells(), table.bold()
        self.starts = [0, *table.group_starts().tolist()] if table.groups and self.cells else []
        self.longest = [self._longest(n) for n in range(len(self.columns))]
        self.widths = [
            max(_head_width(c), longest if c.digits is not None else min(longest, TEXT_WIDTH))
            for c, longest in zip(self.columns, self.longest, strict=True)
        ]
        self.in_common = self._in_common()

    def _longest(self, column: int) -> float:
        texts = [_width(row[column]) for row in self.cells]
        return max(np.where(self.bold[:, column], BOLD, 1) * texts, default=1)

    def _in_common(self) -> list[int]:
        """Return the first columns of text that are alike within every group of rows."""
        groups = [self.cells[a:b] for a, b in pairwise([*self.starts, len(self.cells)])]
        alike: list[int] = []
        for n, column in enumerate(self.columns[:-1]):
            texts = [{row[n] for row in group} for group in groups]
            if not texts or column.digits is not None or max(map(len, texts)) > 1:
                break
            alike.append(n)
        return alike


@dataclass(frozen=True)
class _Part:
    """As many columns as a page is wide, of all rows."""

    layout: _Layout
    columns: list[int]

    @cached_property
    def width(self) -> float:
        return sum(self.layout.widths[n] + GAP for n in self.columns)

    @property
    def lines(self) -> int:
        """How many lines the rows take, those that are broken more than one."""
        broken = [
            max(len(wrap(row[n], int(self.layout.widths[n]))) for n in self.columns)
            for row in self.layout.cells
        ]
        titles = len(self.layout.starts) if self.layout.in_common else 0
        return sum(broken) + 2 * titles

    def preamble(self) -> str:
        return FULL_WIDTH + "".join(map(self._kind, self.columns))

    def _kind(self, n: int) -> str:
        if self.layout.columns[n].digits is not None:
            return "r"
        if self.layout.longest[n] <= self.layout.widths[n]:
            return "l"
        return rf">{{\raggedright\arraybackslash}}p{{{self.layout.widths[n] * DIGIT_PT:.0f}pt}}"

    def head(self) -> list[str]:
        heads = [_head(self.layout.columns[n], self.layout.widths[n]) for n in self.columns]
        return [r"\toprule", f"{' & '.join(heads)} \\\\", r"\midrule"]

    def body(self) -> list[str]:
        lines = []
        for r, row in enumerate(self.layout.cells):
            if r in self.layout.starts and self.layout.in_common:
                lines += [r"\addlinespace"] * (r > 0)
                lines += self._title(", ".join(row[n] for n in self.layout.in_common))
            texts = (
                rf"\textbf{{{escaped(row[n])}}}" if self.layout.bold[r, n] else escaped(row[n])
                for n in self.columns
            )
            lines.append(f"{' & '.join(texts)} \\\\")
        return lines

    def _title(self, text: str) -> list[str]:
        """Return what a group of rows has in common, in lines no longer than the page is wide."""
        lines = wrap(text, int(PAGE_WIDTH))
        span = rf"\multicolumn{{{len(self.columns)}}}{{@{{}}l}}"
        return [rf"{span}{{\itshape {escaped(line)}}} \\*" for line in lines]


def _parts(layout: _Layout) -> list[_Part]:
    """Divide the columns; those that say what a row is, the first ones of text, stand in every part."""
    texts = [column.digits is None for column in layout.columns]
    first = [*texts, False].index(False)
    which = [n for n in range(first) if n not in layout.in_common]
    others = list(range(first, len(texts)))
    if not others:
        return [_Part(layout, which)]
    room = PAGE_WIDTH - _Part(layout, which).width
    least = len(_packed(layout, others, room))
    # As wide as each other, as far as they can be.
    even = next(w for w in count(1) if len(_packed(layout, others, min(w, room))) == least)
    return [_Part(layout, [*which, *some]) for some in _packed(layout, others, min(even, room))]


def _packed(layout: _Layout, columns: Sequence[int], room: float) -> list[list[int]]:
    """Divide columns, in order, into runs that are not wider than `room`, if one column is not."""
    runs: list[list[int]] = [[]]
    for column in columns:
        if runs[-1] and _Part(layout, [*runs[-1], column]).width > room:
            runs.append([])
        runs[-1].append(column)
    return runs


def _width(text: str) -> float:
    """Estimate the width of a text in digits."""
    return sum(WIDTHS.get(letter, 1.5 if letter.isupper() else 1.0) for letter in text)


def _head_width(column: Column) -> float:
    """Return how wide a heading is at least: its longest word, and not one word a line."""
    longest = max(map(_width, column.heading.split()), default=1)
    return max(longest, min(_width(column.heading), HEAD_WIDTH))


def _head(column: Column, width: float) -> str:
    """Return a heading in as many lines as it takes to be no wider than its column."""
    lines = wrap(column.heading, max(int(width / 1.1), 1), break_long_words=False)
    side = "l" if column.digits is None else "r"
    stacked = r"\\".join(map(escaped, lines))
    return rf"\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}{stacked}\end{{tabular}}"


def _float(part: _Part, caption: str, notes: list[str]) -> list[str]:
    return [
        r"\begin{table}[htbp]",
        SIZE,
        r"\begin{threeparttable}",
        caption,
        rf"\begin{{tabular*}}{{\linewidth}}{{{part.preamble()}}}",
        *part.head(),
        *part.body(),
        r"\bottomrule",
        r"\end{tabular*}",
        *([r"\begin{tablenotes}[flushleft]", *notes, r"\end{tablenotes}"] if notes else []),
        r"\end{threeparttable}",
        r"\end{table}",
    ]


def _over_pages(part: _Part, caption: str, notes: list[str]) -> list[str]:
    """Set the notes below a table that breaks over pages, so that they can break too."""
    return [
        rf"\begingroup{SIZE}\setlength{{\LTleft}}{{0pt}}\setlength{{\LTright}}{{0pt}}",
        rf"\begin{{longtable}}{{{part.preamble()}}}",
        rf"{caption}\\",
        *part.head(),
        r"\endfirsthead",
        *part.head(),
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
        *part.body(),
        r"\end{longtable}",
        *([r"\begin{tablenotes}[flushleft]", *notes, r"\end{tablenotes}"] if notes else []),
        r"\endgroup",
    ]
