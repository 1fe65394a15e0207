"""Give raymark every foreign file that these modules describe, and table what comes out.

    python -m tests.foreign.proof --out docs/measurements/foreign_files.md

Each case makes a small file as other tools or users make them, gives it to the reader or command that a
user would give it to, and compares what comes out with what is right. Anything else, a stack trace above
all, is a finding: the script then ends with status 1.
"""

import contextlib
import io
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import tests.foreign
from tests.foreign.case import Case


def cases() -> Iterator[Case]:
    """Yield the cases of every module of this package that has some."""
    for module in sorted(m.name for m in iter_modules(tests.foreign.__path__)):
        if module not in ("proof", "test_cases"):
            yield from getattr(import_module(f"tests.foreign.{module}"), "CASES", ())


def came_out(case: Case) -> tuple[str, bool]:
    """Run a case in a folder of its own; return what came out and whether that is right."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        try:
            out = case.run(Path(folder))
        except Exception as error:  # whatever a reader lets through is a finding, not our end
            return f"{type(error).__name__}: {error}", False
        return out.replace(f"{folder}/", ""), case.right(out)


def row(case: Case) -> dict[str, str]:
    out, right = came_out(case)
    cells = {
        "kind": case.kind,
        "given": case.given,
        "expected": case.expected,
        "came out": out if right else f"**finding**: {out}",
    }
    return {name: " ".join(text.split()).replace("|", "\\|") for name, text in cells.items()}


def main() -> int:
    from benchmarks.measurement import output_argument, report

    out = output_argument(__doc__.splitlines()[0])
    rows = [row(case) for case in cases()]
    findings = [r for r in rows if r["came out"].startswith("**finding**")]
    about = "\n".join(__doc__.splitlines()[4:]).strip()
    summary = f"{len(rows)} inputs, {len(findings)} findings."
    report("Files of other tools", f"{about}\n\n{summary}", rows, ["numpy", "pydicom"], out)
    print(summary, *findings, sep="\n", file=sys.stderr)
    return int(bool(findings))


if __name__ == "__main__":
    sys.exit(main())
