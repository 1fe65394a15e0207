"""Projectors: one module each, found by name, imported when asked for.

A module's `Projector` is a class as `raymark.projectors.base` describes it. Nothing is registered
anywhere: the module's name is the projector's. See docs/adding-a-projector.md.
"""

import sys
from importlib import import_module

from raymark.core.registry import names_in
from raymark.projectors.base import Projector


def names() -> list[str]:
    """Return the names of all projectors."""
    return names_in(sys.modules[__name__])


def projector_class(name: str) -> type[Projector]:
    """Return the projector called `name`; its module is imported only now."""
    return import_module(f"{__name__}.{name}").Projector
