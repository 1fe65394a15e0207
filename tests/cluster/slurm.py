"""A Slurm of the test's own: two virtual nodes, cut off from all else that runs on this machine."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.workflow.conftest import Project

HERE = Path(__file__).parent
INSIDE = "RAYMARK_CLUSTER_TEST"
NAMESPACES = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
# Slurm looks names up only where there is an address besides loopback's (192.0.2.1 is nobody's). The
# shell stays, as the first process of its namespace, to collect the daemons that end.
PREPARE = """ip link set lo up && ip address add 192.0.2.1/32 dev lo && mount -t tmpfs none /etc/slurm &&
"$@"; status=$?; exit $status"""
QUICK = ["--jobs", "4", "--cores", "4", "--latency-wait", "10", "--max-jobs-per-timespan", "100/1s"]
QUICK += ["--seconds-between-status-checks", "2", "--slurm-init-seconds-before-status-checks", "2"]
WITHOUT_ACCOUNTING = ["--slurm-status-command", "squeue"]


def alone() -> None:
    """Start this program again with processes, a network and an /etc/slurm of its own.

    Another Slurm on this machine is neither seen nor disturbed, and nothing outlives the program.
    Ends with status 77 where that cannot be had.
    """
    if INSIDE in os.environ:
        return
    installed = subprocess.run([HERE / "install-slurm.sh", "--accounting"], check=False)
    if installed.returncode:
        sys.exit(installed.returncode)
    tried = subprocess.run([*NAMESPACES, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        print(f"Slurm cannot be had for this test alone: {tried.stderr.strip()}", file=sys.stderr)
        sys.exit(77)
    os.environ[INSIDE] = "1"
    program = [sys.executable, "-m", sys.modules["__main__"].__spec__.name, *sys.argv[1:]]
    os.execvp(NAMESPACES[0], [*NAMESPACES, "sh", "-c", PREPARE, "sh", *program])


@contextmanager
def scratch(inside: Path | None = None) -> Iterator[Path]:
    """Yield a temporary folder that munge and the database, users of their own, may enter."""
    with tempfile.TemporaryDirectory(prefix="raymark-cluster-", dir=inside) as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


class Slurm:
    """A Slurm in a folder, started and stopped by the scripts beside this file."""

    def __init__(self, folder: Path, accounting: bool = False):
        self.folder, self.accounting = folder, accounting

    def __enter__(self) -> "Slurm":
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def start(self) -> None:
        """Start what does not run."""
        options = ["--accounting"] if self.accounting else []
        started = subprocess.run([HERE / "start-slurm.sh", self.folder, *options], check=False)
        if started.returncode:
            sys.exit(started.returncode)

    def stop(self) -> None:
        subprocess.run([HERE / "stop-slurm.sh", self.folder], check=True)

    def daemons(self) -> dict[str, int]:
        """Return the daemons that run, by the process that each wrote down."""
        written = {p.stem: int(p.read_text()) for p in (self.folder / "run").glob("*.pid")}
        return {name: pid for name, pid in written.items() if Path(f"/proc/{pid}").exists()}

    def command(self, project: Project, *arguments: str) -> list[str]:
        """Return Snakemake's command with the Slurm profile as it is delivered, polled often."""
        status = [] if self.accounting else WITHOUT_ACCOUNTING
        return project.command(*QUICK, *status, *arguments, profile="slurm")

    def ended_jobs(self, project: Project) -> list[dict[str, str]]:
        """Read Slurm's own record of a project's jobs that ended, in order."""
        record = self.folder / "log/jobs.txt"
        lines = record.read_text().splitlines() if record.exists() else []
        jobs = [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]
        return [job for job in jobs if job["WorkDir"] == str(project.folder)]
