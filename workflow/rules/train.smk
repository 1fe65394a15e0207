# One model per data set, method and seed.


rule train:
    input:
        train=training_shards("train"),
        validation=training_shards("validation"),
        first=first_model,
    output:
        model=layout.MODEL,
        losses=layout.LOSSES,
    log:
        "logs/train/{dataset}/{method}/{seed}.log",
    benchmark:
        "results/benchmarks/train/{dataset}/{method}/{seed}.tsv"
    priority: 1  # long: begun early, they end before the small jobs do
    conda:
        "../../envs/environment.yaml"
    threads: method_threads
    resources:
        gpu=1,
        mem_mb=memory(6000, views_of_dataset, mb_per_million_views=2000),
        # A seventh of what a demo's networks do on one core, a twentieth of the papers' on a GPU.
        runtime=minutes(60, by_count(images_trained, per_minute=100), at_most=1440),
    params:
        config=method_config,
        types=landmark_types,
        code=method_code,
        launcher=launcher,
    shell:
        "{params.launcher} python -m raymark train {wildcards.dataset} {wildcards.method} {wildcards.seed}"
        " > {log} 2>&1"


rule predict:
    input:
        model=layout.MODEL,
        shards=lambda wildcards: shards(wildcards.dataset, wildcards.view_set),
    output:
        layout.PREDICTIONS,
    log:
        "logs/predict/{dataset}/{method}/{seed}/{view_set}.log",
    conda:
        "../../envs/environment.yaml"
    threads: method_threads
    resources:
        gpu=1,
        mem_mb=memory(4000, views_of_set, mb_per_million_views=10_000),
        # Without a GPU a large network takes a second for an image.
        runtime=minutes(20, by_count(images_of_set, per_minute=60)),
    params:
        code=lambda wildcards: code_digest(
            "raymark.detection.on_views",
            f"raymark.methods.{PROJECT.methods[wildcards.method].module}",
        ),
    shell:
        "python -m raymark predict-views {wildcards.dataset} {wildcards.method}"
        " {wildcards.seed} {wildcards.view_set} > {log} 2>&1"
