"""Give every reader thousands of broken files, and see that none ends in anything but a clear error.

    python -m tests.end_to_end.fuzz --runs 2000 --out docs/measurements/fuzzing.md

Each reader starts from files that it accepts; libFuzzer (through atheris) mutates them and keeps those that
reach new code of ours. An input may be accepted or refused with one `InputError` that names the file
or field; any other exception, a message of several lines and any file left beside the input are
findings: the script ends with status 1 and keeps the input below `fuzz-findings/`.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from tests.end_to_end.fuzz_foreign import FOREIGN
from tests.end_to_end.fuzz_readers import INPUTS, ROOT
from tests.end_to_end.fuzz_tables import TABLES

KEPT = Path("fuzz-findings")
MODULES = ["config.project", "config.sources", "config.subjects", "landmarks.table", "landmarks.slicer", "landmarks.recipes", "ct.dicom", "ct.read",
           "ct.detached", "imports.xray_file", "datasets.shards", "training.model_files", "config.papers"]  # fmt: skip
READERS = INPUTS | TABLES | FOREIGN


def fuzz(name: str, runs: int, folder: Path) -> None:
    """Fuzz one reader in this process, which libFuzzer ends; the counts lie in `counts.json`."""
    import atheris

    with atheris.instrument_imports(include=["raymark"], enable_loader_override=False):
        for module in (*MODULES, *READERS[name].modules):
            import_module(f"raymark.{module}")
    from raymark.core.errors import InputError

    reader = READERS[name]
    made, corpus, place = folder / "made", folder / "corpus", folder / "place"
    for needed in (made, corpus, place):
        needed.mkdir(parents=True)
    for number, seed in enumerate(reader.seeds(made)):
        (corpus / f"seed-{number}").write_bytes(seed.read_bytes())
        for beside in seed.parent.iterdir():  # the other slices of a series
            if beside.is_file():
                shutil.copy(beside, place / beside.name)
    path = place / reader.file_name
    expected = {p.name for p in place.iterdir()} | {path.name}
    counts = {"inputs": 0, "accepted": 0, "refused": 0}
    for seed in corpus.iterdir():
        shutil.copy(seed, path)
        reader.read(path)  # what is refused before it is broken would show nothing

    def one(content: bytes) -> None:
        path.write_bytes(content)
        counts["inputs"] += 1
        try:
            reader.read(path)
            counts["accepted"] += 1
        except InputError as error:
            counts["refused"] += 1
            if not error.source or len(str(error).splitlines()) != 1:
                raise AssertionError(f"not one line that names the file: {error}") from error
        if {p.name for p in place.iterdir()} - expected:
            raise AssertionError("files were left behind")
        if counts["inputs"] % 50 == 0 or counts["inputs"] >= runs:
            (folder / "counts.json").write_text(json.dumps(counts))

    options = [f"-runs={runs}", "-seed=1", "-max_len=200000", "-rss_limit_mb=4000", "-timeout=60"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={folder}/finding-", str(corpus)], one)
    atheris.Fuzz()


def fuzzed(name: str, runs: int) -> dict:
    """Fuzz one reader in a process of its own and return its row of the table."""
    folder = Path(tempfile.mkdtemp())
    command = [sys.executable, "-m", "tests.end_to_end.fuzz", "--reader", name]
    command += ["--runs", str(runs), "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    covered = [
        line.split("cov: ")[1].split()[0] for line in done.stderr.splitlines() if "cov: " in line
    ]
    counts = (
        json.loads((folder / "counts.json").read_text())
        if (folder / "counts.json").exists()
        else {}
    )
    findings = sorted(folder.glob("finding-*"))
    if findings or done.returncode:
        KEPT.mkdir(exist_ok=True)
        for finding in findings:
            shutil.copy(finding, KEPT / f"{READERS[name].file_name}-{finding.name}")
        print(done.stdout[-1500:] + done.stderr[-1500:], file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    return {
        "reader": name,
        "inputs": counts.get("inputs", 0),
        "accepted": counts.get("accepted", 0),
        "refused": counts.get("refused", 0),
        "branches reached": covered[-1] if covered else "–",
        "findings": max(len(findings), int(done.returncode != 0)),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000, help="inputs per reader")
    parser.add_argument("--reader", help="only this one; with --folder: in this process")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="Markdown file for the table")
    options = parser.parse_args()
    if options.folder:
        fuzz(options.reader, options.runs, options.folder)
    from benchmarks.measurement import report

    rows = []
    for name in [options.reader] if options.reader else READERS:
        rows.append(fuzzed(name, options.runs))
        print(rows[-1], file=sys.stderr, flush=True)
    total = {k: sum(row[k] for row in rows) for k in ("inputs", "accepted", "refused", "findings")}
    rows.append({**rows[-1], "reader": "all", **total, "branches reached": ""})
    about = "\n".join(__doc__.splitlines()[4:]).strip()
    report("Broken input", about, rows, ["atheris", "numpy"], options.out)
    return 1 if total["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())
