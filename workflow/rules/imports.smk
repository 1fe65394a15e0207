# Annotated X-rays become shards; calibrated data sets have CTs and points of the subjects too.


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


rule import_calibrated:
    """A subject's CT, labels and landmarks out of a file that has X-rays of known pose."""
    input:
        unpack(reads("import_calibrated")),
    output:
        **{
            what: layout.CALIBRATED.replace("{file}", file)
            for what, file in layout.CALIBRATED_FILES.items()
        },
    log:
        "logs/import_calibrated/{calibrated}/{subject}.log",
    wildcard_constraints:
        calibrated="|".join(PROJECT.calibrated) or "none",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(6000),
        runtime=minutes(20),
    params:
        layout=lambda wildcards: PROJECT.calibrated[wildcards.calibrated].layout,
        code=step_code("data:import_calibrated"),
    shell:
        "python -m raymark import-calibrated {wildcards.calibrated} {wildcards.subject}"
        " > {log} 2>&1"
