# Views become shards of images; each shard is a job of its own.


rule render:
    input:
        unpack(reads("render")),
    output:
        layout.SHARD,
    log:
        "logs/render/{dataset}/{view_set}/{subject}/{shard}.log",
    wildcard_constraints:
        dataset="|".join(PROJECT.datasets) or "none",
    priority: 1  # trainings wait for it
    conda:
        "../../envs/environment.yaml"
    threads: 1  # shards run side by side; one shard alone gains little from a second
    resources:
        mem_mb=memory(1500, ct=60),
        # A sixth of the measured speed, after a start.
        runtime=minutes(10, by_count(images_of_shard, per_minute=300)),
    params:
        config=dataset_config(
            "landmarks", "use_landmarks", "detector", "physics", "beliefs", "projector"
        ),
        view_set=view_set_config,
        code=lambda wildcards: step_code(
            "data:render",
            projector_module(wildcards.dataset),
            *real_xrays_module(wildcards),
        ),
    shell:
        "python -m raymark render {wildcards.dataset} {wildcards.view_set}"
        " {wildcards.subject} {wildcards.shard} --threads {threads} > {log} 2>&1"


# Images that nothing is trained on are wanted for themselves.
all_only_rendered = [
    shard
    for name in only_rendered(PROJECT)
    for shard in shard_files(PROJECT, name, *PROJECT.datasets[name].view_sets)
]
