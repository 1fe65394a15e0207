# Predictions against the truth.


rule evaluate:
    input:
        predictions=layout.PREDICTIONS,
        shards=lambda wildcards: shards(wildcards.dataset, wildcards.view_set),
        views=layout.VIEWS,
    output:
        layout.ERRORS,
    log:
        "logs/evaluate/{dataset}/{method}/{seed}/{view_set}.log",
    params:
        config=dataset_config("detector"),
        code=code_digest("raymark.evaluation"),
    shell:
        "raymark evaluate --config {CONFIG} {wildcards.dataset} {wildcards.method}"
        " {wildcards.seed} {wildcards.view_set} > {log} 2>&1"
