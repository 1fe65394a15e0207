import sys

from snakemake.utils import min_version

min_version("9.0")


# A main file of one's own stands alone; the target `deepfluoro` has one.
if not workflow.overwrite_configfiles:

    configfile: f"config/{'deepfluoro' if 'deepfluoro' in sys.argv else 'config'}.yaml"


# The image of envs/Dockerfile, where `--software-deployment-method apptainer` asks for it.
container: "container.sif"


include: "workflow/rules/common.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/patients.smk"
include: "workflow/rules/ct.smk"
include: "workflow/rules/landmarks.smk"
include: "workflow/rules/views.smk"
include: "workflow/rules/imports.smk"
include: "workflow/rules/rendering.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/detection.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/pose.smk"
include: "workflow/rules/radiotherapy.smk"
include: "workflow/rules/correspondence.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"


report: "workflow/report/workflow.rst"


rule all:
    default_target: True
    input:
        all_tables,
        all_figures,
        all_models,
        all_only_rendered,


rule matrix:
    """Methods by data sets: the two tables and the figure, nothing else."""
    input:
        expand(
            layout.TABLE, table=["matrix", "comparisons"], format=layout.TABLE_FORMATS
        ),
        expand(layout.FIGURE, figure="matrix", format=layout.FIGURE_FORMATS),


rule deepfluoro:
    """Real fluoroscopy of known pose, each specimen left out once (config/deepfluoro.yaml)."""
    input:
        all_tables,
        all_figures,


rule correspondence:
    """The table and the figures of the matches between CT slices, nothing else."""
    input:
        [
            f
            for f in all_tables + all_figures
            if Path(f).stem.startswith("correspondence")
        ],


onsuccess:
    if told := doubts(read_run(log[0])):
        print(f"\n{told}\n", file=sys.stderr)


onerror:
    print(f"\n{failures(read_run(log[0]))}\n", file=sys.stderr)
