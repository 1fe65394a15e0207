"""Packages that hold one module for each thing of a kind: methods, projectors, layouts, tables, figures.

A thing is there because its module is; its name is the module's. `base` says what every one of them
offers, and modules whose name begins with an underscore are parts that several of them share.
"""

from pkgutil import iter_modules
from types import ModuleType


def names_in(package: ModuleType) -> list[str]:
    """List the things that a package holds, by name; none of them is imported for it."""
    found = (module.name for module in iter_modules(package.__path__))
    return sorted(name for name in found if name != "base" and not name.startswith("_"))
