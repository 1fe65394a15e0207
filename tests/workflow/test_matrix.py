"""The matrix as a target of its own: what it trains, with which budget, and what it makes."""

import subprocess
import sys

import pandas as pd
import pytest

from tests.workflow.conftest import CONFIG, ROOT, make_project, method


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = make_project(tmp_path_factory.mktemp("matrix") / "p")
    for name in ("narrow", "other", "tuned"):  # after three epochs none is near
        settings = method(name)
        settings["training"]["diverged_above_share"] = 1.0
        project.write(f"{name}.yaml", settings)
    project.write("tuned.yaml", settings | {"start_from": "narrow"})
    budget = {"datasets": {"balls": ["novel"]}, "views_seen": 50, "baseline": "narrow"}
    methods = [*CONFIG["methods"], "tuned.yaml"]
    project.write("config.yaml", CONFIG | {"methods": methods, "matrix": budget})
    project.snakemake("matrix")
    return project


def test_the_configuration_plans_every_method_on_every_data_set():
    """Fourteen methods (one starts from another's model) on the five rendered data sets."""
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--forceall", "--nolock"]
    command += ["--quiet", "rules"]
    command += ["--cores", "1", "--configfile", "config/matrix.yaml", "--", "matrix"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    planned = [line.split() for line in (done.stdout + done.stderr).splitlines()]
    assert ["train", "70"] in planned


def test_every_method_sees_the_budget_and_is_tested_against_the_baseline(project):
    """16 training views: 50 are three epochs of them, nearest."""
    for name in ("narrow", "other"):
        losses = pd.read_csv(project.folder / f"results/models/balls/{name}/0/losses.csv")
        assert losses["views"].tolist() == [16, 16, 16]
    table = pd.read_csv(project.folder / "results/tables/comparisons.csv").set_index("method")
    assert table["views_seen"].dropna().tolist() == [48, 48]
    assert set(table["baseline"]) == {"narrow"}
    assert table["p"].notna().tolist() == [False, True, True]
    assert (table["p_holm"].dropna() >= table["p"].dropna()).all()


def test_what_would_see_more_is_left_out_and_the_table_says_so(project):
    assert not (project.folder / "results/models/balls/tuned").exists()
    text = (project.folder / "results/tables/matrix.md").read_text()
    assert "tuned on Balls in water: it starts from the trained model of narrow" in text
    assert (project.folder / "results/figures/matrix.png").exists()


def test_another_baseline_makes_tables_again_and_trains_nothing(project):
    matrix = {"datasets": {"balls": ["novel"]}, "views_seen": 50}
    methods = [*CONFIG["methods"], "tuned.yaml"]
    project.write("config.yaml", CONFIG | {"methods": methods, "matrix": matrix})
    done = project.snakemake("--dry-run", "matrix")
    lines = (done.stdout + done.stderr).splitlines()
    rules = {
        line.split()[1].rstrip(":") for line in lines if line.startswith(("rule ", "localrule "))
    }
    assert rules == {"table", "figure", "matrix"}
