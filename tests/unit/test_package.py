"""What the package says it needs is what its code imports, and what was tested is within it."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
NEEDED = [Requirement(text) for text in PROJECT["dependencies"]]
OPTIONAL = [Requirement(text) for extra in EXTRAS.values() for text in extra]
# Decoders that pydicom finds by itself, and a database that is read without its code.
UNSEEN = {"pyjpegls", "python-gdcm", "xraydb"}


def named(requirements) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements}


def imported() -> dict[str, set[str]]:
    """Return the distributions that our code imports, each with the files that do."""
    distributions, found = packages_distributions(), {}
    for file in (ROOT / "lib/raymark").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules = [node.module]
            for top in {module.split(".")[0] for module in modules} - {"raymark"}:
                if top not in sys.stdlib_module_names:
                    name = canonicalize_name(distributions[top][0])
                    found.setdefault(name, set()).add(str(file.relative_to(ROOT)))
    return found


def test_everything_imported_is_declared_and_nothing_else():
    found = imported()
    assert named(NEEDED) <= found.keys() | UNSEEN
    optional = {name: files for name, files in found.items() if name not in named(NEEDED)}
    assert optional.keys() <= named(OPTIONAL)
    for files in optional.values():  # they have a module of their own, imported when it is chosen
        assert all("/projectors/" in file for file in files)


@pytest.mark.parametrize("requirement", [*NEEDED, *OPTIONAL], ids=lambda each: each.name)
def test_what_was_tested_is_within_the_range(requirement):
    pins = {}
    for lock in ("lock.txt", "torch-cpu.txt"):
        for line in (ROOT / "envs" / lock).read_text().splitlines():
            if pin := re.match(r"([A-Za-z0-9_.-]+)==([^ ;#]+)", line):
                pins[canonicalize_name(pin[1])] = pin[2]
    assert pins[canonicalize_name(requirement.name)] in requirement.specifier
