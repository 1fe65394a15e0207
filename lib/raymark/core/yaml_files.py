"""YAML files as they come from anywhere: a small mapping of keys, or an InputError.

YAML can ask for far more than it is long: nested collections overflow the parser's stack, and aliases
of aliases multiply. The events of the file, which cost little, are looked through before it is built.
"""

from pathlib import Path

import yaml

from raymark.core.errors import InputError

# The parser in C, where PyYAML has it: every step reads some thirty files.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
LARGEST_BYTES = 10**6
DEEPEST = 50
MOST_VALUES = 100_000  # aliases count as all that they repeat
LONGEST_TEXT = 3000  # a number with more digits could not be printed


def read_yaml(path: str | Path) -> dict:
    """Read a YAML mapping; an InputError tells what is wrong with the file."""
    try:
        if Path(path).stat().st_size > LARGEST_BYTES:
            raise InputError(path, "has more than 1 MB", "Start from a file in config/")
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # a path with a zero byte is a ValueError
        raise InputError(path, f"cannot be read ({error})", "Check the path and the file") from None
    try:
        if excess := _excess(text):
            raise InputError(path, excess, "Start from a file in config/")
        values = yaml.load(text, LOADER)
    except yaml.YAMLError as error:
        raise InputError(path, f"is not YAML ({error})", "Mend the line it names") from None
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        # What the library lets through of a tag that its value does not fit, or of no such day.
        problem = f"holds a value that is not what it looks like ({error})"
        raise InputError(
            path, problem, "Put texts that look like numbers or dates in quotes"
        ) from None
    if not isinstance(values, dict):
        raise InputError(path, "is not a mapping of keys", "Start from a file in config/") from None
    return values


def _excess(text: str) -> str | None:
    """Return what of a YAML text is more than any configuration needs, or None."""
    values = 0
    sizes: dict[str | None, int] = {}  # by anchor, of the nodes that have ended; None: not repeated
    nodes: list[tuple[str | None, int]] = []  # those that have not: anchor, values before them
    for event in yaml.parse(text, LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            nodes.append((event.anchor, values))
            values += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = nodes.pop()
            sizes[anchor] = values - before
        elif isinstance(event, yaml.ScalarEvent):
            values += 1
            sizes[event.anchor] = 1
            if "\0" in event.value or len(event.value) > LONGEST_TEXT:
                return f"holds a text of more than {LONGEST_TEXT} characters, or a zero byte"
        elif isinstance(event, yaml.AliasEvent):
            if any(event.anchor == anchor for anchor, _ in nodes):
                return f"repeats {event.anchor!r} inside itself"
            values += sizes.get(event.anchor, 0)  # the parser tells which anchor is unknown
        if len(nodes) > DEEPEST:
            return f"nests its values more than {DEEPEST} deep"
        if values > MOST_VALUES:
            return f"has more than {MOST_VALUES} values, those that aliases repeat included"
    return None
