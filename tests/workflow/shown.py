"""What the page of a Snakemake report shows of its results, as its script decides it."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

Labels = dict[str, str]


def results_of(report: Path) -> list[tuple[str, Labels]]:
    """Return the chapter and the labels of every result that a report carries."""
    text = report.read_text(encoding="utf-8")

    def read(name: str) -> dict:
        found = re.search(rf"^\s*var {name} = (\{{.*)", text, re.M)
        return json.JSONDecoder().raw_decode(found[1])[0]

    results, categories = read("results"), read("categories")
    return [
        (chapter, results[path]["labels"])
        for chapter, below in categories.items()
        for paths in below.values()
        for path in paths
    ]


def shown(results: Iterable[tuple[str, Labels]]) -> int:
    """Count the results of a report that can be seen, given each one's chapter and labels.

    As in Snakemake's `abstract_results.js`: in each chapter, a label other than the first with two values in
    half of the results each becomes a switch; a row is what is alike in the others, and shows one result for
    each position of the switch, by the last result of these labels.
    """
    chapters = defaultdict(list)
    for chapter, labels in results:
        chapters[chapter].append(labels)
    return sum(_shown_in(chapter) for chapter in chapters.values())


def _shown_in(results: list[Labels]) -> int:
    keys = list(dict.fromkeys(key for labels in results for key in labels))
    switches = [key for key in keys[1:] if _is_switch([labels.get(key) for labels in results])]
    switches = switches if len(switches) == 1 else []
    rows = {}
    for labels in results:
        row = tuple(labels.get(key, "") for key in keys if key not in switches)
        rows.setdefault(row, set()).add(tuple(labels.get(key) for key in switches))
    return sum(len(positions) for positions in rows.values())


def _is_switch(values: list[str | None]) -> bool:
    known = [value for value in values if value is not None]
    return len(set(known)) == 2 and all(known.count(v) == len(values) / 2 for v in known)
