import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from raymark.workflow.resources import by_count, by_size, memory, minutes, size_mb

RULES = Path(__file__).parents[3] / "workflow/rules"


class Input(list):
    """Input files as Snakemake gives them: a list, some of it under names."""

    def __init__(self, **named):
        values = [[v] if isinstance(v, str) else v for v in named.values()]
        super().__init__(file for files in values for file in files)
        self.__dict__ |= named


@pytest.fixture
def files(tmp_path):
    """Three files of 2, 3 and 5 MB, the last two in a folder of their own."""
    paths = [tmp_path / "a", tmp_path / "series/b", tmp_path / "series/deeper/c"]
    for path, mb in zip(paths, (2, 3, 5), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            file.truncate(mb * 1_000_000)
    return [str(path) for path in paths]


def views(wildcards):
    return wildcards.views


WILDCARDS = SimpleNamespace(views=3_000_000)


def test_a_folder_counts_with_all_its_files(files, tmp_path):
    assert size_mb(files[0]) == 2
    assert size_mb(str(tmp_path / "series")) == 8


def test_memory_grows_with_input_views_and_doubles_with_the_attempt(files, tmp_path):
    ask = memory(1000, views, mb_per_million_views=100, ct=60)
    given = Input(ct=str(tmp_path / "series"), others=files[:1])
    assert [ask(WILDCARDS, given, attempt) for attempt in (1, 2, 3)] == [1780, 3560, 7120]
    assert memory(1000, cts=60)(WILDCARDS, Input(cts=files), 1) == 1300  # the largest
    assert memory(1000, cts=60)(WILDCARDS, Input(cts=[]), 1) == 1000
    assert memory(1000, mb_per_input_mb=2)(WILDCARDS, Input(all=files), 1) == 1020


def test_time_grows_with_the_work_and_with_the_attempt(files):
    ask = minutes(10, by_count(views, 100_000), by_size(5))
    assert [ask(WILDCARDS, Input(all=files), attempt) for attempt in (1, 2)] == [42, 84]


def test_time_has_a_limit_for_work_that_goes_on(files):
    ask = minutes(10, by_count(views, 1_000_000), at_most=30)
    asked = [ask(WILDCARDS, Input(all=files), attempt) for attempt in (1, 2, 3)]
    assert asked == [13, 26, 30]


def test_every_rule_that_a_cluster_runs_asks_for_memory_and_time():
    text = "\n".join(path.read_text() for path in sorted(RULES.glob("*.smk")))
    rules = re.findall(r"^rule (\w+):\n((?:(?:    .*)?\n)+)", text, re.MULTILINE)
    run = {name: body for name, body in rules if "shell:" in body and "localrule" not in body}
    assert len(run) >= 18
    for name, body in run.items():
        asked = body.partition("    resources:\n")[2].partition("    params:")[0]
        assert "mem_mb=" in asked, name
        assert "runtime=" in asked, name
