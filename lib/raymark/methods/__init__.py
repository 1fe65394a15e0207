"""Landmark detectors: one self-contained module per method, found by name, imported when asked for.

A module defines `Config`, a `raymark.core.sections.Section` with the network's hyper-parameters, and
`Network`, a `raymark.methods.base.LandmarkNetwork`. Nothing is registered anywhere: the module's
name is the method's name. See docs/adding-a-method.md.
"""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

from raymark.core.errors import InputError
from raymark.core.registry import names_in
from raymark.core.sections import Section, checked

IN_STAGES = ("cpm",)  # methods that show how belief develops: their networks offer `stage_maps`


def names() -> list[str]:
    """Return the names of all methods."""
    return names_in(sys.modules[__name__])


def definition_of(name: str, network: dict, source: str | Path) -> tuple[ModuleType, Section]:
    """Import the module of the method `name` and check its hyper-parameters, `network`.

    Return the module and its `Config`; an InputError names `source`, the key and what is allowed.
    """
    if name not in names():
        known = f"Known: {', '.join(names())}"
        raise InputError(f"{source}, module", f"{name!r} is unknown", known)
    try:
        module = import_module(f"{__name__}.{name}")
        settings, _ = module.Config, module.Network
    except (ImportError, SyntaxError, AttributeError) as error:
        problem = f"lib/raymark/methods/{name}.py cannot be used ({error})"
        raise InputError(f"{source}, module", problem, "See docs/adding-a-method.md") from error
    return module, checked(settings, network, f"{source}, network")
