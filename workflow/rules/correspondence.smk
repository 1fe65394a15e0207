# Landmark correspondences between CT slices: a pipeline of its own beside the detectors.

from raymark.correspondence.config import cts_for, sections_text


rule correspondence_train:
    input:
        unpack(reads("correspondence_train")),
    output:
        model=layout.CORRESPONDENCE_MODEL,
        losses=layout.CORRESPONDENCE_LOSSES,
    log:
        "logs/correspondence/train.log",
    benchmark:
        "results/benchmarks/correspondence/train.tsv"
    priority: 1  # long: begun early, it ends before the small jobs do
    conda:
        "../../envs/environment.yaml"
    threads: correspondence_threads
    resources:
        gpu=1,
        mem_mb=memory(5000, mb_per_input_mb=4),  # the slices of all CTs are in memory
        runtime=minutes(60, pair_minutes, at_most=2880),
    params:
        config=lambda wildcards: sections_text(
            PROJECT, "slices", "transformations", "network", "training"
        ),
        code=step_code("experiments:correspondence_train"),
    shell:
        "python -m raymark correspondence-train > {log} 2>&1"


rule correspondence_match:
    input:
        unpack(reads("correspondence_match")),
    output:
        layout.CORRESPONDENCE_MATCHES,
    log:
        "logs/correspondence/match-{matcher}.log",
    benchmark:
        "results/benchmarks/correspondence/match-{matcher}.tsv"
    wildcard_constraints:
        matcher="network|sift",
    conda:
        "../../envs/environment.yaml"
    threads: correspondence_threads
    resources:
        mem_mb=memory(3000, mb_per_input_mb=4),
        runtime=minutes(30, by_size(mb_per_minute=3)),
    params:
        config=lambda wildcards: sections_text(
            PROJECT, "slices", "transformations", "matching"
        ),
        code=step_code("experiments:correspondence_match"),
    shell:
        "python -m raymark correspondence-match {wildcards.matcher} > {log} 2>&1"


rule correspondence_follow_up:
    input:
        unpack(reads("correspondence_follow_up")),
    output:
        layout.CORRESPONDENCE_FOLLOW_UP,
        layout.CORRESPONDENCE_FOLLOW_UP_SLICES,
    log:
        "logs/correspondence/follow_up.log",
    benchmark:
        "results/benchmarks/correspondence/follow_up.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: correspondence_threads
    resources:
        mem_mb=memory(3000, cts=60),
        runtime=minutes(30, by_size(mb_per_minute=10)),
    params:
        config=lambda wildcards: sections_text(
            PROJECT, "slices", "matching", "follow_up"
        ),
        seed=PROJECT.config.seed,
        code=step_code("experiments:correspondence_follow_up"),
    shell:
        "python -m raymark correspondence-follow-up > {log} 2>&1"
