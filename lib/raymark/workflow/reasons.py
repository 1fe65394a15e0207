"""Why a result is out of date: Snakemake's reasons, followed back to what changed."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from raymark.core.errors import InputError
from raymark.core.sections import flattened

FIELD = re.compile(r" +(output|reason): (.+)")
BY_ANOTHER = re.compile(r"Input files updated by another job: ([^;]+)")
PARAMETERS = re.compile(r"Params have changed .*? before: (.*) now: (.*?) ?$")
EXCEPTION = re.compile(r"^\w+(Exception|Error)\b.*", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"'[0-9a-f]{16}'")
SAID = {
    "Updated input files": "changed: {}",
    "Missing output files": "is not there",
    "Incomplete output files": "was not finished",
    "Set of input files has changed since last execution": "is made from other files than before",
    "Code has changed since last execution": "is made by another command",
}


def why(result: str, options: Sequence[str] = ()) -> str:
    """Say in a line why Snakemake, with these options, would make a result again; or that it would not.

    Raises InputError where it would not plan at all.
    """
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--nolock", "--cores", "1"]
    done = subprocess.run([*command, *options, "--", result], capture_output=True, text=True)
    if done.returncode:
        # Its own exceptions stand with the plan; a configuration's error is the last thing on the other stream.
        theirs = EXCEPTION.search(done.stdout)
        complaint = " ".join(theirs[0].split()) if theirs else done.stderr.strip().splitlines()[-1]
        problem = f"snakemake does not plan it ({complaint[:300]})"
        raise InputError(result, problem, "Name a file of the workflow, in the project's folder")
    return told(result, planned(done.stdout + done.stderr))


def planned(plan: str) -> dict[str, str]:
    """Return Snakemake's reason of each file that its dry run would make, from what that prints."""
    reasons: dict[str, str] = {}
    outputs: list[str] = []
    for line in plan.splitlines():
        if match := FIELD.fullmatch(line):
            if match[1] == "output":
                outputs = match[2].split(", ")
            else:
                reasons |= dict.fromkeys(outputs, match[2].strip())
    return reasons


def told(result: str, reasons: dict[str, str]) -> str:
    """Follow a result's reason to where it comes from, and say it in a line."""
    if result not in reasons:
        return f"{result} is up to date"
    way = [result]
    while (match := BY_ANOTHER.search(reasons[way[-1]])) and (
        made := [file for file in match[1].split(", ") if file in reasons and file not in way]
    ):
        way.append(min(made))  # Snakemake names them in any order
    cause = _said(reasons[way[-1]])
    if len(way) == 1:
        return f"{result} is out of date: it {cause}"
    return f"{result} is out of date: {way[-1]}, from which it is made, {cause}"


def _said(reason: str) -> str:
    if match := PARAMETERS.search(reason):
        return _changed(match[1], match[2])
    for text, said in SAID.items():
        if text in reason:
            files = reason.split(f"{text}: ")[-1].split(";")[0]
            return said.format(files)
    return f"has the reason: {reason}"


def _changed(before: str, now: str) -> str:
    """Name the settings that differ between parameters before and now, as Snakemake prints them."""
    first, second = dict(_values(before)), dict(_values(now))
    keys = [key for key in first | second if first.get(key) != second.get(key)]
    if keys:
        shown = ", ".join(f"{k} was {first.get(k)} and is {second.get(k)}" for k in keys)
        return f"depends on settings that changed: {shown}"
    if CODE.fullmatch(before) and CODE.fullmatch(now):
        return "is made by code that changed"
    return f"depends on what was {before[:100]} and is {now[:100]}"


def _values(printed: str) -> Iterator[tuple[str, Any]]:
    """Yield dotted keys and values of the JSON objects among printed parameters."""
    for text in re.findall(r"'(\{.*?\})'(?:,|$)", printed):
        try:
            yield from flattened(json.loads(text))
        except ValueError:
            continue
