# One model per data set, method and seed.


def training_shards(role):
    return lambda wildcards: shards(wildcards.dataset, *view_sets_for(wildcards.dataset, role))


def method_code(wildcards):
    network = PROJECT.methods[wildcards.method].module
    return code_digest("raymark.training", f"raymark.methods.{network}")


rule train:
    input:
        train=training_shards("train"),
        validation=training_shards("validation"),
    output:
        model=layout.MODEL,
        losses=layout.LOSSES,
    log:
        "logs/train/{dataset}/{method}/{seed}.log",
    benchmark:
        "results/benchmarks/train/{dataset}/{method}/{seed}.tsv"
    params:
        config=method_config,
        code=method_code,
    threads: workflow.cores
    resources:
        gpu=1,
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=lambda wildcards, attempt: 1440 * attempt,
    shell:
        "raymark train --config {CONFIG} {wildcards.dataset} {wildcards.method} {wildcards.seed}"
        " --threads {threads} > {log} 2>&1"


rule predict:
    input:
        model=layout.MODEL,
        shards=lambda wildcards: shards(wildcards.dataset, wildcards.view_set),
    output:
        layout.PREDICTIONS,
    log:
        "logs/predict/{dataset}/{method}/{seed}/{view_set}.log",
    params:
        code=lambda wildcards: code_digest(
            "raymark.prediction",
            f"raymark.methods.{PROJECT.methods[wildcards.method].module}",
        ),
    threads: workflow.cores
    resources:
        gpu=1,
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
    shell:
        "raymark predict --config {CONFIG} {wildcards.dataset} {wildcards.method} {wildcards.seed}"
        " {wildcards.view_set} --threads {threads} > {log} 2>&1"
