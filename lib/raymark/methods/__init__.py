"""Landmark detectors: one self-contained module per method, found by name, imported when asked for.

A module defines `Config`, a `raymark.sections.Section` with the network's hyper-parameters, and
`Network`, a `raymark.methods.base.LandmarkNetwork`. Nothing is registered anywhere: the module's
name is the method's name. See docs/adding-a-method.md.
"""

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

from raymark.errors import InputError

IN_STAGES = ("cpm",)  # methods that show how belief develops: their networks offer `stage_maps`


def names() -> list[str]:
    """Return the names of all methods."""
    return sorted(module.name for module in iter_modules(__path__) if module.name != "base")


def module_of(name: str) -> ModuleType:
    """Import the module of the method `name`."""
    if name not in names():
        raise InputError(f"method module {name!r}", "is unknown", f"Known: {', '.join(names())}")
    return import_module(f"{__name__}.{name}")
