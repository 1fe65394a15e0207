# What the two beams are for: the contrast of bone, and the set-up error from a treatment image.


rule setup_error:
    """Registration by landmarks, by mutual information, and none, on the same views."""
    input:
        unpack(reads("setup_error")),
    output:
        layout.SETUP,
    log:
        "logs/setup_error/{dataset}/{method}/{seed}/{view_set}.log",
    benchmark:
        "results/benchmarks/setup_error/{dataset}/{method}/{seed}/{view_set}.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(2000, views_of_set, mb_per_million_views=10_000, cts=60),
        runtime=minutes(20, by_count(registered_views, per_minute=12)),
    params:
        config=dataset_config("detector", "projector"),
        patients=patients,
        reference=setup_reference,
        settings=PROJECT.config.setup.model_dump_json(exclude={"within_mm"}),
        code=lambda wildcards: step_code(
            "experiments:setup_error", projector_module(wildcards.dataset)
        ),
    shell:
        "python -m raymark setup-error {wildcards.dataset} {wildcards.method}"
        " {wildcards.seed} {wildcards.view_set} --threads {threads} > {log} 2>&1"


rule contrast:
    """A phantom and a patient through both beams, beside published coefficients."""
    input:
        unpack(reads("contrast")),
    output:
        layout.CONTRAST,
    log:
        "logs/contrast.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(3000),
        runtime=minutes(30),
    params:
        config=contrast_config,
        code=lambda wildcards: step_code(
            "experiments:contrast",
            projector_module(PROJECT.config.contrast.kv),
            projector_module(PROJECT.config.contrast.mv),
        ),
    shell:
        "python -m raymark contrast --threads {threads} > {log} 2>&1"
