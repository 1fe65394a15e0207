# The 3D landmarks of real subjects: read, computed from a label map, or another subject's, carried over.


rule landmarks:
    input:
        unpack(reads("landmarks")),
    output:
        layout.LANDMARKS,
    log:
        "logs/landmarks/{dataset}/{subject}.log",
    wildcard_constraints:
        subject=one_of(name for name in SUBJECTS if name not in BY_ATLAS),
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(1000, ct=400),
        runtime=minutes(15, by_size(mb_per_minute=10)),
    params:
        config=dataset_config("landmarks", "use_landmarks"),
        code=step_code("data:landmarks", "raymark.landmarks.recipes"),
    shell:
        "python -m raymark landmarks {wildcards.dataset} {wildcards.subject} > {log} 2>&1"


rule atlas:
    input:
        unpack(reads("atlas")),
    output:
        landmarks=layout.LANDMARKS,
        labels=layout.ATLAS_LABELS,
        fit=layout.ATLAS_FIT,
    log:
        "logs/atlas/{dataset}/{subject}.log",
    wildcard_constraints:
        subject=one_of(BY_ATLAS),
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(1500, ct=100),
        runtime=minutes(30, by_size(mb_per_minute=2)),
    params:
        config=dataset_config("landmarks", "use_landmarks"),
        atlas=lambda wildcards: SUBJECTS[wildcards.subject].landmarks,
        code=step_code("data:atlas"),
    shell:
        "python -m raymark atlas {wildcards.dataset} {wildcards.subject} > {log} 2>&1"
