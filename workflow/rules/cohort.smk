# Virtual patients and the plan of views.


rule virtual_patient:
    input:
        ct=of_parent(layout.CT),
        labels=of_parent(layout.LABELS),
        landmarks=of_parent(layout.LANDMARKS),
    output:
        ct=layout.CT,
        labels=layout.LABELS,
        landmarks=layout.LANDMARKS,
        check=layout.DEFORMATION,
    log:
        "logs/virtual_patient/{dataset}/{subject}.log",
    wildcard_constraints:
        subject=r"[A-Za-z0-9_-]+-v\d\d\d+",
    priority: 1  # trainings wait for it
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(1000, ct=60),
        runtime=minutes(15, by_size(mb_per_minute=5)),
    params:
        config=dataset_config("cohort"),
        seed=PROJECT.config.seed,
        code=code_digest("raymark.patients.virtual_patients"),
    shell:
        "python -m raymark virtual-patient {wildcards.dataset} {wildcards.subject}"
        " > {log} 2>&1"


rule views:
    input:
        landmarks=lambda wildcards: [
            layout.LANDMARKS.format(dataset=wildcards.dataset, subject=subject)
            for subject in every_subject(wildcards.dataset)
        ],
    output:
        layout.VIEWS,
    log:
        "logs/views/{dataset}.log",
    wildcard_constraints:
        dataset="|".join(PROJECT.datasets) or "none",
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
            f"{SUBJECTS[s].patient}:{SUBJECTS[s].split}"
            for s in PROJECT.datasets[wildcards.dataset].subjects
        ],
        code=code_digest("raymark.views.plan"),
    shell:
        "python -m raymark views {wildcards.dataset} > {log} 2>&1"
