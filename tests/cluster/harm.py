"""What can be done to jobs, nodes and daemons of a real Slurm while a stage of a project runs on it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.slurm import Slurm
from tests.end_to_end import faults as local
from tests.end_to_end.faults import SHARD, STAGES, Failed
from tests.workflow.conftest import Project

RULES = {"predict-views": "predict"}  # where they are not called like the step
PATIENCE_S = 600


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
    """As an administrator would; the node comes back by itself (ReturnToService in slurm.conf)."""
    running = case.start()
    node = environment(case.steps(running)[0])["SLURMD_NODENAME"]
    tell("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    return ended_well(running)


def restart_slurmd(case: Case) -> bool:
    """kill -9 of the node's daemon alone: the job runs on and is found again."""
    running = case.start()
    node = environment(case.steps(running)[0])["SLURMD_NODENAME"]
    os.kill(case.slurm.daemons()[f"slurmd-{node}"], signal.SIGKILL)
    time.sleep(3)
    case.slurm.start()
    return ended_well(running)


def restart_slurmctld(case: Case) -> bool:
    """It may have forgotten that a job ran, starts it twice, and then holds it."""
    running = case.start()
    case.steps(running)
    os.kill(case.slurm.daemons()["slurmctld"], signal.SIGKILL)
    time.sleep(3)
    case.slurm.start()
    while running.poll() is None:
        release(case)
        time.sleep(2)
    return ended_well(running)


def release(case: Case) -> None:
    """Give back what Slurm holds, as docs/cluster.md tells an administrator to."""
    for job in case.queued("pending"):
        if "held" in tell("squeue", "--noheader", "--jobs", job, "--format", "%r"):
            for node in tell("sinfo", "--noheader", "--states", "drain", "--format", "%N").split():
                tell("scontrol", "update", f"nodename={node}", "state=resume")
            tell("scontrol", "release", job)
