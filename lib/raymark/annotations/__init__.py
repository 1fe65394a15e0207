"""Layouts of annotated 2D images: one module for each form that landmarks come in.

A module's `Layout` is a section as `raymark.annotations.base` describes it. Nothing is registered
anywhere: an import's `annotations` may be of any layout that is there. See
docs/adding-an-annotation-layout.md.
"""

import sys
from importlib import import_module

from raymark.annotations.base import AnnotationLayout
from raymark.core.registry import names_in


def layouts() -> list[type[AnnotationLayout]]:
    """Return the sections of all layouts, in the order of their modules' names."""
    names = names_in(sys.modules[__name__])
    return [import_module(f"{__name__}.{name}").Layout for name in names]
