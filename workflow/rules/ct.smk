# CTs in one canonical form.


rule ingest:
    input:
        unpack(reads("ingest")),
    output:
        ct=layout.CT,
        labels=layout.LABELS,
        quality=layout.QUALITY,
        verdict=layout.VERDICT,
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
        scheme=lambda wildcards: SUBJECTS[wildcards.subject].label_scheme,
        code=step_code("data:ingest"),
    shell:
        "python -m raymark ingest {wildcards.dataset} {wildcards.subject} > {log} 2>&1"
