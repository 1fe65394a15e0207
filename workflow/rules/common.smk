# What every stage shares: the checked configuration, the subjects, and the digests that decide
# what reruns. Nothing here writes but the configuration's own copy under results/config.

import json
import os
import sys
from functools import cache
from pathlib import Path

from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config

from raymark import figures, layout, tables
from raymark.config.project import project_given
from raymark.config.subjects import atlas_of, parent_of
from raymark.correspondence.config import correspondence_of
from raymark.core.errors import InputError
from raymark.workflow import inputs
from raymark.workflow.snapshot import freeze
from raymark.landmarks.table import read_landmark_set
from raymark.datasets.available import absences, only_present, present_datasets
from raymark.datasets import lookup, taking_part
from raymark.datasets.lookup import (
    of_experiments,
    only_rendered,
    shard_files,
    shown_by,
    trained_patients,
)
from raymark.datasets.taking_part import verdict_files, without_excluded
from raymark.workflow.run_log import doubts, failures, read_run
from raymark.core.digests import code_digest, modules_of
from raymark.workflow.preflight import preflight
from raymark.views.plan import split_in, subjects_of, view_count


def config_files():
    """Return what the main files say, without what `--config` on the command line does."""
    values = {}
    for file in workflow.configfiles:
        update_config(values, load_configfile(file))
    return values


try:
    PROJECT = without_excluded(
        project_given(
            config, config_files(), " + ".join(map(str, workflow.configfiles))
        )
    )
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
    refused = taking_part.refused(PROJECT, PROJECT.datasets)
    absent = map(str, absences(PROJECT, SUBJECTS))
    who = [*taking_part.told(PROJECT.left_out), *taking_part.told(refused)]
    for line in dict.fromkeys([*who, *absent]):
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


def one_of(subjects):
    """Return the pattern of a wildcard that is one of some subjects, or none where there are none."""
    return "|".join(subjects) or "(?!)"


BY_ATLAS = [name for name, row in SUBJECTS.items() if atlas_of(row) is not None]


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


def real_xrays_module(wildcards):
    """Name the module that makes shards of real X-rays, where the view set is of them."""
    is_real = PROJECT.datasets[wildcards.dataset].view_sets[wildcards.view_set].is_real
    return ["raymark.imports.real_xrays"] if is_real else []


def view_set_config(wildcards):
    """Return what the views of a subject in a view set depend on, beside the landmarks.

    Who else is shown does nothing to them, nor does what they are used for.
    """
    dataset = PROJECT.datasets[wildcards.dataset]
    others = {"title", "of", "role", "virtual_patients"}
    view_set = dataset.view_sets[wildcards.view_set].model_dump(
        mode="json", exclude=others
    )
    drawn = [dataset.isocentre, dataset.views_per_shard, PROJECT.config.seed]
    return json.dumps([view_set, *drawn])


def patients(wildcards):
    """Return whom a view set shows and who was trained on, as the subject sheet has it."""
    if wildcards.dataset in PROJECT.imports:
        return ""  # their files hold it
    dataset = PROJECT.datasets[wildcards.dataset]
    shown = shown_by(PROJECT, wildcards.dataset, wildcards.view_set)
    rows = [SUBJECTS[parent_of(subject)] for subject in shown]
    return json.dumps(
        [[row.patient, split_in(dataset, row)] for row in rows]
        + trained_patients(PROJECT, wildcards.dataset)
    )


def train_config(wildcards):
    """Return what a training depends on: not the limits by which its results are read."""
    return json.dumps(PROJECT.methods[wildcards.method].trained_by())


def detection_threshold(wildcards):
    return PROJECT.methods[wildcards.method].detection_threshold


def refined_threshold(wildcards):
    """Return from which confidence on a second stage takes the first one's points."""
    first = PROJECT.methods[wildcards.method].refines
    return PROJECT.methods[first].detection_threshold if first else None


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


def verdicts_on(*datasets):
    """List the verdicts on all CTs of some rendered data sets."""
    there = present_datasets(PROJECT)
    return [
        file
        for name in datasets
        if name in there
        for file in verdict_files(name, PROJECT.datasets[name].subjects)
    ]


def figure_verdicts(wildcards):
    """List the verdicts on the CTs of a figure's data set, or of all where it is of none."""
    _, parts = figures.parts_of(wildcards.figure)
    own = [name for name in parts[:1] if name in PROJECT.datasets]
    return verdicts_on(*(own or PROJECT.datasets))
