"""Break runs of a small project in every way we can think of; afterwards all tables must be the same.

    python -m tests.end_to_end.faults --count 100 --out docs/measurements/faults.md

Each fault hits a copy of a finished project from which the outputs of one stage, and so all that
follow from them, were taken away. The workflow is started, the fault is injected, the workflow is
started again. A fault must prove that it hit: a kill that came after its process had ended is drawn
again, and one that never hits counts as broken. Counted are faults after which the second run ended
well and every table of errors and results was, byte for byte, that of the undisturbed run. A damaged
shard must be named and removed by `raymark check --delete`.
"""

import argparse
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.measurement import report
from raymark.core.threads import in_order
from raymark.datasets.shards import Shards
from raymark.workflow.run_log import Job, newest_log, read_run
from tests.workflow.conftest import CONFIG, Project, make_project

TARGET = "results/tables/methods.csv"
STAGES = {  # what is taken away, from one stage on, so that its step runs again
    "ingest": "results/volumes/balls/ball_patient/ct.nii.gz",
    "virtual-patient": "results/volumes/balls/ball_patient-v001/ct.nii.gz",
    "views": "results/views/balls.parquet",
    "render": "results/shards/balls/train/ball_patient/00000.zarr.zip",
    "train": "results/models/balls/narrow/0/model.safetensors",
    "predict-views": "results/predictions/balls/narrow/0/novel.parquet",
    "evaluate": "results/errors/balls/narrow/0/novel.parquet",
    "table": TARGET,
}
SHARD = STAGES["render"]
LOGS = ".snakemake/log"
LONGEST_S = 1.5  # after the start of a step; the shortest take about 0.7 s
DRAWS = 12
MIB = 2**20


class Failed(Exception):
    """A promise was broken; the message says which."""


class Missed(Exception):
    """The fault came too late to hit anything."""


def command(project: Project, *arguments: str) -> list[str]:
    return project.command("--cores", "2", *arguments, TARGET)


def start(project: Project, **options) -> subprocess.Popen:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(
        command(project), cwd=project.folder, start_new_session=True, **quiet, **options
    )


def run(project: Project, check: bool = True, **options) -> subprocess.CompletedProcess:
    done = subprocess.run(
        command(project), cwd=project.folder, capture_output=True, text=True, check=False, **options
    )
    if check and done.returncode:
        raise Failed(f"the second run failed: {(done.stdout + done.stderr)[-800:]}")
    return done


def unlock(project: Project) -> None:
    subprocess.run(
        command(project, "--unlock"), cwd=project.folder, capture_output=True, check=True
    )


def results(project: Project) -> dict[str, bytes]:
    return project.read("results/tables/*") | project.read("results/errors/**/*.parquet")


def processes(project: Project, step: str) -> list[int]:
    """Return the processes that run `raymark <step>` in a project."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            here = os.readlink(entry / "cwd") == str(project.folder)
        except (OSError, ValueError):
            continue
        if here and b"raymark" in words and words[words.index(b"raymark") + 1] == step.encode():
            found.append(int(entry.name))
    return found


def wait_for(project: Project, step: str, running: subprocess.Popen) -> list[int]:
    while running.poll() is None:
        if found := processes(project, step):
            return found
        time.sleep(0.02)
    raise Failed(f"{step} did not run")


def failed_jobs(project: Project) -> list[Job]:
    return read_run(newest_log(project.folder / LOGS)).in_state("failed")


def strike(step: str, blow: Callable[[int], None]) -> Callable:
    """Return a fault that does something to the processes of a step which makes its job fail."""

    def inject(project: Project, chance: random.Random) -> None:
        running = start(project)
        wait_for(project, step, running)
        time.sleep(chance.uniform(0, LONGEST_S))
        for victim in processes(project, step):
            with suppress(ProcessLookupError):
                blow(victim)
        running.wait()
        rule = step.removesuffix("-views").replace("-", "_")
        if rule not in [job.rule for job in failed_jobs(project)]:
            raise Missed

    return inject


def kill(step: str, signal_number: int) -> Callable:
    return strike(step, lambda process: os.kill(process, signal_number))


def limit(step: str, what: int, most: int) -> Callable:
    """Limit a step alone: Snakemake itself would need more."""
    return strike(step, lambda process: resource.prlimit(process, what, (most, most)))


def kill_workflow(jobs_too: bool) -> Callable:
    def inject(project: Project, chance: random.Random) -> None:
        step = chance.choice(["render", "train", "evaluate"])
        running = start(project)
        wait_for(project, step, running)
        time.sleep(chance.uniform(0, LONGEST_S))
        jobs = processes(project, step)
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL) if jobs_too else running.kill()
        if running.wait() != -signal.SIGKILL or not jobs:
            raise Missed
        while any(processes(project, step) for step in STAGES):
            time.sleep(0.1)  # orphaned jobs write their files
        unlock(project)

    return inject


def must_fail(project: Project, reason: str) -> None:
    """Run a project; raise Failed unless that fails and a log tells the reason."""
    done = run(project, check=False)
    logs = [job.log.read_text() for job in failed_jobs(project) if job.log]
    told = "".join([done.stdout, done.stderr, *logs])
    if not done.returncode or reason not in told:
        raise Failed(f"the fault did not hit, or was not named: {told[-800:]}")


@contextmanager
def mounted(folder: Path, *options: str):
    subprocess.run(["mount", *options, str(folder)], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def full_disk(project: Project, chance: random.Random) -> None:
    """Give the shards a file system of their own with no room left for one more."""
    folder = project.folder / "results/shards/balls/train/ball_patient"
    with mounted(folder, "-t", "tmpfs", "-o", "size=8k", "tmpfs"):
        must_fail(project, "No space left on device")


def read_only(project: Project, chance: random.Random) -> None:
    results_folder = str(project.folder / "results")
    with mounted(project.folder / "results", "--bind", results_folder):
        remount = ["mount", "-o", "remount,ro,bind", results_folder]
        subprocess.run(remount, check=True, capture_output=True)
        must_fail(project, "Write-protected output files")


def damaged(spoil: Callable[[bytearray, random.Random], bytes]) -> Callable:
    def inject(project: Project, chance: random.Random) -> None:
        path = project.folder / SHARD
        before = path.stat()
        truth = arrays(path)
        path.write_bytes(spoil(bytearray(path.read_bytes()), chance))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        check = [sys.executable, "-m", "raymark", "check", "--delete", "results/shards"]
        told = subprocess.run(
            check, cwd=project.folder, capture_output=True, text=True, check=False
        )
        named = SHARD in told.stdout + told.stderr
        if named == path.exists():
            raise Failed(f"the damage was named or removed, not both: {told.stdout}{told.stderr}")
        # A bit may lie where no reader looks, such as a time stamp of the zip; it changes nothing.
        if not named and not same(truth, arrays(path)):
            raise Failed(f"the damage was not found: {told.stdout}{told.stderr}")

    return inject


def arrays(path: Path) -> dict[str, np.ndarray]:
    shards = Shards([path])
    return shards.read(np.arange(len(shards)))


def same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(first[name], second[name], equal_nan=True) for name in first)


def truncated(content: bytearray, chance: random.Random) -> bytes:
    return bytes(content[: chance.randrange(len(content))])


def bit_flipped(content: bytearray, chance: random.Random) -> bytes:
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return bytes(content)


def two_at_once(project: Project, chance: random.Random) -> None:
    first = start(project)
    time.sleep(chance.uniform(0, 4))
    second = start(project)
    refused = [first.wait() != 0, second.wait() != 0]
    if all(refused):
        raise Failed("both workflows gave up")
    if not any(refused):  # one began when the other had ended
        raise Missed


FAULTS = {  # name: (stage taken away, fault)
    **{f"kill -9 of {step}": (step, kill(step, signal.SIGKILL)) for step in STAGES},
    "job out of time (SIGTERM) in train": ("train", kill("train", signal.SIGTERM)),
    "kill -9 of Snakemake and its jobs": ("render", kill_workflow(jobs_too=True)),
    "kill -9 of Snakemake alone": ("render", kill_workflow(jobs_too=False)),
    "out of memory": ("render", limit("render", resource.RLIMIT_AS, MIB)),
    "largest file reached": ("render", limit("render", resource.RLIMIT_FSIZE, 4096)),
    "disk full": ("render", full_disk),
    "results folder read-only": ("train", read_only),
    "shard truncated": ("train", damaged(truncated)),
    "a bit flipped in a shard": ("train", damaged(bit_flipped)),
    "two workflows at once": ("render", two_at_once),
}


def undisturbed(folder: Path) -> Project:
    """Make a project with one experiment and run all of it, here."""
    project = make_project(folder)
    project.write("config.yaml", CONFIG | {"experiments": CONFIG["experiments"][:1]})
    run(project)
    return project


def lacking(finished: Project, stage: str, name: str) -> Project:
    """Copy a finished project without the outputs from one stage on."""
    project = Project(finished.folder.with_name(name))
    shutil.copytree(finished.folder, project.folder, symlinks=True)
    for later in list(STAGES)[list(STAGES).index(stage) :]:
        (project.folder / STAGES[later]).unlink()
    return project


def hit(finished: Project, stage: str, inject: Callable, number: int) -> Project:
    """Return a copy of a finished project that a fault has hit, drawn again where it missed."""
    for draw in range(DRAWS):
        project = lacking(finished, stage, f"fault-{number}")
        try:
            inject(project, random.Random(f"{number} {draw}"))
            return project
        except Missed:
            shutil.rmtree(project.folder)
    raise Failed(f"the fault did not hit in {DRAWS} draws")


def disturbed(finished: Project, names: list[str], number: int) -> dict:
    """Inject fault `number`, of the names in turn; return its row."""
    name = names[number % len(names)]
    row = {"fault": name, "identical": False, "problem": ""}
    try:
        project = hit(finished, *FAULTS[name], number)
        run(project)
        row["identical"] = results(project) == results(finished)
    except Failed as error:
        row["problem"] = str(error)
    except subprocess.CalledProcessError as error:
        row["problem"] = f"could not be injected here: {error.cmd[0]}"
    shutil.rmtree(finished.folder.with_name(f"fault-{number}"), ignore_errors=True)
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100, help="faults to inject")
    parser.add_argument("--jobs", type=int, default=1, help="faulty runs at a time")
    parser.add_argument("--only", help="faults whose name contains this")
    parser.add_argument("--out", type=Path, help="Markdown file for the table")
    options = parser.parse_args()
    names = [name for name in FAULTS if (options.only or "") in name]
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        finished = undisturbed(Path(scratch) / "finished")
        try:
            work = partial(disturbed, finished, names)
            for row in in_order(work, range(options.count), options.jobs):
                rows.append(row)
                outcome = "identical" if row["identical"] else f"BROKEN {row['problem']}"
                print(f"{len(rows)}/{options.count} {row['fault']}: {outcome}", flush=True)
        except KeyboardInterrupt:
            print("stopped early; the table tells what was done", file=sys.stderr)
    table = pd.DataFrame(rows)
    grouped = table.groupby("fault", sort=False)["identical"].agg(["size", "sum"])
    shown = [
        {"fault": name, "injected": int(row["size"]), "same tables afterwards": int(row["sum"])}
        for name, row in grouped.iterrows()
    ]
    total = {"fault": "all", "injected": len(table)}
    shown.append(total | {"same tables afterwards": int(table["identical"].sum())})
    about = "\n".join(__doc__.splitlines()[4:]).strip()
    report("Injected faults", about, shown, ["snakemake", "numpy"], options.out)
    return 0 if table["identical"].all() else 1


if __name__ == "__main__":
    sys.exit(main())
