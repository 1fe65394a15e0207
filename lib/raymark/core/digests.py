"""Digests of code, so that what a step does reruns it, and nothing else does.

A digest is of functions, classes and constants, not of files: it starts at those named and follows the
names that they use, through our modules, read as text; nothing is imported for it. Comments, layout,
docstrings and descriptions of keys do nothing, nor does what nobody uses.
"""

import ast
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LIBRARY = Path(__file__).parents[2]
# These hold no computation, and what they import only checks: configured values reach a step's
# parameters themselves. Where results lie is no part of them.
WITHOUT_RESULTS = re.compile(r"raymark\.(layout|config\..+|core\.(errors|sections))")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
DEFINED = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
EVERYTHING = "*"

Place = tuple[str, str]  # a module and a name at its top; EVERYTHING: the whole module


def code_digest(*places: str) -> str:
    """Return 16 hexadecimal digits that change with what these places do, or anything that they use.

    A place is a module, or ``module:name`` of what is defined at its top. ModuleNotFoundError where
    there is no such module, AttributeError where it has no such name.
    """
    found: dict[Place, str] = {}
    for place in places:
        module, _, name = place.partition(":")
        if _path(module) is None:
            raise ModuleNotFoundError(f"there is no module {module}", name=module)
        if name and name not in _text(module).defined:
            raise AttributeError(f"there is no {name} in {module}")
        _follow((module, name or EVERYTHING), found)
    digest = hashlib.sha256()
    for (module, name), meaning in sorted(found.items()):
        digest.update(f"{module}:{name}\0{meaning}".encode())
    return digest.hexdigest()[:16]


def modules_of(module: str) -> set[str]:
    """Return the modules of which a module uses anything, itself among them."""
    found: dict[Place, str] = {}
    _follow((module, EVERYTHING), found)
    return {name for name, _ in found}


def text_digest(*texts: str) -> str:
    """Return 16 hexadecimal digits that identify the given texts."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)  # the same text is the same object
class _Text:
    """A module's top: the nodes that define each name, what imported names mean, and what just runs."""

    defined: dict[str, list[ast.stmt]]
    imported: dict[str, Place]
    running: list[ast.stmt]


def _follow(place: Place, found: dict[Place, str]) -> None:
    """Add a place and all that it uses to `found`, each with what it means."""
    waiting = [place]
    while waiting:
        module, name = waiting.pop()
        if (module, name) in found or WITHOUT_RESULTS.fullmatch(module):
            continue
        meaning, used = _meaning(_text(module), module, name)
        if meaning is not None:
            found[module, name] = meaning
        waiting += used


@cache  # hundreds of jobs ask for the digests of a few modules
def _meaning(text: _Text, module: str, name: str) -> tuple[str | None, tuple[Place, ...]]:
    """Return what a place means, None where its module only has it from another, and what it uses."""
    used: list[Place] = []
    if name == EVERYTHING:
        nodes, used = text.running, [(module, each) for each in text.defined]
    elif name in text.defined:
        nodes = [*text.defined[name], *text.running]
    else:
        return None, tuple(_meant(*text.imported[name]) if name in text.imported else ())
    used += dict.fromkeys(each for node in nodes for each in _used(node, text, module))
    return "\n".join(ast.dump(node) for node in nodes), tuple(used)


def _used(node: ast.AST, text: _Text, module: str) -> Iterator[Place]:
    """Yield the places of ours that some code uses, by its own imports and those of its module."""
    imported, mentioned = _mentioned(node)
    for name, attribute in mentioned:
        place = imported.get(name) or text.imported.get(name)
        if place:
            yield from _meant(*place, attribute)
        elif name in text.defined:
            yield module, name


@cache  # what just runs in a module is asked for with each of its names
def _mentioned(node: ast.AST) -> tuple[dict[str, Place], dict[tuple[str, str], None]]:
    """Return what some code imports, and the names it has, each with the attribute that it takes of it.

    The types of a class's fields are not among them: they check what is given, and what computes is made
    where it is called by its name. A step that calls what only such a type names is told so by its rule.
    """
    imported: dict[str, Place] = {}
    mentioned: dict[tuple[str, str], None] = {}
    waiting = [node]
    while waiting:
        each = waiting.pop()
        if isinstance(each, ast.Name):
            mentioned[each.id, ""] = None
        elif isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name):
            mentioned[each.value.id, each.attr] = None
        elif isinstance(each, ast.Import | ast.ImportFrom):
            imported |= _imports(each)
        elif isinstance(each, ast.ClassDef):
            for part in ast.iter_child_nodes(each):
                if isinstance(part, ast.AnnAssign):
                    waiting += [part.target, *([part.value] if part.value else [])]
                else:
                    waiting.append(part)
        else:
            waiting += ast.iter_child_nodes(each)
    return imported, mentioned


def _meant(module: str, name: str, attribute: str = "") -> Iterator[Place]:
    """Yield what an imported name means: a name of its module, or a module, of which one is taken."""
    if name != EVERYTHING and _path(f"{module}.{name}") is None:
        if _path(module) is not None:
            yield module, name
        return
    whole = module if name == EVERYTHING else f"{module}.{name}"
    if _path(whole) is None:
        return
    if attribute and (attribute in _text(whole).defined or attribute in _text(whole).imported):
        yield whole, attribute
    elif attribute and _path(f"{whole}.{attribute}") is not None:
        yield f"{whole}.{attribute}", EVERYTHING
    else:
        yield whole, EVERYTHING


@cache
def _path(module: str) -> Path | None:
    """Return a module's file, or None where it is none of ours; nothing is imported for it."""
    if module.split(".")[0] != "raymark":
        return None
    stem = LIBRARY.joinpath(*module.split("."))
    files = (stem / "__init__.py", stem.with_suffix(".py"))
    return next((file for file in files if file.is_file()), None)


def _text(module: str) -> _Text:
    path = _path(module)
    assert path is not None  # only modules that are there are followed
    return _read(path)


@cache
def _read(path: Path) -> _Text:
    """Read a module without comments, docstrings, descriptions and what is for type checkers alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
        if isinstance(node, ast.Call):  # what is said about a key of the configuration
            node.keywords = [k for k in node.keywords if k.arg != "description"]
    defined: dict[str, list[ast.stmt]] = {}
    imported: dict[str, Place] = {}
    running = []
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            imported |= _imports(node)
        elif isinstance(node, DEFINED):
            defined.setdefault(node.name, []).append(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            for name in _targets(node):
                defined.setdefault(name, []).append(node)
        elif not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)):
            running.append(node)
    return _Text(defined, imported, running)


def _targets(node: ast.Assign | ast.AnnAssign | ast.AugAssign) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]


def _imports(node: ast.Import | ast.ImportFrom) -> dict[str, Place]:
    """Return what an import statement binds to names."""
    if isinstance(node, ast.ImportFrom):
        module = node.module
        return {a.asname or a.name: (module, a.name) for a in node.names} if module else {}
    found: dict[str, Place] = {}
    for alias in node.names:
        bound = alias.asname or alias.name.split(".")[0]
        found[bound] = (alias.name if alias.asname else bound, EVERYTHING)
    return found
