"""The whole workflow through profiles/slurm on a real Slurm, against a local run of the same.

    python -m tests.cluster.run [--accounting yes|no]

A tiny project (tests/workflow/conftest.py) runs twice, here and on two virtual nodes; its tables have
to agree byte for byte. Unless told otherwise, Slurm runs twice too, without and with accounting. Exit
status 77: this machine cannot run Slurm, nothing was tested.
"""

import argparse
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tests.cluster.slurm import Slurm, alone, scratch
from tests.workflow.conftest import Project, make_project

TABLES = [f"results/tables/{name}.csv" for name in ("methods", "landmarks", "data")]
VOLUME = "results/volumes/balls/ball_patient/ct.nii.gz"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accounting", choices=["yes", "no"], help="default: first no, then yes")
    chosen = parser.parse_args().accounting
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


def same_tables(folder: Path, slurm: Slurm) -> bool:
    """Run the whole workflow twice; Slurm must have run all of it, grouped, GPUs where asked for."""
    local, cluster = make_project(folder / "local"), make_project(folder / "cluster")
    start = time.monotonic()
    local.snakemake(*TABLES)
    between = time.monotonic()
    steps = on_slurm(slurm, cluster, "--", *TABLES)
    end = time.monotonic()
    results = [
        p.read("results/tables/*") | p.read("results/errors/**/*.parquet") for p in (local, cluster)
    ]
    different = sorted(n for n in set().union(*results) if results[0].get(n) != results[1].get(n))
    jobs = slurm.ended_jobs(cluster)
    states, partitions = (Counter(job[key] for job in jobs) for key in ("JobState", "Partition"))
    print(
        f"local {between - start:.0f} s; {steps} steps as {len(jobs)} Slurm jobs {end - between:.0f} s"
    )
    print(f"ended {dict(states)}, in partitions {dict(partitions)}")
    print(f"{len(results[0])} files compared, {len(different)} differ {different}")
    return verdict(
        "Slurm's tables are the local ones",
        bool(results[0]) and not different,
        set(states) == {"COMPLETED"} and len(jobs) < steps,
        partitions["gpu"] == 4,  # two trainings, two predictions
    )


def more_memory(folder: Path, slurm: Slurm) -> bool:
    """A job killed for its memory comes back with more and succeeds."""
    project = make_project(folder / "memory")
    on_slurm(slurm, project, "--set-resources", "ingest:mem_mb=60*25**(attempt-1)", "--", VOLUME)
    states = [job["JobState"] for job in slurm.ended_jobs(project)]
    print(f"attempts ended {states}")
    return verdict(
        "killed for memory, back with more", states[-1:] == ["COMPLETED"], len(states) > 1
    )


CHECKS = (started_twice, same_tables, more_memory)


def on_slurm(slurm: Slurm, project: Project, *arguments: str) -> int:
    """Run Snakemake on Slurm; return how many steps it took."""
    command = slurm.command(project, *arguments)
    done = subprocess.run(command, capture_output=True, text=True, cwd=project.folder, check=False)
    text = done.stdout + done.stderr
    if done.returncode:
        sys.exit(f"{text[-8000:]}\nFAILED: the run on Slurm, see above")
    return text.count("Finished jobid")


def verdict(what: str, *facts: bool) -> bool:
    print(f"{'ok' if all(facts) else 'FAILED'}: {what} {list(facts)}", flush=True)
    return all(facts)


if __name__ == "__main__":
    sys.exit(main())
