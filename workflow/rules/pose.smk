# Poses from predicted landmarks, and from how far their refinement finds back.


rule pose:
    input:
        unpack(reads("pose")),
    output:
        layout.POSES,
    log:
        "logs/pose/{dataset}/{method}/{seed}/{view_set}.log",
    benchmark:
        "results/benchmarks/pose/{dataset}/{method}/{seed}/{view_set}.tsv"
    priority: 1  # long: begun early, it ends before the small jobs do
    conda:
        "../../envs/environment.yaml"
    threads: 1  # views side by side gain little within a process
    resources:
        mem_mb=memory(3000, views_of_set, mb_per_million_views=10_000, cts=60),
        runtime=minutes(
            20,
            by_count(views_of_set, per_minute=500),
            by_count(refined_views, per_minute=6),
        ),
    params:
        config=dataset_config("physics"),
        patients=patients,
        settings=PROJECT.config.pose.model_dump_json(
            exclude={"captured_mm", "capture_starts"}
        ),
        code=step_code("experiments:pose"),
    shell:
        "python -m raymark pose {wildcards.dataset} {wildcards.method} {wildcards.seed}"
        " {wildcards.view_set} --threads {threads} > {log} 2>&1"


rule capture_range:
    input:
        unpack(reads("capture_range")),
    output:
        layout.CAPTURE_RANGE,
    log:
        "logs/capture_range/{dataset}/{view_set}.log",
    benchmark:
        "results/benchmarks/capture_range/{dataset}/{view_set}.tsv"
    priority: 1  # long: begun early, it ends before the small jobs do
    conda:
        "../../envs/environment.yaml"
    threads: 1  # views side by side gain little within a process
    resources:
        mem_mb=memory(3000, cts=60),
        runtime=minutes(20, by_count(capture_starts, per_minute=6)),
    params:
        config=dataset_config("physics"),
        starts=PROJECT.config.pose.capture_starts,
        code=step_code("experiments:capture_range"),
    shell:
        "python -m raymark capture-range {wildcards.dataset} {wildcards.view_set}"
        " --threads {threads} > {log} 2>&1"
