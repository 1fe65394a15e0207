"""What differs between two folders of results, file by file, and in what.

    python -m tests.end_to_end.compare BEFORE AFTER

For a change that is to leave results alone, or some of them: run the demo before and after it. The
times of a training's losses are not compared, nor what says how long a job took, where the run's
configuration was copied, or what was downloaded. Exit status 1 where anything differs.
"""

import argparse
import io
import json
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from safetensors import safe_open

NOT_COMPARED = {"benchmarks", "config", "sources"}
TIMES = ["seconds", "waiting_share"]  # of an epoch


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path, help="a folder of results")
    parser.add_argument("after", type=Path, help="another one")
    options = parser.parse_args()
    before, after = files_in(options.before), files_in(options.after)
    alike = 0
    for name in sorted(before | after):
        told = difference(before.get(name), after.get(name))
        alike += not told
        if told:
            print(f"{name}: {told}")
    print(f"{len(before | after)} files, {alike} the same, {len(before | after) - alike} differ")
    return 0 if alike == len(before | after) else 1


def files_in(folder: Path) -> dict[str, Path]:
    """Return every result below a folder, by its path there."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.*")}
    return {
        name: path
        for name, path in found.items()
        if path.is_file() and "/" in name and name.split("/")[0] not in NOT_COMPARED
    }


def difference(before: Path | None, after: Path | None) -> str:
    """Say in what two files differ; empty where they do not."""
    if before is None or after is None:
        return "only after" if before is None else "only before"
    if before.read_bytes() == after.read_bytes():
        return ""
    kind = next((end for end in DIFFERENCES if before.name.endswith(end)), "")
    told = "; ".join(DIFFERENCES[kind](before, after))
    return told or ("" if before.name == "losses.csv" else "other bytes, the same content")


def of_tables(before: Path, after: Path) -> Iterator[str]:
    first, second = (
        pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
        for path in (before, after)
    )
    if before.name == "losses.csv":
        first, second = (table.drop(columns=TIMES, errors="ignore") for table in (first, second))
    gone, new = (
        [column for column in one if column not in other]
        for one, other in ((first, second), (second, first))
    )
    renamed: dict[str, str] = {}
    for old in gone if len(first) == len(second) else []:
        alike = [n for n in new if n not in renamed.values() and _same(first[old], second[n])]
        if alike:
            renamed[old] = alike[0]
    if renamed:
        yield "renamed " + ", ".join(f"{old} to {name}" for old, name in renamed.items())
    for what, columns in (
        ("without", set(gone) - renamed.keys()),
        ("with", set(new) - {*renamed.values()}),
    ):
        if columns:
            yield f"{what} {', '.join(sorted(columns))}"
    if len(first) != len(second):
        yield f"{len(first)} rows, then {len(second)}"
        return
    other = [c for c in first if c in second and not _same(first[c], second[c])]
    if other:
        yield f"other values in {', '.join(other)}"


def _same(first: pd.Series, second: pd.Series) -> bool:
    return (
        first.reset_index(drop=True).astype(str).equals(second.reset_index(drop=True).astype(str))
    )


def of_shards(before: Path, after: Path) -> Iterator[str]:
    first, second = zipfile.ZipFile(before), zipfile.ZipFile(after)
    names = dict.fromkeys([*first.namelist(), *second.namelist()])
    for name in names:
        contents = [z.read(name) if name in z.namelist() else b"{}" for z in (first, second)]
        if contents[0] != contents[1]:
            keys = (
                _other_keys(*(json.loads(c).get("attributes", {}) for c in contents))
                if (name == "zarr.json")
                else ""
            )
            yield f"{name} {keys}".strip()


def of_models(before: Path, after: Path) -> Iterator[str]:
    first, second = (safe_open(path, "numpy") for path in (before, after))
    here, there = set(first.keys()), set(second.keys())
    for name in sorted(here | there):
        if name not in here & there or not np.array_equal(
            first.get_tensor(name), second.get_tensor(name)
        ):
            yield f"tensor {name}"
    told = [json.loads(model.metadata()["raymark"]) for model in (first, second)]
    if told[0] != told[1]:
        yield f"metadata {_other_keys(*told)}"


def _other_keys(first: dict, second: dict) -> str:
    return ", ".join(k for k in sorted({*first, *second}) if first.get(k) != second.get(k))


def of_pictures(before: Path, after: Path) -> Iterator[str]:
    first, second = (
        np.asarray(Image.open(io.BytesIO(p.read_bytes())).convert("RGB")) for p in (before, after)
    )
    if first.shape != second.shape:
        yield f"{first.shape[1]} × {first.shape[0]} px, then {second.shape[1]} × {second.shape[0]}"
    elif share := (first != second).any(axis=-1).mean():
        yield f"{share:.2%} of its px"


def of_drawings(before: Path, after: Path) -> Iterator[str]:
    """Say which words a drawing lost and gained; Matplotlib writes them as comments."""
    first, second = (re.findall(r"<!-- (.*?) -->", p.read_text()) for p in (before, after))
    gone, new = (sorted(set(a) - set(b)) for a, b in ((first, second), (second, first)))
    if gone or new:
        yield f"says {', '.join(new) or 'less'} in place of {', '.join(gone) or 'nothing'}"
    else:
        yield "the same words, otherwise drawn"


def of_texts(before: Path, after: Path) -> Iterator[str]:
    first, second = (path.read_text(errors="replace").splitlines() for path in (before, after))
    lines = [n for n, (a, b) in enumerate(zip(first, second, strict=False), 1) if a != b]
    where = lines[0] if lines else min(len(first), len(second)) + 1
    told = [text[where - 1].strip()[:90] if where <= len(text) else "" for text in (first, second)]
    yield f"{len(lines) + abs(len(first) - len(second))} lines, first {where}: {told[0]!r}, then {told[1]!r}"


DIFFERENCES = {
    ".csv": of_tables,
    ".parquet": of_tables,
    ".zarr.zip": of_shards,
    ".safetensors": of_models,
    ".png": of_pictures,
    ".svg": of_drawings,
    "": of_texts,
}

if __name__ == "__main__":
    sys.exit(main())
