"""Break jobs and nodes of a real Slurm; afterwards all tables must be the same.

    python -m tests.cluster.faults --out docs/measurements/cluster_faults.md

Each fault hits a copy of a finished project that lacks the outputs of one stage and of all that follow.
On two virtual nodes of its own, profiles/slurm makes that stage's output while the fault is injected.
Retries are the profile's; where the run ended badly or was killed, the same command is given again (a
rerun). What follows is then made here, and every table of errors and results has to be, byte for byte,
that of the undisturbed run on one machine. How Slurm saw it are the states that its own record gives
the stage's jobs, in order. Steps are short: to outlive its time, one is halted (SIGSTOP).
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.measurement import report
from tests.cluster.slurm import Slurm, alone, scratch
from tests.end_to_end import faults as local
from tests.end_to_end.faults import SHARD, STAGES, Failed
from tests.workflow.conftest import Project

RULES = {"predict-views": "predict"}  # where they are not called like the step
RERUNS = 3
WORDS = ("fault", "stage", "seen by Slurm as")
PATIENCE_S = 180


@dataclass(frozen=True)
class Case:
    """A project on Slurm that lacks one stage's output."""

    slurm: Slurm
    project: Project
    stage: str

    def start(self, *arguments: str) -> subprocess.Popen:
        command = self.slurm.command(self.project, *arguments, "--", STAGES[self.stage])
        quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, cwd=self.project.folder, **quiet)

    def steps(self, running: subprocess.Popen) -> list[int]:
        """Wait until the stage's step runs on a node; return its processes."""
        return local.wait_for(self.project, self.stage, running)

    def queued(self, states: str = "all") -> list[str]:
        """Return the project's jobs that Slurm has in some states."""
        told = tell("squeue", "--noheader", "--states", states, "--format", "%i %Z")
        lines = (line.split(" ", 1) for line in told.splitlines())
        return [job for job, folder in lines if folder == str(self.project.folder)]

    def states(self) -> list[str]:
        return [job["JobState"] for job in self.slurm.ended_jobs(self.project)]


def tell(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def until(what: str, true: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > end:
            raise Failed(f"not within {PATIENCE_S} s: {what}")
        time.sleep(1)


def environment(process: int) -> dict[str, str]:
    try:
        words = Path(f"/proc/{process}/environ").read_bytes().decode().split("\0")
    except OSError:  # it has ended, or is the kernel's
        return {}
    return dict(word.split("=", 1) for word in words if "=" in word)


def ended_well(running: subprocess.Popen) -> bool:
    running.communicate()
    return running.returncode == 0


# Faults. Each starts the run, does harm, and returns whether that run ended well.


def kill_step(case: Case) -> bool:
    running = case.start()
    for process in case.steps(running):
        os.kill(process, signal.SIGKILL)
    return ended_well(running)


def cancel(case: Case) -> bool:
    running = case.start()
    job = environment(case.steps(running)[0])["SLURM_JOB_ID"]
    tell("scancel", job)
    return ended_well(running)


def too_little_memory(case: Case) -> bool:
    rule = RULES.get(case.stage, case.stage)
    return ended_well(case.start("--set-resources", f"{rule}:mem_mb=60*50**(attempt-1)"))


def too_little_time(case: Case) -> bool:
    """Halt the step, so that its job outlives its one minute."""
    rule = RULES.get(case.stage, case.stage)
    running = case.start("--set-resources", f"{rule}:runtime=attempt**4")
    for process in case.steps(running):
        os.kill(process, signal.SIGSTOP)
    return ended_well(running)


def kill_snakemake(case: Case) -> bool:
    """Its jobs are cancelled by the command that docs/cluster.md gives."""
    running = case.start()
    case.steps(running)
    running.kill()
    for job in case.queued("pending,running"):
        tell("scancel", job)
    until("its jobs have ended", lambda: not case.queued("pending,running,completing"))
    local.unlock(case.project)
    return False


def kill_snakemake_alone(case: Case) -> bool:
    """The rerun starts beside the jobs of the killed run."""
    running = case.start()
    case.steps(running)
    running.kill()
    local.unlock(case.project)
    return False


def kill_snakemake_queued(case: Case) -> bool:
    """The job of the killed run and that of the rerun wait side by side and start together."""
    tell("scontrol", "update", "nodename=n1,n2", "state=drain", "reason=test")
    running = case.start()
    until("a job waits", lambda: case.queued("pending"))
    running.kill()
    local.unlock(case.project)
    again = case.start()
    until("two jobs wait", lambda: len(case.queued("pending")) == 2)
    tell("scontrol", "update", "nodename=n1,n2", "state=resume")
    if not ended_well(again):
        raise Failed("the rerun failed")
    return True


def truncate(case: Case) -> bool:
    """A shard that the stage reads loses its end; the run names it, `raymark check` removes it."""
    shard = SHARD if case.stage == "train" else SHARD.replace("train", "novel", 1)
    path = case.project.folder / shard
    before = path.stat()
    os.truncate(path, before.st_size // 2)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    running = case.start("--retries", "0")
    told = running.communicate()[0]
    if running.returncode == 0 or shard not in told[told.rindex("of the jobs failed") :]:
        raise Failed(f"the last lines do not name {shard}: {told[-2000:]}")
    check = [sys.executable, "-m", "raymark", "check", "--delete", "results/shards"]
    subprocess.run(check, cwd=case.project.folder, capture_output=True, check=False)
    if path.exists():
        raise Failed("raymark check did not remove it")
    return False


def lose_node(case: Case) -> bool:
    """kill -9 of all that runs on the node; it is back when the run has ended."""
    running = case.start()
    kill_node(case, case.steps(running)[0])
    well = ended_well(running)
    case.slurm.start()
    return well


def reboot_node(case: Case) -> bool:
    """kill -9 of all that runs on the node; it is back at once and knows nothing of its job."""
    running = case.start()
    kill_node(case, case.steps(running)[0])
    case.slurm.start()
    return ended_well(running)


def kill_node(case: Case, step: int) -> None:
    node = environment(step)["SLURMD_NODENAME"]
    daemon = case.slurm.daemons()[f"slurmd-{node}"]
    os.kill(daemon, signal.SIGKILL)
    here = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()]
    jobs = [p for p in here if environment(p).get("SLURMD_NODENAME") == node]
    watchers = {parent(p) for p in jobs}
    for process in [p for p in watchers if name(p).startswith("slurmstepd")] + jobs:
        if Path(f"/proc/{process}").exists():
            os.kill(process, signal.SIGKILL)


def parent(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


def name(process: int) -> str:
    path = Path(f"/proc/{process}/comm")
    return path.read_text() if path.exists() else ""


def set_node_down(case: Case) -> bool:
    running = case.start()
    node = environment(case.steps(running)[0])["SLURMD_NODENAME"]
    tell("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    well = ended_well(running)
    tell("scontrol", "update", f"nodename={node}", "state=resume")
    return well


def restart_slurmd(case: Case) -> bool:
    """kill -9 of the node's daemon alone: the job runs on and is found again."""
    running = case.start()
    node = environment(case.steps(running)[0])["SLURMD_NODENAME"]
    os.kill(case.slurm.daemons()[f"slurmd-{node}"], signal.SIGKILL)
    time.sleep(3)
    case.slurm.start()
    return ended_well(running)


def restart_slurmctld(case: Case) -> bool:
    running = case.start()
    case.steps(running)
    os.kill(case.slurm.daemons()["slurmctld"], signal.SIGKILL)
    time.sleep(3)
    case.slurm.start()
    return ended_well(running)


FAULTS = {  # name: (fault, states of which Slurm must have told one, stages)
    "job's process killed (kill -9)": (
        kill_step,
        {"FAILED"},
        ["render", "train", "predict-views", "evaluate", "table"],
    ),
    "job cancelled (scancel)": (cancel, {"CANCELLED"}, ["render", "train", "table"]),
    "job above its memory": (
        too_little_memory,
        {"FAILED", "OUT_OF_MEMORY"},
        ["render", "train", "predict-views"],
    ),
    "job above its time": (too_little_time, {"TIMEOUT"}, ["render", "train"]),
    "node lost (kill -9 of all on it)": (lose_node, {"NODE_FAIL"}, ["render", "train"]),
    "node lost and back at once": (
        reboot_node,
        {"NODE_FAIL", "FAILED"},
        ["train", "predict-views"],
    ),
    "node set down (scontrol)": (set_node_down, {"NODE_FAIL"}, ["render", "train", "table"]),
    "slurmd killed and started again": (restart_slurmd, set(), ["train"]),
    "slurmctld killed and started again": (restart_slurmctld, set(), ["render", "train", "table"]),
    "Snakemake killed, its jobs cancelled": (kill_snakemake, {"CANCELLED"}, ["render", "train"]),
    "Snakemake killed, its jobs run on": (kill_snakemake_alone, set(), ["render", "train"]),
    "Snakemake killed, its job starts beside the rerun's": (
        kill_snakemake_queued,
        set(),
        ["render", "train"],
    ),
    "shard truncated between two jobs": (truncate, {"FAILED"}, ["train", "predict-views"]),
}


def disturbed(slurm: Slurm, finished: Project, fault: str, stage: str) -> dict:
    """Inject a fault into a stage; return its row."""
    inject, expected, _ = FAULTS[fault]
    case = Case(slurm, local.lacking(finished, stage, slurm.folder.parent.name + "-project"), stage)
    row = {"fault": fault, "stage": stage, "reruns": 0, "identical": False, "problem": ""}
    try:
        well = inject(case)
        while not well and row["reruns"] < RERUNS:
            row["reruns"] += 1
            well = ended_well(case.start())
        until("its jobs have ended", lambda: not case.queued("pending,running,completing"))
        local.run(case.project)
        row["identical"] = local.results(case.project) == local.results(finished)
        if expected and not expected & set(case.states()):
            row["problem"] = f"Slurm tells none of {sorted(expected)}: the fault has missed"
    except (Failed, subprocess.CalledProcessError, OSError) as error:
        row["problem"] = str(error)
    row["states"] = case.states()
    shutil.rmtree(case.project.folder, ignore_errors=True)
    return row


def one(fault: str, stage: str, finished: str) -> None:
    """Inject one fault on a Slurm of its own; its row is the last line printed."""
    alone()
    with scratch(Path(finished).parent) as place, Slurm(place / "slurm") as slurm:
        row = disturbed(slurm, Project(Path(finished)), fault, stage)
    print(json.dumps(row))


def apart(finished: Project, pair: tuple[str, str]) -> dict:
    """Have `one` done by a process of its own, so that nodes and daemons may die side by side."""
    command = [sys.executable, "-m", "tests.cluster.faults", "--one", *pair, str(finished.folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    row = json.loads(done.stdout.splitlines()[-1])
    outcome = "identical" if row["identical"] else "BROKEN"
    print(f"{' in '.join(pair)}: {row['states']}, {outcome} {row['problem']}", flush=True)
    return row


def shown(rows: list[dict]) -> list[dict]:
    """Return the table's lines: one for each fault and stage, the sum last."""
    lines = [
        {
            "fault": row["fault"],
            "stage": row["stage"],
            "injected": 1,
            "seen by Slurm as": ", ".join(row["states"]),
            "reruns needed": row["reruns"],
            "same tables afterwards": int(row["identical"]),
        }
        for row in rows
    ]
    sums = {key: sum(line[key] for line in lines) for key in lines[0] if key not in WORDS}
    return [*lines, dict.fromkeys(lines[0], "") | {"fault": "all"} | sums]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--jobs", type=int, default=3, help="faults at a time, each on its own Slurm"
    )
    parser.add_argument("--only", default="", help="faults whose name contains this")
    parser.add_argument("--stage", help="this stage alone")
    parser.add_argument("--out", type=Path, help="Markdown file for the table")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)  # as `apart` calls it
    options = parser.parse_args()
    if options.one:
        one(*options.one)
        return 0
    pairs = [
        (fault, stage)
        for fault, (_, _, stages) in FAULTS.items()
        for stage in stages
        if options.only in fault and options.stage in (stage, None)
    ]
    with scratch() as place:
        finished = local.undisturbed(place / "finished")
        with ThreadPoolExecutor(options.jobs) as pool:
            rows = list(pool.map(partial(apart, finished), pairs))
    about = "\n".join(__doc__.splitlines()[4:]).strip()
    packages = ["snakemake", "snakemake-executor-plugin-slurm"]
    report("Faults on a cluster", about, shown(rows), packages, options.out)
    return 0 if all(row["identical"] and not row["problem"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
