"""One house: a stage is a package, a file of rules, a folder of tests and a page, all of one name; and
what the pages name is there: files, modules, commands."""

import pkgutil
import re
import shlex
from pathlib import Path

import click
import pytest
import typer
import yaml

from raymark import cli, layout

ROOT = Path(__file__).parents[2]
# What several stages share.
SHARED_RULES = {"common", "resources"}
SHARED_PACKAGES = {
    *("core", "geometry", "metrics", "projectors", "methods", "annotations", "config", "datasets"),
    *("workflow", "exports", "viewer"),
}
STAGES = sorted({path.stem for path in ROOT.glob("workflow/rules/*.smk")} - SHARED_RULES)
PACKAGES = sorted(path.parent.name for path in ROOT.glob("lib/raymark/*/__init__.py"))
PAGES = [
    *("README.md", "config/README.md", "results/README.md"),
    *(path.name for path in ROOT.glob("CONTRIBUTING.md")),
    *sorted(f"docs/{path.name}" for path in ROOT.glob("docs/*.md")),
]
PLACES = "|".join(["lib", "tests", "docs", "benchmarks", "profiles", "envs", *PACKAGES])
COMMANDS = typer.main.get_command(cli.app)


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


# --------------------------------------------------------------------------------------- stages


def test_every_package_is_a_stages_or_shared():
    assert sorted({*STAGES, *SHARED_PACKAGES}) == PACKAGES


def test_every_package_has_its_folder_of_tests():
    tested = sorted(path.parent.name for path in ROOT.glob("tests/unit/*/__init__.py"))
    assert tested == PACKAGES


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_has_its_page(stage):
    assert (ROOT / f"docs/{stage}.md").exists()


def test_the_readme_tells_every_stage_once_with_its_page():
    told = re.findall(r"^\| *\[`?(\w+)`?\]\((docs/\w+\.md)\) *\|", text_of("README.md"), re.M)
    assert sorted(told) == [(stage, f"docs/{stage}.md") for stage in STAGES]


def test_the_snakefile_includes_every_file_of_rules():
    included = re.findall(r'^include: "workflow/rules/(\w+)\.smk"', text_of("Snakefile"), re.M)
    assert sorted(included) == sorted({*STAGES, *SHARED_RULES})


def test_nothing_lies_loose_among_the_packages():
    loose = {path.name for path in (ROOT / "lib/raymark").iterdir() if path.is_file()}
    assert loose == {"__init__.py", "__main__.py", "cli.py", "layout.py", "py.typed"}


def test_what_runs_before_a_commit_is_what_make_lint_runs():
    """Where a command is given every file, a hook is given those of the commit."""
    lint = re.search(r"^lint:.*\n((?:\t.+\n)+)", text_of("Makefile"), re.M)[1]
    commands = {
        line.strip().removeprefix("$(BIN)/").removesuffix(" .") for line in lint.splitlines()
    }
    (local,) = yaml.safe_load(text_of(".pre-commit-config.yaml"))["repos"]
    assert {hook["entry"].removeprefix(".venv/bin/") for hook in local["hooks"]} == commands


# ---------------------------------------------------------------------------------------- pages


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ +(.+)$", page.read_text(encoding="utf-8"), re.M)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (ROOT / page).parent / file if file else ROOT / page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            dead.append(link)
    assert not dead, dead


@pytest.mark.parametrize("page", PAGES)
def test_the_files_that_a_page_names_are_there(page):
    """From the project's folder, or from `lib/raymark/`."""
    named = re.findall(rf"`((?:{PLACES})/[\w./*-]*)`", text_of(page))
    gone = [n for n in named if not [*ROOT.glob(n), *(ROOT / "lib/raymark").glob(n)]]
    assert not gone, gone


@pytest.mark.parametrize("page", PAGES)
def test_the_modules_that_a_page_names_are_there(page):
    text = text_of(page)
    named = re.findall(r"\braymark(?:\.\w+)+", text)
    for module, names in re.findall(r"^from (raymark[\w.]*) import (.+)$", text, re.M):
        named += [f"{module}.{name}" for name in re.split(r",\s*", names)]
    missing = []
    for name in dict.fromkeys(named):
        try:
            pkgutil.resolve_name(name)
        except (ImportError, AttributeError):
            missing.append(name)
    assert not missing, missing


def test_the_pages_that_other_files_name_are_there():
    files = [*ROOT.glob("Makefile"), *ROOT.glob("lib/raymark/**/*.py")]
    files += [p for top in ("config", "workflow", "profiles") for p in ROOT.glob(f"{top}/**/*.*")]
    dead = {
        (str(file.relative_to(ROOT)), named)
        for file in files
        if file.is_file()
        for named in re.findall(r"docs/[\w/-]+\.md", file.read_text(encoding="utf-8"))
        if not (ROOT / named).exists()
    }
    assert not dead, dead


def test_every_result_is_explained():
    """By the row of its folder, up to the next row that begins with one."""
    rows = text_of("results/README.md").replace(" ", "_").split("\n|_`")
    patterns = [p for p in vars(layout).values() if str(p).startswith("results/") and "." in p]
    for pattern in patterns:
        place = pattern.replace("{", "<").replace("}", ">").removeprefix("results/")
        folder, _, file = place.rpartition("/")
        assert any(row.startswith(f"{folder}/`") and f"`{file}`" in row for row in rows), pattern


# ------------------------------------------------------------------------------------- commands


def commands_of(page: str) -> list[tuple[str, bool]]:
    """List the commands that a page prints, and whether each is there to be copied, whole."""
    parts = re.split(r"^```.*$", text_of(page), flags=re.M)  # prose and blocks in turn
    whole = [c for block in parts[1::2] for c in re.findall(r"^ *(raymark .+)$", block, re.M)]
    whole += [c for prose in parts[0::2] for c in re.findall(r"^ {4,}(raymark .+)$", prose, re.M)]
    inline = [c for prose in parts[0::2] for c in re.findall(r"`(raymark\s[^`]+)`", prose)]
    return [(command, True) for command in whole] + [(command, False) for command in inline]


def options_of(command: click.Command) -> set[str]:
    parameters = command.get_params(click.Context(command))
    return {name for p in parameters for name in (*p.opts, *p.secondary_opts)}


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_that_a_page_prints_are_known(page):
    for printed, whole in commands_of(page):
        _, *words = shlex.split(printed, comments=True)
        command = COMMANDS if words[0].startswith("-") else COMMANDS.commands.get(words.pop(0))
        assert command, printed
        assert {w for w in words if w.startswith("--")} <= options_of(command), printed
        if whole:
            command.make_context("raymark", words)  # UsageError: arguments missing or too many


def test_every_command_is_on_a_page():
    printed = {command.split()[1] for page in PAGES for command, _ in commands_of(page)}
    assert set(COMMANDS.commands) - printed == {"schemas"}  # which is `make schemas`
