"""Presets: named values (`demo`, `paper`) that a file lays over its own."""

from pathlib import Path
from typing import Literal, get_args

from raymark.core.errors import InputError
from raymark.core.yaml_files import read_yaml

Preset = Literal["demo", "reduced", "paper"]


def merged(base: dict, override: dict) -> dict:
    """Return `base` with `override` laid over it; mappings merge, everything else is replaced."""
    result = dict(base)
    for key, value in override.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            value = merged(old, value)
        result[key] = value
    return result


def read_preset(path: str | Path, preset: str) -> dict:
    """Read a YAML file with the values of `preset`, where it has them, laid over its own.

    InputError where its `presets` are not some of those there are, each a mapping or empty.
    """
    values = read_yaml(path)
    presets = values.pop("presets", None) or {}
    known = get_args(Preset)
    wrong = not isinstance(presets, dict) or [name for name in presets if name not in known]
    if wrong or not all(isinstance(own, dict | None) for own in presets.values()):
        problem = "holds something else than a mapping of keys for each preset"
        remedy = f"The presets are {', '.join(known)}"
        raise InputError(f"{path}, presets", problem, remedy)
    return merged(values, presets.get(preset) or {})
