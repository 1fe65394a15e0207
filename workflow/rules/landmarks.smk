# The 3D landmarks of real subjects: read, or computed from a label map.


rule landmarks:
    input:
        unpack(reads("landmarks")),
    output:
        layout.LANDMARKS,
    log:
        "logs/landmarks/{dataset}/{subject}.log",
    wildcard_constraints:
        subject="|".join(SUBJECTS),
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
