# Everything people look at: tables and figures, grouped by paper in the report.


rule table:
    input:
        errors=of_experiments(layout.ERRORS, EXPERIMENTS),
        baseline=of_experiments(layout.MEAN_POSITION, EXPERIMENTS),
        losses=of_experiments(layout.LOSSES, EXPERIMENTS),
        views=expand(layout.VIEWS, dataset=[*PROJECT.datasets, *IMPORTS]),
        quality=every_quality_row(),
        papers=paper_files(),
        poses=pose_table_inputs,
        setup=setup_table_inputs,
    output:
        expand(
            layout.TABLE,
            format=[f for f in layout.TABLE_FORMATS if f != "html"],
            allow_missing=True,
        ),
        html=report(
            layout.TABLE.replace("{format}", "html"),
            category=table_chapter,
            labels={"table": "{table}"},
            caption="../report/table.rst",
        ),
    log:
        "logs/table/{table}.log",
    wildcard_constraints:
        table="[a-z0-9_]+",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(1500, mb_per_input_mb=20),
        runtime=minutes(30, by_size(mb_per_minute=10)),
    params:
        config=shown_settings(),
        code=code_digest("raymark.tables"),
    shell:
        "python -m raymark table {wildcards.table} > {log} 2>&1"


rule figure:
    input:
        files=figure_needs,
        cts=figure_cts,
    output:
        svg=layout.FIGURE.replace("{format}", "svg"),
        png=report(
            layout.FIGURE.replace("{format}", "png"),
            category=lambda wildcards: figures.chapter_of(wildcards.figure, PRESENT),
            labels=figure_labels,
            caption="../report/figure.rst",
        ),
    log:
        "logs/figure/{figure}.log",
    wildcard_constraints:
        figure="[a-z0-9_-]+",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(3000, cts=60),
        runtime=minutes(30),
    params:
        config=shown_settings(),
        caption=lambda wildcards: figures.caption_of(wildcards.figure),
        code=lambda wildcards: code_digest(
            f"raymark.figures.{figures.parts_of(wildcards.figure)[0]}"
        ),
    shell:
        "python -m raymark figure {wildcards.figure} > {log} 2>&1"


all_tables = expand(
    layout.TABLE, table=table_names(PROJECT), format=layout.TABLE_FORMATS
)
all_figures = expand(
    layout.FIGURE, figure=figures.figure_names(PRESENT), format=layout.FIGURE_FORMATS
)
# Nothing else needs a model once its predictions are there, but people do.
all_models = of_experiments(layout.MODEL, EXPERIMENTS)
if PROJECT.config.correspondence:
    all_models.append(layout.CORRESPONDENCE_MODEL)


rule matrix:
    """Methods by data sets: the two tables and the figure, nothing else."""
    input:
        expand(
            layout.TABLE, table=["matrix", "comparisons"], format=layout.TABLE_FORMATS
        ),
        expand(layout.FIGURE, figure="matrix", format=layout.FIGURE_FORMATS),
