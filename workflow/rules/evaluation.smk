# Predictions against the truth.


rule evaluate:
    input:
        unpack(reads("evaluate")),
    output:
        layout.ERRORS,
    log:
        "logs/evaluate/{dataset}/{method}/{seed}/{view_set}.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(1500, views_of_set, mb_per_million_views=10_000),
        runtime=minutes(15, by_count(views_of_set, per_minute=10_000)),
    params:
        config=dataset_config("detector"),
        types=landmark_types,
        patients=patients,
        code=step_code("experiments:evaluate"),
    shell:
        "python -m raymark evaluate {wildcards.dataset} {wildcards.method}"
        " {wildcards.seed} {wildcards.view_set} > {log} 2>&1"


rule mean_position:
    """The baseline that looks at no image, in the same form as a method's errors."""
    input:
        unpack(reads("mean_position")),
    output:
        layout.MEAN_POSITION,
    log:
        "logs/mean_position/{dataset}/{view_set}.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(1500, views_of_dataset, mb_per_million_views=10_000),
        runtime=minutes(15, by_count(views_of_dataset, per_minute=10_000)),
    params:
        config=dataset_config("detector"),
        patients=patients,
        code=step_code("experiments:mean_position"),
    shell:
        "python -m raymark mean-position {wildcards.dataset} {wildcards.view_set}"
        " > {log} 2>&1"


# A method of that name would be the baseline's.
ruleorder: mean_position > evaluate
