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
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks.measurement import report
from tests.cluster import harm
from tests.cluster.slurm import Slurm, alone, scratch
from tests.end_to_end import faults as local
from tests.end_to_end.faults import Failed
from tests.workflow.conftest import Project

RERUNS = 3
WORDS = ("fault", "stage", "seen by Slurm as")


FAULTS = {  # name: (fault, states of which Slurm must have told one, stages)
    "job's process killed (kill -9)": (
        harm.kill_step,
        {"FAILED"},
        ["render", "train", "predict-views", "evaluate", "table"],
    ),
    "job cancelled (scancel)": (harm.cancel, {"CANCELLED"}, ["render", "train", "table"]),
    "job above its memory": (
        harm.too_little_memory,
        {"FAILED", "OUT_OF_MEMORY"},
        ["render", "train", "predict-views"],
    ),
    "job above its time": (harm.too_little_time, {"TIMEOUT"}, ["render", "train"]),
    "node lost (kill -9 of all on it)": (harm.lose_node, {"NODE_FAIL"}, ["render", "train"]),
    "node lost and back at once": (
        harm.reboot_node,
        {"NODE_FAIL", "FAILED"},
        ["train", "predict-views"],
    ),
    "node set down (scontrol)": (harm.set_node_down, {"NODE_FAIL"}, ["render", "train", "table"]),
    "slurmd killed and started again": (harm.restart_slurmd, set(), ["train"]),
    "slurmctld killed and started again": (
        harm.restart_slurmctld,
        set(),
        ["render", "train", "table"],
    ),
    "Snakemake killed, its jobs cancelled": (
        harm.kill_snakemake,
        {"CANCELLED"},
        ["render", "train"],
    ),
    "Snakemake killed, its jobs run on": (harm.kill_snakemake_alone, set(), ["render", "train"]),
    "Snakemake killed, its job starts beside the rerun's": (
        harm.kill_snakemake_queued,
        set(),
        ["render", "train"],
    ),
    "shard truncated between two jobs": (harm.truncate, {"FAILED"}, ["train", "predict-views"]),
}


def disturbed(slurm: Slurm, finished: Project, fault: str, stage: str) -> dict:
    """Inject a fault into a stage; return its row."""
    inject, expected, _ = FAULTS[fault]
    case = harm.Case(
        slurm, local.lacking(finished, stage, slurm.folder.parent.name + "-project"), stage
    )
    row = {"fault": fault, "stage": stage, "reruns": 0, "identical": False, "problem": ""}
    try:
        well = inject(case)
        while not well and row["reruns"] < RERUNS:
            row["reruns"] += 1
            well = harm.ended_well(case.start())
        harm.until("its jobs have ended", lambda: not case.queued("pending,running,completing"))
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
