"""One CT of several that cannot be used, or that the sheet excludes: the others go on, and tables say so."""

import json
import shutil

import pandas as pd
import pytest

from raymark.core.left_out import is_left_out
from raymark.workflow import reasons
from raymark.workflow.integrity import damage, files_to_check
from tests.workflow.conftest import CONFIG, DATASET, LANDMARKS, make_project, steps_of, write_ct

UNSEEN = DATASET["view_sets"]["novel"] | {"of": "test"}
HEADER = "subject\tpatient\tct\tlandmarks\tlabels\tsplit\texclude\n"
SUBJECTS = {"ball_patient": "train", "second": "train", "third": "test"}
MADE = [f"results/tables/{name}.md" for name in ("cts", "data", "methods")]


def sheet(**exclude):
    """A line for each subject, of its own patient and CT."""
    rows = [
        f"{name}\t{name}\t{name}.nii.gz\tpoints.csv\t\t{split}\t{exclude.get(name, '')}\n"
        for name, split in SUBJECTS.items()
    ]
    return HEADER + "".join(rows)


def write_shifted_ct(path, number):
    """Write a CT that is no other subject's: two CTs alike are taken for one patient's."""
    write_ct(path, ball_hu=1200.0 + 20 * number)


def plan(project):
    done = project.snakemake("--dry-run", *MADE)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Three subjects, of which `second` has a CT cut short, and some tables made of them."""
    project = make_project(tmp_path_factory.mktemp("left_out") / "project")
    for number, name in enumerate(SUBJECTS):
        write_shifted_ct(project.folder / f"{name}.nii.gz", number)
    whole = project.folder / "second.nii.gz"
    shutil.copy(whole, project.folder / "whole.nii.gz")
    whole.write_bytes(whole.read_bytes()[:1000])
    (project.folder / "subjects.tsv").write_text(sheet())
    views = DATASET["view_sets"] | {"unseen": UNSEEN}
    who = {"subjects": list(SUBJECTS), "view_sets": views, "views_per_shard": 100}
    project.write("balls.yaml", DATASET | who)
    experiment = {"dataset": "balls", "method": "narrow", "evaluate": ["novel", "unseen"]}
    project.write("config.yaml", CONFIG | {"experiments": [experiment]})
    project.plan_before = plan(project)
    project.run = project.snakemake(*MADE)
    return project


def test_the_others_go_on_and_nobody_is_counted_who_is_left_out(project):
    errors = pd.read_parquet(project.folder / "results/errors/balls/narrow/0/novel.parquet")
    assert set(errors.subject) == {"ball_patient"}
    assert len(errors) == 5 * 4 * len(LANDMARKS)
    data = pd.read_csv(project.folder / "results/tables/data.csv").set_index("view_set")
    counted = ["patients", "virtual_patients", "views"]
    assert data.loc["train", counted].tolist() == [1, 1, 16]
    assert data.loc["unseen", counted].tolist() == [1, 0, 20]
    cts = pd.read_csv(project.folder / "results/tables/cts.csv")
    assert set(cts.subject) == {"ball_patient", "third"}


def test_a_dry_run_knew_every_job(project):
    made = {file for file in reasons.planned(project.plan_before) if file.startswith("results/")}
    assert made
    assert not [file for file in made if not (project.folder / file).exists()]
    assert steps_of(plan(project)) == set()


def test_who_is_missing_is_said_by_the_job_the_run_the_next_run_and_every_table(project):
    reason = "second.nii.gz: "
    assert reason in (project.folder / "logs/ingest/balls/second.log").read_text()
    told = project.run.stdout + project.run.stderr
    repeated = told.split("warnings, in the tables of the results too:")[1]
    assert "Warning: second is left out of balls" in repeated
    assert "Left out of balls: second: second.nii.gz: " in plan(project)
    for table in MADE:
        text = (project.folder / table).read_text()
        assert "Left out of balls: second: second.nii.gz" in text, table


def test_its_files_are_one_line_and_no_damage(project, monkeypatch):
    monkeypatch.chdir(project.folder)
    left_out = {str(p) for p in project.folder.glob("results/**/second*/**/*") if p.is_file()}
    verdict = project.folder / "results/volumes/balls/second/verdict.json"
    assert json.loads(verdict.read_text())["refused"].startswith("second.nii.gz: ")
    assert all(map(is_left_out, left_out - {str(verdict)}))
    assert len(left_out) > 8
    assert not list(damage(files_to_check("results")))


def test_the_table_of_views_has_no_more_than_is_shown(project):
    views = pd.read_parquet(project.folder / "results/views/balls.parquet")
    assert set(views.subject) == {"ball_patient", "ball_patient-v001", "third"}


def test_a_mended_ct_makes_its_own_files_again_and_what_shows_it(project):
    broken = (project.folder / "second.nii.gz").read_bytes()
    shutil.copy(project.folder / "whole.nii.gz", project.folder / "second.nii.gz")
    try:
        text = plan(project)
    finally:
        (project.folder / "second.nii.gz").write_bytes(broken)
    made = reasons.planned(text)
    shards = [file for file in made if file.startswith("results/shards/")]
    assert shards
    assert all("/second" in file for file in shards)
    assert "train" in steps_of(text)


def test_who_is_excluded_by_hand_touches_nobody_else_and_comes_back_alone(project):
    listed = project.folder / "subjects.tsv"
    listed.write_text(sheet(third="moved while scanned"))
    try:
        text = plan(project)
        project.snakemake("results/tables/data.md")
    finally:
        listed.write_text(sheet())
    back = plan(project)
    assert steps_of(text) == {"views", "table"}
    assert steps_of(back) == {"views", "table"}
    line = "Left out of balls: third: excluded: moved while scanned"
    assert line in text
    assert line in (project.folder / "results/tables/data.md").read_text()


def test_a_split_of_which_every_ct_is_refused_ends_the_run_with_one_line(project, tmp_path):
    alone = make_project(tmp_path / "alone")
    (alone.folder / "ct.nii.gz").write_bytes(b"nothing")
    done = alone.snakemake("all", check=False)
    assert done.returncode != 0
    told = done.stdout + done.stderr
    assert (
        "data set balls: every CT of the split 'train' was refused; ball_patient: ct.nii.gz: "
        in told
    )
    assert "Traceback" not in told
    assert not list(alone.folder.glob("results/tables/*"))


def test_a_sheet_that_excludes_everybody_is_refused(tmp_path):
    project = make_project(tmp_path / "p")
    (project.folder / "subjects.tsv").write_text(
        HEADER + "ball_patient\tp1\tct.nii.gz\tpoints.csv\t\ttrain\tnot now\n"
    )
    told = project.snakemake("--dry-run", "all", check=False).stderr
    assert "subjects.tsv, column exclude: excludes every subject of the data set 'balls'" in told
