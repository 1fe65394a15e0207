# Which view of whom.


rule views:
    input:
        unpack(reads("views")),
    output:
        layout.VIEWS,
    log:
        "logs/views/{dataset}.log",
    wildcard_constraints:
        dataset="|".join(PROJECT.datasets) or "none",
    priority: 2  # what it refuses ends a run before hours are spent
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(1000, views_of_dataset, mb_per_million_views=2000),
        runtime=minutes(10, by_count(views_of_dataset, per_minute=300_000)),
    params:
        config=dataset_config(
            "view_sets",
            "cohort",
            "subjects",
            "views_per_shard",
            "isocentre",
            "use_landmarks",
            "detector",  # to see that the landmarks are on it
        ),
        seed=PROJECT.config.seed,
        splits=lambda wildcards: [
            f"{SUBJECTS[s].patient}:{split_in(PROJECT.datasets[wildcards.dataset], SUBJECTS[s])}"
            for s in PROJECT.datasets[wildcards.dataset].subjects
        ],
        code=step_code("data:views"),
    shell:
        "python -m raymark views {wildcards.dataset} > {log} 2>&1"
