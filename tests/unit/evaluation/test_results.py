"""Results as the workflow writes them: read whole, with what diverged and what was seen."""

import shutil
from pathlib import Path

import pandas as pd

from raymark import layout
from raymark.evaluation.errors import write_errors
from raymark.evaluation.results import read_results
from tests.unit.evaluation.examples import LANDMARKS, METHODS, errors_of, project_of_examples
from tests.unit.imports.examples import ROOT

VIEWS = {"cpm": [4, 4], "unet": [40, 40, 40]}


def write_losses(method, diverged=False, share=0.01):
    path = Path(layout.LOSSES.format(dataset="pelvis", method=method, seed=0))
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = ["epoch", "train_loss", "validation_loss", "validation_rmse_px"]
    rows = pd.DataFrame({"views": VIEWS.get(method, [10])}).assign(**dict.fromkeys(numbers, 1.0))
    rows["validation_rmse_share"] = share
    ended = [False] * (len(rows) - 1) + [diverged]
    rows.assign(diverged=ended).to_csv(path, index=False)


def test_results_are_read_from_where_the_workflow_writes_them(tmp_path, monkeypatch):
    """Errors, baselines, losses with the flag of divergence, and published figures."""
    monkeypatch.chdir(tmp_path)
    project = project_of_examples()
    shutil.copytree(ROOT / "config/papers", "config/papers")
    sheet = "subject\tpatient\tct\tlandmarks\tlabels\tsplit\npelvis\tp\tct.nii\tp.csv\t\ttrain\n"
    Path("config/subjects.tsv").write_text(sheet)
    names = "".join(f"  - {{name: {name}}}\n" for name in LANDMARKS)
    Path(project.datasets["pelvis"].landmarks).write_text(f"landmarks:\n{names}")
    for method in METHODS:
        place = {"dataset": "pelvis", "method": method, "seed": 0, "view_set": "grid"}
        write_errors(errors_of(method), layout.ERRORS.format(**place))
    write_losses("cpm")
    write_losses("unet", diverged=True)
    write_losses("first")
    first = project.methods["unet"].model_copy(update={"name": "first"})
    tuned = project.methods["cpm"].model_copy(update={"start_from": "first"})
    project.methods.update(first=first, cpm=tuned)
    results = read_results(project)
    assert results.diverged == {("pelvis", "unet", 0)}
    write_losses("cpm", share=0.3)
    assert read_results(project).diverged == {("pelvis", "unet", 0), ("pelvis", "cpm", 0)}
    limits = tuned.training.model_copy(update={"diverged_above_share": 0.4})
    project.methods["cpm"] = tuned.model_copy(update={"training": limits})
    assert read_results(project).diverged == {("pelvis", "unet", 0)}
    assert results.views_seen == {("pelvis", "cpm"): 8 + 10, ("pelvis", "unet"): 120}
    assert [part.method for part in results.parts] == list(METHODS)
    assert len(results.errors) == sum(len(errors_of(method)) for method in METHODS)
    unet = next(part for part in results.parts if part.method == "unet")
    assert unet.diverged
    paper, row = results.published(unet)
    assert (paper.name, row.values["rmse_px"]) == ("pel", 8.58)
