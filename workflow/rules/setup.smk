# What the two beams are for: the contrast of bone, and the set-up error from a treatment image.


def setup_reference(wildcards):
    """Return the beam that renders the plan of an experiment's images."""
    asked = [
        p["reference"]
        for p in PROJECT.setup_places()
        if (p["dataset"], p["method"]) == (wildcards.dataset, wildcards.method)
    ]
    return PROJECT.datasets[asked[0]].physics.model_dump_json() if asked else ""


def contrast_config(wildcards):
    names = PROJECT.config.contrast
    return json.dumps(
        {
            name: PROJECT.datasets[name].model_dump_json()
            for name in (names.kv, names.mv)
        }
    )


def contrast_inputs(wildcards):
    """List the patients' CTs, their views and the published coefficients."""
    names = PROJECT.config.contrast
    cts = [
        layout.CT.format(dataset=names.mv, subject=subject)
        for subject in PROJECT.datasets[names.mv].subjects
    ]
    return [*cts, layout.VIEWS.format(dataset=names.mv), names.tabulated]


def setup_tables(experiments):
    """List the tables of set-up errors of some experiments."""
    return of_experiments(layout.SETUP, [e for e in experiments if e.setup])


def setup_table_inputs(wildcards):
    if wildcards.table == "contrast":
        return layout.CONTRAST
    return setup_tables(EXPERIMENTS) if wildcards.table == "setup" else []


def setup_chapter():
    """Name the report's chapter: the paper of the experiments that measure set-up errors."""
    papers = [e.paper for e in PROJECT.config.experiments if e.setup and e.paper]
    return f"Paper – {read_paper(papers[0]).short}" if papers else "Tables"


rule setup_error:
    """Registration by landmarks, by mutual information, and none, on the same views."""
    input:
        predictions=layout.PREDICTIONS,
        shards=lambda wildcards: shards(wildcards.dataset, wildcards.view_set),
        views=layout.VIEWS,
        cts=lambda wildcards: cts_of(wildcards.dataset, wildcards.view_set),
        landmarks=landmark_file,
    output:
        layout.SETUP,
    log:
        "logs/setup_error/{dataset}/{method}/{seed}/{view_set}.log",
    benchmark:
        "results/benchmarks/setup_error/{dataset}/{method}/{seed}/{view_set}.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        config=dataset_config("detector", "projector"),
        reference=setup_reference,
        settings=PROJECT.config.setup.model_dump_json(exclude={"within_mm"}),
        code=code_digest("raymark.setup.measure"),
    shell:
        "python -m raymark setup-error {wildcards.dataset} {wildcards.method}"
        " {wildcards.seed} {wildcards.view_set} --threads {threads} > {log} 2>&1"


rule contrast:
    """A phantom and a patient through both beams, beside published coefficients."""
    input:
        contrast_inputs,
    output:
        layout.CONTRAST,
    log:
        "logs/contrast.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
    params:
        config=contrast_config,
        code=code_digest("raymark.contrast"),
    shell:
        "python -m raymark contrast --threads {threads} > {log} 2>&1"
