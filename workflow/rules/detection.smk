# What a trained model finds on a view set.


rule predict:
    input:
        unpack(reads("predict")),
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
        threshold=detection_threshold,
        code=lambda wildcards: step_code(
            "experiments:predict_views", method_module(wildcards)
        ),
    shell:
        "python -m raymark predict-views {wildcards.dataset} {wildcards.method}"
        " {wildcards.seed} {wildcards.view_set} > {log} 2>&1"
