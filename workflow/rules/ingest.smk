# CT and landmarks of real subjects, in one canonical form.


rule fetch:
    output:
        layout.SOURCE,
    log:
        "logs/fetch/{source}/{file}.log",
    wildcard_constraints:
        source="|".join(SOURCES),
        file="[^/]+",
    localrule: True  # a cluster's nodes may have no way to the internet
    conda:
        "../../envs/environment.yaml"
    params:
        declared=lambda wildcards: SOURCES[wildcards.source].model_dump_json(),
    shell:
        "python -m raymark fetch {wildcards.source} > {log} 2>&1"


rule ingest:
    input:
        ct=lambda wildcards: file_of(SUBJECTS[wildcards.subject].ct),
        labels=lambda wildcards: [
            file_of(f) for f in [SUBJECTS[wildcards.subject].labels] if f
        ],
    output:
        ct=layout.CT,
        labels=layout.LABELS,
        quality=layout.QUALITY,
    log:
        "logs/ingest/{dataset}/{subject}.log",
    wildcard_constraints:
        subject="|".join(SUBJECTS),
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(1000, ct=60),
        runtime=minutes(15, by_size(mb_per_minute=10)),
    params:
        config=dataset_config("ct"),
        code=code_digest("raymark.ct"),
    shell:
        "python -m raymark ingest {wildcards.dataset} {wildcards.subject} > {log} 2>&1"


rule landmarks:
    input:
        ct=layout.CT,
        labels=layout.LABELS,
        points=lambda wildcards: file_of(SUBJECTS[wildcards.subject].landmarks),
        names=landmark_file,
    output:
        layout.LANDMARKS,
    log:
        "logs/landmarks/{dataset}/{subject}.log",
    wildcard_constraints:
        subject="|".join(SUBJECTS),
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(1000, ct=20),
        runtime=minutes(15, by_size(mb_per_minute=10)),
    params:
        config=dataset_config("landmarks", "use_landmarks"),
        code=code_digest("raymark.landmarks.table", "raymark.landmarks.recipes"),
    shell:
        "python -m raymark landmarks {wildcards.dataset} {wildcards.subject} > {log} 2>&1"


rule import_2d:
    """Annotated X-rays; what they hold decides their shards, found through these two files."""
    input:
        images=lambda wildcards: files_below(PROJECT.imports[wildcards.dataset].images),
        annotations=lambda wildcards: [
            path
            for name in PROJECT.imports[wildcards.dataset].files[1:]
            for path in files_below(name)
        ],
    output:
        views=layout.VIEWS,
        images=layout.IMPORTED_IMAGES,
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
        code=code_digest("raymark.imports.write"),
    shell:
        "python -m raymark import-2d {params.file:q} > {log} 2>&1"
