# CT and landmarks of real subjects, in one canonical form.


rule fetch:
    output:
        layout.SOURCE,
    log:
        "logs/fetch/{source}/{file}.log",
    params:
        declared=lambda wildcards: SOURCES[wildcards.source].model_dump_json(),
    wildcard_constraints:
        source="|".join(SOURCES),
        file="[^/]+",
    shell:
        "raymark fetch --config {CONFIG} {wildcards.source} > {log} 2>&1"


rule ingest:
    input:
        ct=lambda wildcards: file_of(SUBJECTS[wildcards.subject].ct),
        labels=lambda wildcards: [file_of(f) for f in [SUBJECTS[wildcards.subject].labels] if f],
    output:
        ct=layout.CT,
        labels=layout.LABELS,
        quality=layout.QUALITY,
    log:
        "logs/ingest/{dataset}/{subject}.log",
    params:
        config=dataset_config("ct"),
        code=code_digest("raymark.ct"),
    wildcard_constraints:
        subject="|".join(SUBJECTS),
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
    shell:
        "raymark ingest --config {CONFIG} {wildcards.dataset} {wildcards.subject} > {log} 2>&1"


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
    params:
        config=dataset_config("landmarks", "use_landmarks"),
        code=code_digest("raymark.landmarks", "raymark.recipes"),
    wildcard_constraints:
        subject="|".join(SUBJECTS),
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
    shell:
        "raymark landmarks --config {CONFIG} {wildcards.dataset} {wildcards.subject} > {log} 2>&1"
