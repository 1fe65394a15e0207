"""Jobs in a container, through a stand-in for `apptainer` that runs what it is given."""

import os

from tests.workflow.conftest import make_project

STAND_IN = """#!/bin/sh
if [ "$1" = --version ]; then echo "apptainer version 1.3.4"; exit; fi
echo "$@" >> "$CALLS"
while [ "$1" != -c ]; do shift; done
exec bash -c "$2"
"""


def test_every_job_runs_in_the_image_where_that_is_asked_for(tmp_path, monkeypatch):
    project = make_project(tmp_path / "p")
    (project.folder / "container.sif").touch()
    apptainer = tmp_path / "bin" / "apptainer"
    apptainer.parent.mkdir()
    apptainer.write_text(STAND_IN)
    apptainer.chmod(0o755)
    monkeypatch.setenv("PATH", f"{apptainer.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    volume = "results/volumes/balls/ball_patient/ct.nii.gz"
    project.snakemake("--software-deployment-method", "apptainer", "--", volume)
    (call,) = (tmp_path / "calls").read_text().splitlines()
    assert f"exec --home {project.folder}" in call
    assert "container.sif bash -c" in call
    assert "python -m raymark ingest" in call
    assert (project.folder / volume).exists()
