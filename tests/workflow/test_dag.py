"""The workflow as a whole: what it refuses, what it reruns, and that its results are reproducible."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from raymark import cli
from raymark.config.project import read_project
from raymark.core.errors import InputError
from raymark.workflow import inputs, reasons
from raymark.workflow.snapshot import freeze
from tests.workflow.conftest import CONFIG, DATASET, ROOT, make_project, method, steps_of
from tests.workflow.shown import results_of, shown


def tables(project):
    return project.read("results/tables/*") | project.read("results/errors/**/*.parquet")


def test_demo_and_paper_configurations_plan():
    for extra in ([], ["--configfile", "config/paper.yaml"]):
        command = [sys.executable, "-m", "snakemake", "--dry-run", "--cores", "1", "all", *extra]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def planned(*arguments: str) -> str:
    """Return what a dry run of the product itself, with some main file, says it would run."""
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--forceall", "--nolock"]
    command += ["--quiet", "rules", "--cores", "1", "all", "--configfile", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_users_first_configuration_plans_nothing_else_of_the_demo():
    text = planned("config/own.yaml")
    assert "ingest" in text
    assert not [word for word in ("correspondence", "contrast", "not present") if word in text]
    own, demo = (yaml.safe_load((ROOT / f"config/{n}.yaml").read_text()) for n in ("own", "config"))
    of_all = {"seed", "sources", "setup"}  # where nothing asks for set-up errors it does nothing
    assert set(demo) - of_all <= set(own)


def test_a_main_file_is_read_alike_by_every_command(tmp_path, monkeypatch):
    """The copy that a run works from is named by all that the configuration says."""
    values = yaml.safe_load((ROOT / "config/own.yaml").read_text())
    values = {key: values[key] for key in ("subjects", "datasets", "methods", "experiments")}
    copies = []
    for way in ("in the folder", "elsewhere", "by hand"):
        folder = tmp_path / way
        folder.mkdir()
        (folder / "config").symlink_to(ROOT / "config")  # the demo's main file is at hand
        (folder / "my.yaml").write_text(yaml.safe_dump(values))
        monkeypatch.chdir(ROOT if way == "elsewhere" else folder)
        if way == "by hand":
            freeze(read_project("my.yaml"))
        else:
            command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
            command += ["--directory", str(folder)] if way == "elsewhere" else []
            command += ["--dry-run", "--quiet", "all", "--cores", "1", "--configfile"]
            mine = str(folder / "my.yaml") if way == "elsewhere" else "my.yaml"
            done = subprocess.run([*command, mine], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
        (copy,) = folder.glob("results/config/*/config.yaml")
        copies.append((copy.parent.name, yaml.safe_load(copy.read_text())["pose"]["refined_views"]))
    assert copies == [copies[0]] * 3
    assert copies[0][1] == 24  # the default, not the demo's


def test_the_documented_configuration_of_an_import_plans_no_ct(tmp_path):
    page = (ROOT / "docs/imports.md").read_text()
    (tmp_path / "c.yaml").write_text(page.split("```yaml\n")[1].split("```")[0])
    text = planned(str(tmp_path / "c.yaml"))
    assert not [word for word in ("ingest", "virtual_patient", "correspondence") if word in text]


def test_everything_promised_is_there(finished):
    for stem in ("methods", "data"):
        for suffix in ("csv", "md", "tex", "html"):
            assert (finished.folder / f"results/tables/{stem}.{suffix}").stat().st_size > 0
    errors = pd.read_parquet(finished.folder / "results/errors/balls/narrow/0/novel.parquet")
    assert len(errors) == 5 * 4 * 3
    assert errors.seen_in_training.all()


def test_the_report_shows_every_table_and_figure(finished):
    finished.snakemake("--report", "report.html", "--", "all")
    results = results_of(finished.folder / "report.html")
    made = {*finished.read("results/tables/*.html"), *finished.read("results/report/*.jpg")}
    assert shown(results) == len(results) == len(made)
    pictures = finished.read("results/figures/*.png")
    assert {Path(file).stem for file in pictures} == {
        Path(f).stem for f in made if f.endswith(".jpg")
    }


def test_a_deleted_model_is_made_again_although_its_results_are_there(finished):
    model = finished.folder / "results/models/balls/narrow/0/model.safetensors"
    model.rename(model.with_suffix(".kept"))
    planned = finished.planned()
    model.with_suffix(".kept").rename(model)
    assert "train" in planned
    assert "render" not in planned


OTHER = method("other")
WIDE = DATASET["view_sets"]["novel"] | {"sampling": {"kind": "orbit", "count": 4}}
UNSEEN = DATASET["view_sets"]["novel"] | {"of": "test"}
SHEET = "subject\tpatient\tct\tlandmarks\tlabels\tsplit\n" + "".join(
    f"{name}\t{patient}\tct.nii.gz\tpoints.csv\t\t{split}\n"
    for name, patient, split in (("ball_patient", "p1", "train"), ("another", "p2", "test"))
)


def evaluating(*view_sets):
    experiments = [e | {"evaluate": ["novel", *view_sets]} for e in CONFIG["experiments"]]
    return CONFIG | {"experiments": experiments}


def with_training(**values):
    return OTHER | {"training": OTHER["training"] | values}


def with_view_set(**view_sets):
    return DATASET | {"view_sets": DATASET["view_sets"] | view_sets}


# What is written, the steps that then run, and what alone of shards, models, predictions they make.
CHANGES: dict[str, tuple] = {
    "nothing": ({}, set(), set()),
    "another method's learning rate": (
        {"other.yaml": with_training(learning_rate=2e-3)},
        {"train", "predict", "evaluate", "table", "figure"},
        {"models/balls/other", "predictions/balls/other"},
    ),
    "titles, and limits that only tables use": (
        {
            "balls.yaml": with_view_set(novel=DATASET["view_sets"]["novel"] | {"title": "New"})
            | {"title": "Spheres"},
            "other.yaml": with_training(diverged_above_share=0.1) | {"title": "The other"},
            "config.yaml": CONFIG | {"pose": {"captured_mm": 3.0}},
        },
        {"table", "figure"},
        set(),
    ),
    "from which confidence on a landmark is detected": (
        {"other.yaml": OTHER | {"detection_threshold": 0.6}},
        {"predict", "evaluate", "table", "figure"},
        {"predictions/balls/other"},
    ),
    "the detector": (
        {"balls.yaml": DATASET | {"detector": DATASET["detector"] | {"pixel_mm": 3.0}}},
        {"views", "render", "train", "predict", "evaluate", "mean_position", "table", "figure"},
        {"shards/balls", "models/balls", "predictions/balls"},
    ),
    "a view set to evaluate on": (
        {"balls.yaml": with_view_set(wide=WIDE), "config.yaml": evaluating("wide")},
        {"views", "render", "predict", "evaluate", "mean_position", "table", "figure"},
        {"shards/balls/wide", *(f"predictions/balls/{m}/0/wide" for m in ("narrow", "other"))},
    ),
    "a test patient": (
        {
            "balls.yaml": with_view_set(unseen=UNSEEN)
            | {"subjects": ["ball_patient", "another"], "cohort": {"count": 1}},
            "subjects.tsv": SHEET,
            "config.yaml": evaluating("unseen"),
        },
        {"ingest", "landmarks", "views", "render", "predict", "evaluate", "mean_position"}
        | {"table", "figure"},
        {"shards/balls/unseen/another"}
        | {f"predictions/balls/{m}/0/unseen" for m in ("narrow", "other")},
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_only_what_a_change_concerns_is_made_again(finished, change):
    files, steps, makes = CHANGES[change]
    before = {name: (finished.folder / name).read_text() for name in files}
    for name, values in files.items():
        if isinstance(values, str):
            (finished.folder / name).write_text(values)
        else:
            finished.write(name, values)
    try:
        text = finished.plan()
    finally:
        for name, values in before.items():
            (finished.folder / name).write_text(values)
    assert steps_of(text) - {"all"} == steps
    made = [file.removeprefix("results/") for file in reasons.planned(text)]
    large = [file for file in made if file.startswith(("shards/", "models/", "predictions/"))]
    assert {place for place in makes for file in large if file.startswith(f"{place}/")} | {
        place for place in makes for file in large if file.startswith(f"{place}.")
    } == makes
    assert not [file for file in large if not file.startswith(tuple(makes))]


PATIENT = {"dataset": "balls", "subject": "ball_patient"}
SHOWN = {"dataset": "balls", "view_set": "novel"}
SCORED = {"dataset": "balls", "method": "narrow", "seed": "0", "view_set": "novel"}
CONFIGURATION = ("config.yaml", "balls.yaml", "narrow.yaml", "other.yaml", "subjects.tsv")


@pytest.mark.parametrize(
    ("step", "place"),
    [
        ("ingest", PATIENT),
        ("landmarks", PATIENT),
        ("virtual_patient", PATIENT | {"subject": "ball_patient-v001"}),
        ("views", {"dataset": "balls"}),
        ("render", SHOWN | {"subject": "ball_patient", "shard": "1"}),
        ("train", {"dataset": "balls", "method": "narrow", "seed": "0"}),
        ("predict", SCORED),
        ("evaluate", SCORED),
        ("mean_position", SHOWN),
    ],
)
def test_a_step_makes_the_same_of_its_declared_files_alone(
    finished, tmp_path, monkeypatch, step, place
):
    """Tables and figures: tests/unit/tables/test_records.py and tests/unit/figures/test_records.py."""
    monkeypatch.chdir(finished.folder)
    declared = getattr(inputs, step)(read_project("config.yaml"), **place).values()
    files = [file for files in declared for file in ([files] if isinstance(files, str) else files)]
    for file in map(Path, {*CONFIGURATION, *files}):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, tmp_path / file)
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    command = {"predict": "predict-views"}.get(step, step.replace("_", "-"))
    assert cli.main([command, *place.values(), "--config", "config.yaml"]) == 0
    made = [path for path in set(tmp_path.rglob("*")) - before if path.is_file()]
    kept = [path for path in made if path.name != "checkpoint.safetensors"]  # where it goes on from
    assert kept
    for path in kept:
        other = finished.folder / path.relative_to(tmp_path)
        if path.name == "losses.csv":
            measured = ["seconds", "waiting_share"]
            tables_of = [pd.read_csv(p).drop(columns=measured) for p in (path, other)]
            pd.testing.assert_frame_equal(*tables_of)
        else:
            assert path.read_bytes() == other.read_bytes()


def test_a_touched_source_makes_nothing_run(finished):
    """The CT is larger than what Snakemake looks into by itself (1 MB): the default profile says more."""
    ct = finished.folder / "ct.nii.gz"
    assert ct.stat().st_size > 10**6
    ct.touch()
    assert finished.planned() == set()


def test_why_a_result_is_out_of_date(finished):
    errors, table = "results/errors/balls/other/0/novel.parquet", "results/tables/methods.csv"
    finished.write("other.yaml", with_training(epochs=3))
    try:
        found = reasons.planned(finished.plan())
    finally:
        finished.write("other.yaml", OTHER)
    model = "results/models/balls/other/0/model.safetensors, from which it is made,"
    cause = f"{model} depends on settings that changed: training.epochs was 2 and is 3"
    assert reasons.told(errors, found) == f"{errors} is out of date: {cause}"
    assert reasons.told(table, found).endswith(cause)
    narrow = "results/errors/balls/narrow/0/novel.parquet"
    assert reasons.told(narrow, found) == f"{narrow} is up to date"


def test_why_of_a_file_that_is_no_result(finished, monkeypatch):
    monkeypatch.chdir(finished.folder)
    options = ["--snakefile", str(ROOT / "Snakefile"), "--configfile", "config.yaml"]
    with pytest.raises(InputError, match=r"nonsense: .*No rule to produce nonsense"):
        reasons.why("nonsense", options)


@pytest.mark.parametrize(
    ("file", "change", "parts"),
    [
        ("config.yaml", {"datasetz": []}, ["datasetz", "datasets"]),
        ("config.yaml", {"preset": "huge"}, ["preset", "demo", "paper"]),
        ("balls.yaml", {"detectors": {}}, ["balls.yaml", "detectors", "detector"]),
        ("balls.yaml", {"subjects": ["nobody"]}, ["balls", "nobody", "ball_patient"]),
        ("narrow.yaml", {"training": {"epochs": 0}}, ["narrow.yaml", "epochs", "0"]),
    ],
)
def test_wrong_configuration_is_refused_before_any_job(tmp_path, file, change, parts):
    project = make_project(tmp_path / "p")
    values = yaml.safe_load((project.folder / file).read_text())
    project.write(file, values | change)
    done = project.snakemake("all", check=False)
    text = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Traceback" not in text
    for part in parts:
        assert part in text
    assert not (project.folder / "results/volumes").exists()


def test_a_ct_that_is_gone_is_refused_although_its_results_are_there(finished):
    ct, elsewhere = finished.folder / "ct.nii.gz", finished.folder / "moved.nii.gz"
    ct.rename(elsewhere)
    try:
        done = finished.snakemake("--dry-run", "all", check=False)
    finally:
        elsewhere.rename(ct)
    assert done.returncode != 0
    assert "subjects.tsv, line 2, column ct: 'ct.nii.gz' is not there" in done.stderr


def test_neither_shards_nor_cores_nor_a_kill_change_a_result(finished, tmp_path):
    project = make_project(tmp_path / "killed")
    project.write("balls.yaml", DATASET | {"views_per_shard": 7})
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--cores", "2", "all", "--configfile", "config.yaml"]
    run = subprocess.Popen(
        command,
        cwd=project.folder,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while run.poll() is None and not list(project.folder.glob("results/shards/*/*/*/*.zip")):
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert not (project.folder / "results/tables/methods.csv").exists()
    project.snakemake("--unlock")
    made = finished.read("results/tables/*")
    project.snakemake("--cores", "1", "--", *made)  # no figures: they are not compared
    assert tables(project) == tables(finished)


def test_a_project_without_methods_renders_and_no_more(tmp_path):
    project = make_project(tmp_path / "rendering")
    view_sets = {"val": DATASET["view_sets"]["novel"]}
    project.write("balls.yaml", DATASET | {"view_sets": view_sets})
    project.write("config.yaml", CONFIG | {"methods": [], "experiments": []})
    steps = {"ingest", "landmarks", "views", "render", "table", "figure", "all"}
    assert project.planned() == steps


def test_an_experiment_that_evaluates_nothing_trains(tmp_path):
    project = make_project(tmp_path / "training")
    experiment = {"dataset": "balls", "method": "narrow", "evaluate": []}
    project.write("config.yaml", CONFIG | {"experiments": [experiment]})
    planned = project.planned()
    assert "train" in planned
    assert not {"predict", "evaluate"} & planned


@pytest.mark.parametrize(("view_set", "how"), [("train", "trained"), ("validation", "chosen")])
def test_what_methods_learn_from_is_not_evaluated(tmp_path, view_set, how):
    project = make_project(tmp_path / "seen")
    experiment = {"dataset": "balls", "method": "narrow", "evaluate": [view_set]}
    project.write("config.yaml", CONFIG | {"experiments": [experiment]})
    told = project.snakemake("--dry-run", check=False).stderr
    assert (
        f"evaluates the view set '{view_set}' of 'balls', by whose images the methods are {how}"
        in told
    )


def test_braces_in_the_name_of_a_file(tmp_path):
    project = make_project(tmp_path / "braces")
    sheet = project.folder / "subjects.tsv"
    (project.folder / "ct.nii.gz").rename(project.folder / "ct {1}.nii.gz")
    sheet.write_text(sheet.read_text().replace("ct.nii.gz", "ct {1}.nii.gz"))
    told = project.snakemake("--dry-run", check=False).stderr
    assert "ct {1}.nii.gz: has braces in its name" in told
