"""The whole workflow through profiles/slurm on a real Slurm, against a local run of the same.

    python -m tests.cluster.run [--accounting yes|no]

Each project runs twice, here and on two virtual nodes; all its results have to agree byte for byte.
Without accounting it is a tiny one (tests/workflow/conftest.py), with accounting the demo, reduced
(tests/cluster/demo.py); unless told otherwise, both. Exit status 77: this machine cannot run Slurm,
nothing was tested.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from tests.cluster.demo import fetch_sources, make_demo
from tests.cluster.slurm import Slurm, alone, scratch
from tests.workflow.conftest import Project, make_project

MAKERS = {"no": make_project, "yes": make_demo}
ON_GPUS = ("train", "predict", "correspondence_train")
NOT_COMPARED = {"benchmarks", "config", "sources"}  # times, this run's paths, what was downloaded
TIMES = ["seconds", "waiting_share"]  # of an epoch, in a training's losses
VOLUME = "results/volumes/balls/ball_patient/ct.nii.gz"
LOSSES = "results/models/balls/narrow/0/losses.csv"
# The virtual nodes' names stand for no address.
ON_LOOPBACK = {"MASTER_ADDR": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accounting", choices=["yes", "no"], help="default: first no, then yes")
    chosen = parser.parse_args().accounting
    if chosen != "no":
        fetch_sources()
    alone()
    passed = []
    with scratch() as place:
        for accounting in [chosen] if chosen else ["no", "yes"]:
            folder = place / accounting
            folder.mkdir()
            print(f"accounting: {accounting}", flush=True)
            with Slurm(folder / "slurm", accounting == "yes") as slurm:
                passed += [check(folder, slurm) for check in CHECKS]
            slurm.stop()
            passed.append(verdict("stopped twice, nothing is left", not slurm.daemons()))
    return 0 if all(passed) else 1


def started_twice(folder: Path, slurm: Slurm) -> bool:
    before = slurm.daemons()
    slurm.start()
    return verdict("started twice, the same daemons", len(before) >= 4, slurm.daemons() == before)


def same_results(folder: Path, slurm: Slurm) -> bool:
    """Run the whole workflow twice; Slurm must have run all of it, grouped, GPUs where asked for."""
    make = MAKERS["yes" if slurm.accounting else "no"]
    local, cluster = make(folder / "local"), make(folder / "cluster")
    start = time.monotonic()
    local.snakemake("all")
    between = time.monotonic()
    rules = on_slurm(slurm, cluster, "--", "all")
    end = time.monotonic()
    here, there = results(local), results(cluster)
    different = sorted(name for name in here | there if here.get(name) != there.get(name))
    jobs = slurm.ended_jobs(cluster)
    states, partitions = (Counter(job[key] for job in jobs) for key in ("JobState", "Partition"))
    steps = sum(rules.values()) - rules["all"]
    print(
        f"{steps} steps: here {between - start:.0f} s, as {len(jobs)} Slurm jobs {end - between:.0f} s"
    )
    print(f"ended {dict(states)}, in partitions {dict(partitions)}")
    print(f"{len(here)} files compared, {len(different)} differ {different}")
    return verdict(
        "Slurm's results are the local ones",
        bool(here) and not different,
        set(states) == {"COMPLETED"} and len(jobs) < steps,
        partitions["gpu"] == sum(rules[rule] for rule in ON_GPUS),
    )


def results(project: Project) -> dict[str, bytes]:
    """Read all that a run left below results/, but what says how long something took."""
    found = project.read("results/*/**/*.*")
    for name in found:
        if name.endswith("losses.csv"):
            losses = pd.read_csv(project.folder / name)
            found[name] = losses.drop(columns=TIMES, errors="ignore").to_csv(index=False).encode()
    return {
        name: content for name, content in found.items() if name.split("/")[1] not in NOT_COMPARED
    }


def more_memory(folder: Path, slurm: Slurm) -> bool:
    """A job killed for its memory comes back with more and succeeds."""
    project = make_project(folder / "memory")
    on_slurm(slurm, project, "--set-resources", "ingest:mem_mb=60*25**(attempt-1)", "--", VOLUME)
    states = [job["JobState"] for job in slurm.ended_jobs(project)]
    print(f"attempts ended {states}")
    return verdict(
        "killed for memory, back with more", states[-1:] == ["COMPLETED"], len(states) > 1
    )


def two_nodes(folder: Path, slurm: Slurm) -> bool:
    """A training by two processes on each node gives the losses of a training by one process."""
    one, two = make_project(folder / "one"), make_project(folder / "two")
    one.snakemake(LOSSES)
    spread = [f"train:{value}" for value in ("gpu=0", "mpi=srun", "nodes=2", "tasks_per_node=2")]
    on_slurm(slurm, two, "--set-resources", *spread, "--", LOSSES, **ON_LOOPBACK)
    here, there = (
        pd.read_csv(project.folder / LOSSES).drop(columns=TIMES) for project in (one, two)
    )
    numbers = here.select_dtypes("number").columns
    nodes = slurm.ended_jobs(two)[-1]["NodeList"]
    for where, losses in {"here": here, f"on {nodes}": there}.items():
        print(f"losses {where}\n{losses[numbers].to_string(index=False)}")
    (log,) = two.read("logs/train/**/*.log").values()
    return verdict(
        "one training on two nodes",
        nodes == "n[1-2]",
        b"Starting with 4 processes" in log,
        np.allclose(here[numbers], there[numbers], rtol=1e-3),
    )


CHECKS = (started_twice, same_results, more_memory, two_nodes)


def on_slurm(slurm: Slurm, project: Project, *arguments: str, **variables: str) -> Counter:
    """Run Snakemake on Slurm; return how many jobs each rule had."""
    command = slurm.command(project, *arguments)
    options = {"capture_output": True, "text": True, "env": os.environ | variables}
    done = subprocess.run(command, cwd=project.folder, check=False, **options)
    text = done.stdout + done.stderr
    if done.returncode:
        sys.exit(f"{text[-8000:]}\nFAILED: the run on Slurm, see above")
    return Counter(re.findall(r"Finished jobid: \d+ \(Rule: (\w+)\)", text))


def verdict(what: str, *facts: bool) -> bool:
    print(f"{'ok' if all(facts) else 'FAILED'}: {what} {list(facts)}", flush=True)
    return all(facts)


if __name__ == "__main__":
    sys.exit(main())
