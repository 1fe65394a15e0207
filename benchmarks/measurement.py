"""What all benchmarks share: where they ran, and a Markdown table that says so."""

import argparse
import os
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path


def output_argument(description: str) -> Path | None:
    """Parse the one option of a benchmark, the Markdown file to write."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, help="write the table here too")
    return parser.parse_args().out


def report(title: str, text: str, rows: list[dict], packages: list[str], out: Path | None) -> None:
    """Print text and table with machine, versions, commit and command; write it to `out` if given."""
    table = [markdown_table(rows)] if rows else []
    parts = [f"# {title}", text, *table, _circumstances(packages)]
    content = "\n\n".join(parts) + "\n"
    print(content)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(content, encoding="utf-8")


def markdown_table(rows: list[dict]) -> str:
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns), *(list(row.values()) for row in rows)]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def rendered_per_core_s() -> float:
    """Return views/s of one core by the table in docs/measurements/shard_rule.md."""
    text = (Path(__file__).parents[1] / "docs/measurements/shard_rule.md").read_text()
    rate = float(re.search(r"\| whole rule \| ([\d.]+) \|", text)[1])
    return rate / int(re.search(r", (\d+) cores;", text)[1])


def _circumstances(packages: list[str]) -> str:
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    module = sys.modules["__main__"].__spec__  # None unless run with -m
    script = f"-m {module.name}" if module else sys.argv[0]
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    return (
        f"{_processor()}, {len(os.sched_getaffinity(0))} cores; Python {platform.python_version()}, "
        f"{versions}; commit {commit}; `python {' '.join([script, *sys.argv[1:]])}`"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()
