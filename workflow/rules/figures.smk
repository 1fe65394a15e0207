# One job a figure; what it reads, shows and where it belongs is told by its record.


rule figure:
    input:
        files=figure_needs,
        cts=figure_cts,
        verdicts=figure_verdicts,
    output:
        svg=layout.FIGURE.replace("{format}", "svg"),
        png=layout.FIGURE.replace("{format}", "png"),
        small=report(
            layout.FIGURE_IN_REPORT,
            category=lambda wildcards: figures.chapter_of(wildcards.figure, PRESENT),
            labels=lambda wildcards: figures.labels_of(wildcards.figure),
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
        config=lambda wildcards: figures.settings_of(wildcards.figure, PRESENT),
        caption=lambda wildcards: figures.caption_of(wildcards.figure, PRESENT),
        code=figure_code,
    shell:
        "python -m raymark figure {wildcards.figure} > {log} 2>&1"


figure_names = figures.figure_names(PRESENT)
all_figures = expand(
    layout.FIGURE, figure=figure_names, format=layout.FIGURE_FORMATS
) + expand(layout.FIGURE_IN_REPORT, figure=figure_names)
