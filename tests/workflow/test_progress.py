"""What a person sees of a run: how far it is, and after a failure what failed and what to do."""

import os
from datetime import datetime, timedelta

import pytest

from raymark.core.doubts import warn
from raymark.core.errors import InputError
from raymark.workflow.run_log import doubts, failures, newest_log, progress, read_run
from tests.workflow.conftest import make_project

GOAL = "results/volumes/balls/ball_patient/landmarks.csv"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project in which the ingest succeeded and the landmarks failed: one lies outside the CT."""
    project = make_project(tmp_path_factory.mktemp("progress") / "p")
    points = project.folder / "points.csv"
    points.write_text(points.read_text().replace("-25.0", "-2500.0"))
    project.output = project.snakemake(GOAL, check=False)
    return project


@pytest.fixture
def log(project, monkeypatch):
    monkeypatch.chdir(project.folder)
    return newest_log()


def test_last_lines_tell_job_input_log_reason_and_remedy(project):
    assert project.output.returncode != 0
    text = project.output.stderr
    told = text[text.index("1 of the jobs failed") :]
    for part in (
        "landmarks dataset=balls, subject=ball_patient",
        "results/volumes/balls/ball_patient/ct.nii.gz",
        "points.csv",
        "logs/landmarks/balls/ball_patient.log",
        "| raymark landmarks: ",
        "lower_ball",
        "give the same command again",
    ):
        assert part in told
    assert "job    ingest" not in told
    assert len(told.splitlines()) < 25


def test_doubts_of_finished_jobs_are_repeated_once(log, capsys):
    run = read_run(log)
    assert doubts(run).splitlines()[1:] == ["Warning: ct.nii.gz: thick slices: 4.00 mm apart"]
    warn("ct.nii.gz", ["has a spacing of\n0.1 mm"])
    line = capsys.readouterr().err
    assert line == "Warning: ct.nii.gz: has a spacing of 0.1 mm\n"
    (ingest,) = run.in_state("done")
    before = ingest.log.read_text()
    ingest.log.write_text(f"{before}progress\n{line}{line}")
    assert doubts(run).splitlines()[2:] == [line.strip()]
    ingest.log.write_text(before)


def test_after_a_failure_progress_counts_it(log):
    run = read_run(log)
    assert run.ended
    assert run.planned == {"ingest": 1, "landmarks": 1, "total": 2}
    states = {job.rule: job.state for job in run.jobs.values()}
    assert states == {"ingest": "done", "landmarks": "failed"}
    text = progress(run, run.last)
    table = {line.split()[0]: line.split()[1:] for line in text.splitlines()[:4]}
    assert table["rule"] == ["jobs", "done", "running", "waiting", "failed", "left"]
    assert table["ingest"] == ["1", "1", "0", "0", "0", "0"]
    assert table["landmarks"] == ["1", "0", "0", "0", "1", "0"]
    assert table["total"] == ["2", "1", "0", "0", "1", "0"]
    assert failures(run) in text


@pytest.fixture
def growing(log, tmp_path):
    """The run as its log stood before the ingest had ended; that job's own log is not there yet."""
    earlier = tmp_path / "growing.snakemake.log"
    earlier.write_text(log.read_text().split("Finished jobid")[0])
    run = read_run(earlier)
    for job in run.jobs.values():
        job.log = tmp_path / "ingest.log"
    return run


def test_while_a_job_runs_progress_tells_since_when_and_its_latest_line(growing):
    (job,) = growing.jobs.values()
    job.log.write_text("first line\n10 of 20 slices\n\n")
    assert (job.rule, job.state, growing.ended) == ("ingest", "running", False)
    lines = progress(growing, job.since + timedelta(minutes=7)).splitlines()
    assert lines[3].split() == ["total", "2", "0", "1", "0", "0", "1"]
    since = f"since {job.since:%H:%M:%S} (7 min ago)"
    assert f"  ingest dataset=balls, subject=ball_patient  {since}" in lines
    assert "    10 of 20 slices" in lines
    assert not any("first line" in line for line in lines)


def test_a_job_whose_step_has_not_begun_waits(growing):
    """It is in a batch system's queue; a log that lies there is an earlier attempt's."""
    (job,) = growing.jobs.values()
    for _ in range(2):
        assert job.state == "waiting"
        lines = progress(growing, job.since + timedelta(hours=3)).splitlines()
        assert lines[3].split() == ["total", "2", "0", "0", "1", "0", "1"]
        told = [line for line in lines if line.startswith("  ingest")]
        assert told == [
            f"  ingest dataset=balls, subject=ball_patient  since {job.since:%d %b %H:%M} (3.0 h ago)"
        ]
        assert "\nwaiting, the longest first:" in progress(growing, growing.last)
        job.log.write_text("killed\n")
        earlier = job.since.timestamp() - 61
        os.utime(job.log, (earlier, earlier))
    skewed = job.since.timestamp() - 5  # by the clock of the node
    os.utime(job.log, (skewed, skewed))
    assert job.state == "running"


def test_a_run_that_says_nothing_for_long_may_have_been_killed(growing):
    (job,) = growing.jobs.values()
    job.log.write_text("1 of 20 slices\n")
    heard = datetime.fromtimestamp(job.log.stat().st_mtime)
    assert "nothing heard" not in progress(growing, heard + timedelta(minutes=20))
    assert "nothing heard for 40 min" in progress(growing, heard + timedelta(minutes=40))


@pytest.mark.parametrize("grouped", [False, True])
def test_what_a_batch_system_says_of_a_failed_job_is_told(log, tmp_path, grouped):
    """A single job's block has Slurm's verdict and log; of a group, a block before has the log."""
    said = "SLURM-job '7' failed, SLURM status is: 'FAILED'."
    batch_log = tmp_path / "7.log"
    batch_log.write_text(
        "slurmstepd-n1: error: Exceeded job memory limit\nBuilding DAG of jobs...\n"
    )
    head, block = log.read_text().split("Error in rule landmarks:\n")
    own = "log: logs/landmarks/balls/ball_patient.log"
    assert "message: None" in block
    assert own in block
    if grouped:
        time = head.rstrip().splitlines()[-1]
        head += f"    message: Error in group points\n    log: {batch_log} (check log file(s))\n{time}\n"
    else:
        block = block.replace(
            "message: None", f"message: {said}For further error details see there."
        )
        block = block.replace(own, f"{own}, {batch_log}")
    told = log.with_name(f"told-{grouped}.log")  # paths in a log are relative to where it lies
    told.write_text(f"{head}Error in rule landmarks:\n{block}")
    lines = failures(read_run(told)).splitlines()
    expected = [] if grouped else [f"  told   {said}"]
    assert [line for line in lines if line.startswith("  told")] == [
        *expected,
        "  told   Exceeded job memory limit",
    ]
    assert f"  log    {read_run(log).in_state('failed')[0].log}" in lines
    assert read_run(told).jobs.keys() == read_run(log).jobs.keys()
    assert "  told" not in failures(read_run(log))


def test_a_job_ended_from_outside_is_told_apart(log, tmp_path):
    run = read_run(log)
    (job,) = run.in_state("failed")
    job.log = tmp_path / "killed.log"
    job.log.write_text("3/100 views, 0.1 per second\n")
    assert "side by side take less: --cores 1" in failures(run)
    job.log.unlink()
    assert "side by side take less: --cores 1" in failures(run)


def test_a_job_that_was_not_taken_did_not_lack_memory(log, tmp_path):
    run = read_run(log)
    (job,) = run.in_state("failed")
    job.log = tmp_path / "none.log"
    job.message = "Job submission failed with exception: sbatch: error: invalid partition"
    assert "did not start" in failures(run)
    assert "from outside" not in failures(run)


def test_a_cluster_is_to_be_asked_for_more_than_was_asked(log, tmp_path):
    text = log.read_text()
    assert "Provided cores: 2" in text
    (asked,) = {job.asked["mem_mb"] for job in read_run(log).in_state("failed")}
    assert asked >= 1000
    text = text.replace("Provided cores: 2", "Provided remote nodes: 4")
    remote = tmp_path / "remote.snakemake.log"
    remote.write_text(text.replace(f"mem_mb={asked},", f"mem_mb={asked}, runtime=90,"))
    more = f"--set-resources landmarks:mem_mb={2 * asked} landmarks:runtime=180)"
    assert more in failures(read_run(remote))  # whose log of the job does not lie beside it
    assert "(the log gives no error" not in failures(read_run(log))


@pytest.mark.parametrize(
    "line",
    [
        "Finished jobid: 7 (Rule: x)",
        f"Finished jobid: {'9' * 5000} (Rule: x)",
        "[Foo Bar 99 99:99:99 2026]",
        "    jobid: seven",
        "    jobid: 8",
        "rule render:\n    jobid: 9",
        f"    log: {'x' * 5000}",
        f"Job stats:\nrender {'9' * 5000}\n",
    ],
)
def test_a_log_with_lines_that_make_no_sense_is_read(log, tmp_path, line):
    head, block = log.read_text().split("Error in rule landmarks:\n")
    broken = tmp_path / "broken.snakemake.log"
    broken.write_text(f"{line}\n{head}{line}\nError in rule landmarks:\n{line}\n{block}{line}\n")
    run = read_run(broken)
    assert "landmarks" in progress(run, run.last)


def test_a_log_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.log: cannot be read"):
        read_run(tmp_path / "none.log")


@pytest.mark.parametrize("text", ["", "subject,ct\na,b.nii.gz\n"])
def test_a_file_that_is_no_log_is_named(tmp_path, text):
    (tmp_path / "subjects.csv").write_text(text)
    with pytest.raises(InputError, match=r"subjects\.csv: is no log of a run"):
        read_run(tmp_path / "subjects.csv")


def test_after_an_interruption_the_same_command_is_advised(log, tmp_path):
    """What Snakemake 9 logs after Ctrl-C: the jobs that it ended count as failed."""
    folder = tmp_path / ".snakemake/log"
    folder.mkdir(parents=True)
    interrupted = folder / "interrupted.log"
    told = "Terminating processes on user request, this might take some time.\n"
    interrupted.write_text(log.read_text().replace("\n[", f"\n{told}[", 1))
    run = read_run(interrupted)  # the job's own log is not there: it tells no error
    assert run.in_state("failed")
    assert failures(run) == "interrupted: give the same command again; finished work is kept"
    assert "memory" not in progress(run, run.last)


def test_an_error_before_an_interruption_is_told(log):
    interrupted = log.with_name("interrupted.log")
    interrupted.write_text(log.read_text() + "Terminating processes on user request\n")
    assert "of the jobs failed" in failures(read_run(interrupted))


def test_a_log_shown_inside_is_not_taken_for_the_run_itself(log):
    """A cluster's job runs Snakemake too; its log may stand in that of the run that handed it out."""
    whole = log.read_text()
    inner = ["rule render:", "    jobid: 1", "Error in rule render:", "    jobid: 1", "SNAKEMAKE"]
    shown = "\n".join(["Logfile some.log:", "=" * 40, *inner, "=" * 9, "=" * 40, ""])
    with_inner = log.with_name("inner.log")  # paths in a log are relative to where it lies
    with_inner.write_text(whole.replace("Shutting down", shown + "Shutting down"))
    assert with_inner.read_text() != whole
    assert read_run(with_inner).jobs == read_run(log).jobs


def test_newest_log_is_of_a_run_with_jobs(log, tmp_path):
    (tmp_path / "1.snakemake.log").write_text(log.read_text())
    (tmp_path / "2.snakemake.log").write_text("Nothing to be done.\n")
    assert newest_log(tmp_path).name == "1.snakemake.log"
    with pytest.raises(InputError, match="holds no log of a run"):
        newest_log(tmp_path / "none")
