# Who takes part: declared downloads, and virtual patients made from real ones.


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


rule virtual_patient:
    input:
        unpack(reads("virtual_patient")),
    output:
        ct=layout.CT,
        labels=layout.LABELS,
        landmarks=layout.LANDMARKS,
        check=layout.DEFORMATION,
    log:
        "logs/virtual_patient/{dataset}/{subject}.log",
    wildcard_constraints:
        subject=r"[A-Za-z0-9_-]+-v\d\d\d+",
    priority: 1  # trainings wait for it
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(1000, ct=60),
        runtime=minutes(15, by_size(mb_per_minute=5)),
    params:
        config=dataset_config("cohort"),
        seed=PROJECT.config.seed,
        code=step_code("data:virtual_patient"),
    shell:
        "python -m raymark virtual-patient {wildcards.dataset} {wildcards.subject}"
        " > {log} 2>&1"
