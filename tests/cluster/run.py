"""The whole workflow through profiles/slurm on a real Slurm, against a local run of the same.

    python -m tests.cluster.run [--accounting]

A tiny project (tests/workflow/conftest.py) runs twice, here and on two virtual nodes; its tables have
to agree byte for byte. Exit status 77: this machine cannot run Slurm, nothing was tested.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.workflow.conftest import ROOT, Project, make_project

HERE = Path(__file__).parent
QUICK = ["--jobs", "4", "--cores", "4", "--latency-wait", "10", "--max-jobs-per-timespan", "100/1s"]
QUICK += ["--seconds-between-status-checks", "2", "--slurm-init-seconds-before-status-checks", "2"]
WITHOUT_ACCOUNTING = ["--slurm-status-command", "squeue"]
TABLES = [f"results/tables/{name}.csv" for name in ("methods", "landmarks", "data")]
VOLUME = "results/volumes/balls/ball_patient/ct.nii.gz"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accounting", action="store_true", help="with slurmdbd and MariaDB")
    accounting = parser.parse_args().accounting
    with tempfile.TemporaryDirectory(prefix="raymark-cluster-") as folder:
        os.chmod(folder, 0o755)  # the database has a user of its own
        slurm = Path(folder) / "slurm"
        try:
            options = ["--accounting"] if accounting else []
            started = subprocess.run([HERE / "start-slurm.sh", slurm, *options], check=False)
            if started.returncode:
                return started.returncode
            profile = [*QUICK, *([] if accounting else WITHOUT_ACCOUNTING)]
            return 0 if all([check(Path(folder), profile) for check in CHECKS]) else 1
        finally:
            subprocess.run([HERE / "stop-slurm.sh", slurm], check=False)


def same_tables(folder: Path, profile: list[str]) -> bool:
    """Run the whole workflow twice; Slurm must have run all of it, grouped, GPUs where asked for."""
    local, cluster = make_project(folder / "local"), make_project(folder / "cluster")
    start = time.monotonic()
    local.snakemake(*TABLES)
    between = time.monotonic()
    steps = on_slurm(cluster, *profile, "--", *TABLES)
    end = time.monotonic()
    results = [
        p.read("results/tables/*") | p.read("results/errors/**/*.parquet") for p in (local, cluster)
    ]
    different = sorted(n for n in set().union(*results) if results[0].get(n) != results[1].get(n))
    jobs = ended_jobs(folder / "slurm")
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


def more_memory(folder: Path, profile: list[str]) -> bool:
    """A job killed for its memory comes back with more and succeeds."""
    project = make_project(folder / "memory")
    before = len(ended_jobs(folder / "slurm"))
    on_slurm(project, *profile, "--set-resources", "ingest:mem_mb=60*25**(attempt-1)", "--", VOLUME)
    states = [job["JobState"] for job in ended_jobs(folder / "slurm")[before:]]
    print(f"attempts ended {states}")
    return verdict(
        "killed for memory, back with more", states[-1:] == ["COMPLETED"], len(states) > 1
    )


CHECKS = (same_tables, more_memory)


def on_slurm(project: Project, *arguments: str) -> int:
    """Run Snakemake with the Slurm profile as it is delivered; return how many steps it took."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--directory", str(project.folder), "--configfile", "config.yaml"]
    command += ["--profile", str(ROOT / "profiles/slurm"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=project.folder, check=False)
    text = done.stdout + done.stderr
    if done.returncode:
        sys.exit(f"{text[-8000:]}\nFAILED: the run on Slurm, see above")
    return text.count("Finished jobid")


def ended_jobs(slurm: Path) -> list[dict[str, str]]:
    """Read Slurm's own record of the jobs that ended, in order."""
    record = slurm / "log/jobs.txt"
    lines = record.read_text().splitlines() if record.exists() else []
    return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]


def verdict(what: str, *facts: bool) -> bool:
    print(f"{'ok' if all(facts) else 'FAILED'}: {what} {list(facts)}")
    return all(facts)


if __name__ == "__main__":
    sys.exit(main())
