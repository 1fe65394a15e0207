# Annotated X-rays become shards.


rule import_2d:
    """Annotated X-rays; what they hold decides their shards, found through these two tables."""
    input:
        unpack(reads("import_2d")),
    output:
        views=layout.VIEWS,
        images=layout.IMPORTED_IMAGES,
        shards=directory(layout.IMPORTED_SHARDS),
    log:
        "logs/import_2d/{dataset}.log",
    wildcard_constraints:
        dataset="|".join(PROJECT.imports) or "none",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=minutes(20, by_count(imported_files, per_minute=10)),
    params:
        file=import_file,
        settings=lambda wildcards: PROJECT.imports[wildcards.dataset].model_dump_json(
            exclude={"title"}
        ),
        code=lambda wildcards: step_code(
            "data:import_2d",
            type(PROJECT.imports[wildcards.dataset].annotations).__module__,
        ),
    shell:
        "python -m raymark import-2d {params.file:q} > {log} 2>&1"
