# What every stage shares: the checked configuration, the subjects, and the digests that decide
# what reruns. Nothing here writes but the configuration's own copy under results/config.

import json
import os
import sys
from functools import cache
from pathlib import Path

from raymark import figures, layout, tables
from raymark.config.project import project_of
from raymark.correspondence.config import correspondence_of
from raymark.core.errors import InputError
from raymark.workflow import inputs
from raymark.workflow.snapshot import freeze
from raymark.landmarks.table import read_landmark_set
from raymark.datasets.available import absences, only_present
from raymark.datasets import lookup
from raymark.datasets.lookup import of_experiments, only_rendered, shard_files
from raymark.workflow.run_log import doubts, failures, read_run
from raymark.core.digests import code_digest, modules_of
from raymark.workflow.preflight import preflight
from raymark.views.plan import subjects_of, view_count

try:
    PROJECT = project_of(config, " + ".join(map(str, workflow.configfiles)))
    SUBJECTS, SOURCES = PROJECT.sheet, PROJECT.declared
    for name, dataset in PROJECT.datasets.items():
        read_landmark_set(dataset.landmarks)
        for view_set in dataset.view_sets:
            subjects_of(dataset, view_set, SUBJECTS)
    if workflow.is_main_process:
        preflight(PROJECT, SUBJECTS, SOURCES)
except InputError as error:
    sys.exit(f"raymark: {error}")

# What there is data for; tables say what is left out.
PRESENT = only_present(PROJECT, SUBJECTS)
EXPERIMENTS = PRESENT.config.experiments
if workflow.is_main_process:
    for line in dict.fromkeys(map(str, absences(PROJECT, SUBJECTS))):
        print(line, file=sys.stderr)


def frozen_config():
    """Return the path of this run's configuration; a job on another node has it from the run's start."""
    handed_on = "" if workflow.is_main_process else os.environ.get("RAYMARK_CONFIG", "")
    return handed_on or str(freeze(PROJECT))


# The steps run by `python -m raymark`, of this interpreter unless a job deploys another, on this code
# and this configuration.
os.environ |= {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.pathsep.join(os.get_exec_path())}",
    "PYTHONPATH": str(Path(workflow.basedir) / "lib"),
    "RAYMARK_CONFIG": frozen_config(),
}


wildcard_constraints:
    dataset="[a-z0-9_]+",
    method="[a-z0-9_]+",
    view_set="[a-z0-9_]+",
    subject="[A-Za-z0-9_-]+",
    seed=r"\d+",
    shard=r"\d+",


def reads(step):
    """Return the function of a job's wildcards that tells what its step reads, by name."""
    return lambda wildcards: getattr(inputs, step)(PROJECT, **dict(wildcards.items()))


def dataset_config(*sections):
    """Return the named sections of a data set as a parameter, so that changes in them are seen.

    All but the titles, which only tables and figures print.
    """

    def of(wildcards):
        if wildcards.dataset in PROJECT.imports:
            return ""  # their files hold it
        dumped = PROJECT.datasets[wildcards.dataset].model_dump(
            mode="json", exclude={"view_sets": {"__all__": {"title"}}}
        )
        return json.dumps({section: dumped[section] for section in sections})

    return of


def scenario_of(wildcards):
    """Return what a view set changes in the image itself: a collimator, tools."""
    dataset = PROJECT.datasets[wildcards.dataset]
    return json.dumps(dataset.view_sets[wildcards.view_set].scenario())


def method_config(wildcards):
    return PROJECT.methods[wildcards.method].model_dump_json(exclude={"title"})


def landmark_types(wildcards):
    """Return the landmark types of a data set as a parameter."""
    return json.dumps(lookup.landmark_types(PROJECT, wildcards.dataset))


def import_file(wildcards):
    return next(f for f in PROJECT.config.imports if Path(f).stem == wildcards.dataset)


def method_threads(wildcards):
    return PROJECT.methods[wildcards.method].training.threads


def correspondence_threads(wildcards):
    return correspondence_of(PROJECT).training.threads


@cache
def step_code(step, *modules):
    """Return the digest of what a step does (`raymark.workflow.steps`), and of modules it finds by name."""
    return code_digest(f"raymark.workflow.steps.{step}", *modules)


def method_module(wildcards):
    return f"raymark.methods.{PROJECT.methods[wildcards.method].module}"


def method_code(wildcards):
    return step_code("experiments:train", method_module(wildcards))


def projector_module(dataset):
    """Name the module that renders a data set, whose code a step that renders depends on."""
    return f"raymark.projectors.{PROJECT.datasets[dataset].projector}"


def setup_reference(wildcards):
    """Return the beam that renders the plan of an experiment's images."""
    asked = [
        p["reference"]
        for p in PROJECT.setup_places()
        if (p["dataset"], p["method"]) == (wildcards.dataset, wildcards.method)
    ]
    return PROJECT.datasets[asked[0]].physics.model_dump_json() if asked else ""


def contrast_config(wildcards):
    names = PROJECT.config.contrast
    settings = {
        name: PROJECT.datasets[name].model_dump_json() for name in (names.kv, names.mv)
    }
    return json.dumps([settings, names.bone_labels])


def figure_code(wildcards):
    """Return the digest of a figure's own module, and of the projector with which it renders."""
    kind, parts = figures.parts_of(wildcards.figure)
    own = f"raymark.figures.{kind}"
    dataset = parts[0] if parts else ""
    if dataset in PROJECT.datasets and "raymark.projectors" in modules_of(own):
        return step_code("products:figure", own, projector_module(dataset))
    return step_code("products:figure", own)


def figure_needs(wildcards):
    return figures.needs(wildcards.figure, PRESENT)


def figure_labels(wildcards):
    kind, parts = figures.parts_of(wildcards.figure)
    return {"figure": kind.replace("_", " "), "of": ", ".join(parts)}
