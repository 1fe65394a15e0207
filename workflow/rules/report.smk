# Everything people look at: tables and figures, grouped by paper in the report.


rule table:
    input:
        lambda wildcards: tables.record(wildcards.table).needs(PROJECT),
    output:
        expand(
            layout.TABLE,
            format=[f for f in layout.TABLE_FORMATS if f != "html"],
            allow_missing=True,
        ),
        html=report(
            layout.TABLE.replace("{format}", "html"),
            category=lambda wildcards: tables.chapter_of(wildcards.table, PROJECT),
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
        caption=lambda wildcards: tables.record(wildcards.table).caption,
        code=lambda wildcards: code_digest(
            f"raymark.tables.{wildcards.table}", "raymark.tables._formats"
        ),
    shell:
        "python -m raymark table {wildcards.table} > {log} 2>&1"


rule figure:
    input:
        figure_inputs,
    output:
        svg=layout.FIGURE.replace("{format}", "svg"),
        png=report(
            layout.FIGURE.replace("{format}", "png"),
            category=figure_chapter,
            labels=figure_caption,
            caption="../report/figure.rst",
        ),
    log:
        "logs/figure/{figure}.log",
    wildcard_constraints:
        figure="[a-z0-9_-]+",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(3000),
        runtime=minutes(30),
    params:
        config=shown_settings(),
        shows=lambda wildcards: FIGURES[wildcards.figure.split("-")[0]][0],
        code=code_digest("raymark.figures.make"),
    shell:
        "python -m raymark figure {wildcards.figure} > {log} 2>&1"


all_tables = expand(
    layout.TABLE, table=tables.table_names(PROJECT), format=layout.TABLE_FORMATS
)
all_figures = expand(
    layout.FIGURE, figure=figure_names(PRESENT), format=layout.FIGURE_FORMATS
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
