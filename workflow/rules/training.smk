# One model per data set, method and seed.


rule train:
    input:
        unpack(reads("train")),
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
        config=train_config,
        refined_threshold=refined_threshold,
        types=landmark_types,
        code=method_code,
        launcher=launcher,
    shell:
        "{params.launcher} python -m raymark train {wildcards.dataset} {wildcards.method} {wildcards.seed}"
        " > {log} 2>&1"


# Nothing else needs a model once its predictions are there, but people do.
all_models = of_experiments(layout.MODEL, EXPERIMENTS)
if PROJECT.config.correspondence:
    all_models.append(layout.CORRESPONDENCE_MODEL)
