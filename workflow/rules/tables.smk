# One job a table; what it reads, prints and where it belongs is told by its record.


rule table:
    input:
        files=lambda wildcards: tables.record(wildcards.table).needs(PROJECT),
        verdicts=verdicts_on(*PROJECT.datasets),  # every table says who is left out,
    output:
        expand(
            layout.TABLE,
            format=[f for f in layout.TABLE_FORMATS if f != "html"],
            allow_missing=True,
        ),
        html=report(
            layout.TABLE.replace("{format}", "html"),
            category=lambda wildcards: tables.chapter_of(wildcards.table, PROJECT),
            labels=lambda wildcards: tables.labels_of(wildcards.table),
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
        config=lambda wildcards: tables.settings_of(wildcards.table, PROJECT),
        left_out=json.dumps(PROJECT.left_out),
        caption=lambda wildcards: tables.record(wildcards.table).caption,
        code=lambda wildcards: step_code(
            "products:table", f"raymark.tables.{wildcards.table}"
        ),
    shell:
        "python -m raymark table {wildcards.table} > {log} 2>&1"


all_tables = expand(
    layout.TABLE, table=tables.table_names(PROJECT), format=layout.TABLE_FORMATS
)
