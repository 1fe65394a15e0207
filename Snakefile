from snakemake.utils import min_version

min_version("9.0")


configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/common_resources.smk"
include: "workflow/rules/common_setup.smk"
include: "workflow/rules/common_report.smk"
include: "workflow/rules/ingest.smk"
include: "workflow/rules/cohort.smk"
include: "workflow/rules/render.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/pose.smk"
include: "workflow/rules/setup.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/correspondence.smk"


report: "workflow/report/workflow.rst"


rule all:
    default_target: True
    input:
        all_tables,
        all_figures,
        all_correspondence,
        all_models,


onerror:
    print(f"\n{failures(read_run(log[0]))}\n", file=sys.stderr)
