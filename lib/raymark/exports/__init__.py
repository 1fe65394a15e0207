"""Data in the forms that other tools take: one module for each form.

A module offers one or both of these (`raymark.exports.base`): `FORMAT` writes a view set, `Beside` writes
what was found in a user's own images, beside what `raymark predict` writes anyway. Nothing is registered
anywhere. See docs/exports.md.
"""

import sys
from importlib import import_module
from pathlib import Path

from raymark.core.errors import InputError, named
from raymark.core.files import atomic
from raymark.core.registry import names_in
from raymark.detection.on_files import Beside
from raymark.exports.base import Format, Source


def formats() -> dict[str, Format]:
    """Return what writes a view set, by the format's name."""
    return _offered("FORMAT")


def besides() -> dict[str, type[Beside]]:
    """Return what writes of a user's own images, by the format's name."""
    return _offered("Beside")


def _offered(what: str) -> dict:
    modules = {
        name: import_module(f"{__name__}.{name}") for name in names_in(sys.modules[__name__])
    }
    return {name: getattr(m, what) for name, m in modules.items() if hasattr(m, what)}


def export_view_set(source: Source, format_name: str, out_dir: str | Path) -> int:
    """Write a view set to a folder that is not there yet; it appears when it is whole.

    Returns how many images, or CTs, it holds. Equal data gives equal bytes.
    """
    chosen = named(formats(), format_name, "format")
    if chosen.of_predictions and source.method is None:
        problem = f"{format_name} shows what a model found, and none is named"
        raise InputError("--method", problem, "Give --method and, unless it is 0, --seed")
    if source.method is not None and not chosen.of_predictions:
        problem = f"{format_name} holds the truth, not what a model found"
        with_it = ", ".join(name for name, f in formats().items() if f.of_predictions)
        raise InputError("--method", problem, f"Leave it out, or take the format {with_it}")
    out_dir = Path(out_dir)
    if out_dir.exists():
        raise InputError(out_dir, "is there already", "Give a folder that is not, or delete it")
    with atomic(out_dir) as partial:
        partial.mkdir()
        return chosen.write(source, partial)
