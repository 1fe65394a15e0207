"""What a run of the workflow has done, is doing and has left, read from Snakemake's own log.

The log of the process that hands out the jobs reads the same on one machine and on a cluster, and
it stays when that process dies: nothing has to be switched on before the run.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from os.path import isfile  # Path's raises where a name is too long
from pathlib import Path

from raymark.core.doubts import DOUBT
from raymark.core.errors import InputError

LOGS = Path(".snakemake/log")
TIME = re.compile(r"\[(\w{3} \w{3} [ \d]\d [\d:]{8} 20\d\d)\]")
STARTED = re.compile(r"(?:local)?(?:rule|checkpoint) (\w+):")
FAILED = re.compile(r"Error in rule (\w+):")
FINISHED = re.compile(r"Finished jobid: (\d{1,9}) ")
FIELD = re.compile(r"(jobid|input|log|wildcards|resources|message): (.+)")
COUNT = re.compile(r"(\w+) +(\d{1,9})")
RESOURCE = re.compile(r"\b(mem_mb|runtime)=(\d{1,9})\b")
REMOTE = "Provided remote nodes:"
INTERRUPTED = "Terminating processes on user request"
BATCH_ERROR = re.compile(r"slurmstepd.*?: error: \W*(.+?)\W*$")
BOILERPLATE = re.compile(r" *(Detailed failure reason|For further error details).*")
STATES = ("done", "running", "waiting", "failed")
CLOCK_SKEW = timedelta(minutes=1)  # of a node against the one that hands out the jobs
QUIET = timedelta(minutes=30)
SHOWN_RUNNING, SHOWN_WAITING, SHOWN_FAILED, SHOWN_INPUTS, SHOWN_LINES = 16, 4, 5, 4, 12


@dataclass
class Job:
    """One job as the log tells it, handed out at `since`.

    `asked` has the MB of memory and the minutes it asked for. `message` is what Snakemake heard of a
    failed job from a batch system, `batch_log` that system's own.
    """

    rule: str
    since: datetime | None
    outcome: str = ""  # done or failed
    wildcards: str = ""
    input: list[str] = field(default_factory=list)
    log: Path | None = None
    asked: dict[str, int] = field(default_factory=dict)
    message: str = ""
    batch_log: Path | None = None

    @property
    def state(self) -> str:
        """Is it waiting, running, done or failed? A step that runs has opened its log first of all.

        What was handed out and has not: it waits in a batch system's queue, or for others of its group.
        """
        if self.outcome or self.since is None or self.log is None:
            return self.outcome or "running"
        since = (self.since - CLOCK_SKEW).timestamp()
        opened = isfile(self.log) and self.log.stat().st_mtime >= since
        return "running" if opened else "waiting"


@dataclass
class Run:
    """One run of Snakemake: how many jobs of each rule it plans, and those it has handed out."""

    log: Path
    planned: dict[str, int] = field(default_factory=dict)
    jobs: dict[int, Job] = field(default_factory=dict)
    start: datetime | None = None
    last: datetime | None = None
    remote: bool = False  # a batch system runs the jobs
    ended: bool = False
    interrupted: bool = False  # by Ctrl-C, or a signal to end

    def in_state(self, state: str) -> list[Job]:
        return [job for job in self.jobs.values() if job.state == state]


def newest_log(folder: str | Path = LOGS) -> Path:
    """Return the log of the newest run that had anything to do; InputError where there is none."""
    for log in sorted(Path(folder).glob("*.snakemake.log"), reverse=True):
        if "\nJob stats:\n" in log.read_text(encoding="utf-8", errors="replace"):
            return log
    raise InputError(folder, "holds no log of a run", "Start it where the workflow was started")


def read_run(path: str | Path) -> Run:
    """Read a log of Snakemake, complete or still growing; InputError where there is none."""
    run = Run(Path(path))
    try:
        whole = run.log.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError) as error:
        raise InputError(path, f"cannot be read ({error})", "Give a log of Snakemake") from None
    job, in_table, group_log = Job("", None), False, None
    for text in _own_lines(whole):
        if match := TIME.match(text):
            run.last = _time(match[1]) or run.last
            run.start = run.start or run.last
            job = Job("", None)  # a block begins; the next line tells whose, if it is a job's
        elif text == "Job stats:":
            in_table = True
        elif in_table:
            in_table = bool(text)
            if match := COUNT.fullmatch(text):
                run.planned[match[1]] = int(match[2])
        elif run.last and (match := STARTED.fullmatch(text)):
            job = Job(match[1], run.last)
        elif run.last and (match := FAILED.fullmatch(text)):
            job = Job(match[1], run.last, "failed")
        elif match := FINISHED.match(text):
            run.jobs.setdefault(int(match[1]), Job("", run.last)).outcome = "done"
        elif match := FIELD.fullmatch(text):
            _take(run, job, match[1], match[2])
            if job.message.startswith("Error in group"):
                group_log = job.log
            elif job.outcome and not job.message:
                job.batch_log = group_log
        elif text.startswith(REMOTE):
            run.remote = True
        elif text.startswith(INTERRUPTED):
            run.interrupted = True
        elif text.startswith("Complete log(s):"):
            run.ended = True
    if run.start is None and not run.planned:
        problem = "is no log of a run of Snakemake"
        raise InputError(path, problem, f"Give one of those in {LOGS}, or none for the newest")
    return run


def _time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%a %b %d %H:%M:%S %Y")
    except ValueError:
        return None


def _own_lines(text: str) -> Iterator[str]:
    """Yield the lines of a log without the logs of jobs shown in it, which may be Snakemake's too."""
    shown, fence = False, ""
    for line in map(str.strip, text.splitlines()):
        if shown:  # the same line of = opens and closes
            shown, fence = line != fence, fence or line
        elif re.fullmatch("Logfile .+:", line):
            shown, fence = True, ""
        else:
            yield line


def _take(run: Run, job: Job, key: str, value: str) -> None:
    """Put a field of a job's block where it belongs; the job's number comes among them."""
    match key:
        case "jobid" if job.rule and value.isdecimal() and len(value) < 10:
            if known := run.jobs.get(int(value)):  # an error's block does not repeat everything
                job.wildcards, job.input = known.wildcards, job.input or known.input
                job.asked = known.asked
            run.jobs[int(value)] = job
        case "input":
            job.input = value.split(", ")
        case "log":
            folder = run.log.parent.parent.parent  # the workflow's: .snakemake/log lies in it
            own, *others = value.split(" (check")[0].split(", ")
            job.log, job.batch_log = folder / own, folder / others[0] if others else None
        case "wildcards":
            job.wildcards = value
        case "resources":
            job.asked = {name: int(amount) for name, amount in RESOURCE.findall(value)}
        case "message":
            job.message = "" if value == "None" else BOILERPLATE.sub("", value)


def progress(run: Run, now: datetime) -> str:
    """Tell what is done, what runs since when with the last line of its log, what waits and is left."""
    states = [(job.rule, job.state) for job in run.jobs.values()]
    lines = [
        f"{'rule':<24}{'jobs':>8}" + "".join(f"{state:>9}" for state in STATES) + f"{'left':>8}"
    ]
    for rule, planned in run.planned.items():
        mine = [state for name, state in states if rule in (name, "total")]
        counts = "".join(f"{mine.count(state):>9}" for state in STATES)
        lines.append(f"{rule:<24}{planned:>8}{counts}{planned - len(mine):>8}")
    if run.start and run.last:
        state = "ended" if run.ended else "last heard of"
        lines.append(f"started {_ago(run.start, now)}, {state} {_ago(run.last, now)}: {run.log}")
    if not run.ended:
        if (quiet := now - _last_sign(run)) > QUIET:
            lines.append(
                f"nothing heard for {quiet / timedelta(minutes=1):.0f} min: if Snakemake runs no more, "
                "it was killed; give the same command again"
            )
        lines += _in_flight(run, now, "running", SHOWN_RUNNING, 1)
        lines += _in_flight(run, now, "waiting", SHOWN_WAITING, 0)
    if run.interrupted or run.in_state("failed"):
        lines.append(f"\n{failures(run)}")
    return "\n".join(lines)


def _last_sign(run: Run) -> datetime:
    """Return when the run's log or that of a job in flight last grew."""
    logs = [run.log, *(job.log for job in run.in_state("running") if job.log)]
    return datetime.fromtimestamp(max(log.stat().st_mtime for log in logs if isfile(log)))


def _in_flight(run: Run, now: datetime, state: str, shown: int, tail: int) -> list[str]:
    """List jobs that were handed out and have not ended, with the last lines of their logs."""
    jobs = [(job.since, job) for job in run.in_state(state) if job.since]
    jobs.sort(key=lambda since_and_job: since_and_job[0])
    lines = [f"\n{state}, the longest first:"] if jobs else []
    for since, job in jobs[:shown]:
        lines.append(f"  {job.rule} {job.wildcards}  since {_ago(since, now)}")
        lines += [f"    {line}" for line in _tail(job.log, tail)] if tail else []
    return [*lines, *([f"  and {len(jobs) - shown} more"] if len(jobs) > shown else [])]


def failures(run: Run) -> str:
    """Tell which jobs failed, from what input, what their logs say last, and what to do."""
    failed = run.in_state("failed")
    if run.interrupted:  # jobs that leave no error were ended with it
        failed = [job for job in failed if _tells_error(job.log)]
        if not failed:
            return "interrupted: give the same command again; finished work is kept"
    if not failed:
        return f"No job failed; what stopped the run stands above and in {run.log}"
    # Of jobs that were submitted as one group, those that left an error come first.
    failed.sort(key=lambda job: not _tells_error(job.log))
    lines = [f"{len(failed)} of the jobs failed:"]
    for job in failed[:SHOWN_FAILED]:
        inputs = ", ".join(job.input[:SHOWN_INPUTS])
        more = len(job.input) - SHOWN_INPUTS
        lines += [
            f"\n  job    {job.rule} {job.wildcards}",
            f"  input  {inputs}" + (f" and {more} more" if more > 0 else ""),
            *(f"  told   {line}" for line in _told(job)),
            f"  log    {job.log}",
            *(f"    | {line}" for line in _tail(job.log, SHOWN_LINES)),
        ]
        if job.message.startswith("Job submission failed"):
            lines.append("    (it did not start: what is told above is why; nothing ran)")
        elif not _tells_error(job.log):
            lines.append(_ended_from_outside(run, job))
    if len(failed) > SHOWN_FAILED:
        lines.append(f"\n  and {len(failed) - SHOWN_FAILED} more; all of them: {run.log}")
    lines.append(
        "\nMend what the last line of the log names, then give the same command again: finished work "
        "is kept."
    )
    return "\n".join(lines)


def doubts(run: Run) -> str:
    """Repeat what the finished jobs of a run warned about, each line once; empty where nothing was."""
    logs = [job.log for job in run.jobs.values() if job.log is not None and isfile(job.log)]
    told = dict.fromkeys(
        line
        for log in sorted(logs)
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.startswith(DOUBT)
    )
    if not told:
        return ""
    return "\n".join([f"{len(told)} warnings, in the tables of the results too:", *told])


def _ended_from_outside(run: Run, job: Job) -> str:
    """Say what may have ended a job whose log gives no error, and what would help."""
    if not run.remote:
        return (
            "    (the log gives no error: the job was ended from outside, for the machine's memory, "
            "perhaps.\n     Fewer jobs side by side take less: --cores 1)"
        )
    asked = {"mem_mb": 8000, "runtime": 60} | job.asked
    more = " ".join(f"{job.rule}:{name}={2 * amount}" for name, amount in asked.items())
    return (
        "    (the log gives no error: the job was ended from outside, for its memory or its time, "
        f"perhaps.\n     More of both: --set-resources {more})"
    )


def _told(job: Job) -> list[str]:
    """Return what a batch system told of a job's end, in Snakemake's log and in its own."""
    errors = (BATCH_ERROR.search(line) for line in _tail(job.batch_log, SHOWN_LINES))
    return [line for line in dict.fromkeys([job.message, *(e[1] for e in errors if e)]) if line]


def _tells_error(log: Path | None) -> bool:
    return any(re.search(r"Error|^raymark [\w-]+: ", line) for line in _tail(log, SHOWN_LINES))


def _tail(log: Path | None, count: int) -> list[str]:
    """Return the last lines of a log that say something, none where there is no log."""
    if log is None or not isfile(log):
        return []
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line for line in lines if line.strip()][-count:]


def _ago(then: datetime, now: datetime) -> str:
    """Write a time of day and how long ago that was."""
    seconds = max((now - then) / timedelta(seconds=1), 0)
    for unit, size, limit in (("s", 1, 120), ("min", 60, 7200)):
        if seconds < limit:
            return f"{then:%H:%M:%S} ({seconds / size:.0f} {unit} ago)"
    return f"{then:%d %b %H:%M} ({seconds / 3600:.1f} h ago)"
