"""Digests of code, so that a changed module reruns what depends on it and nothing else."""

import ast
import hashlib
import re
from functools import cache
from pathlib import Path

LIBRARY = Path(__file__).parents[2]
# These hold no computation, and what they import only checks: configured values reach a step's
# parameters themselves.
WITHOUT_RESULTS = re.compile(r"raymark\.(config\..+|core\.(errors|sections))")

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_digest(*modules: str) -> str:
    """Return 16 hexadecimal digits that change with what these modules, or any of ours they import, do.

    Comments, layout, docstrings and the descriptions of keys do nothing.
    ModuleNotFoundError where there is no such module.
    """
    found: set[str] = set()
    for module in modules:
        _collect(module, found)
    digest = hashlib.sha256()
    for module in sorted(found):
        digest.update(f"{module}\0{_meaning(_file(module))}".encode())
    return digest.hexdigest()[:16]


def text_digest(*texts: str) -> str:
    """Return 16 hexadecimal digits that identify the given texts."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def _collect(module: str, found: set[str]) -> None:
    if module in found or WITHOUT_RESULTS.fullmatch(module):
        return
    found.add(module)
    for imported in _imports(module):
        _collect(imported, found)


@cache
def _path(module: str) -> Path | None:
    """Return a module's file, or None where there is no such module; nothing is imported for it."""
    stem = LIBRARY.joinpath(*module.split("."))
    files = (stem / "__init__.py", stem.with_suffix(".py"))
    return next((file for file in files if file.is_file()), None)


def _file(module: str) -> Path:
    """Return the file of a module that there is."""
    if (file := _path(module)) is None:
        raise ModuleNotFoundError(f"there is no module {module}", name=module)
    return file


@cache
def _meaning(path: Path) -> str:
    """Return what of a module's text decides what it does: all but comments, layout and descriptions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
        if isinstance(node, ast.Call):  # what is said about a key of the configuration
            node.keywords = [k for k in node.keywords if k.arg != "description"]
    return ast.dump(tree)


@cache
def _imports(module: str) -> frozenset[str]:
    """Find the modules of this package that `module` imports, at its top or inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(_file(module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    ours = {name for name in names if name.split(".")[0] == "raymark" and name != "raymark"}
    return frozenset(name for name in ours if _path(name))
