# What the rules of tables and figures take in, and where in the report they belong.

from raymark.figures import FIGURES, figure_names
from raymark import tables
from raymark.tables.base import chapter_of_setup


def shown_settings():
    """Return what tables and figures print that none of the files they are made from holds."""
    sections = {"preset", "evaluation", "matrix", "pose", "setup", "contrast"}
    titles = [PROJECT.title_of(name) for name in (*PROJECT.datasets, *PROJECT.imports)]
    titles += [
        view_set.title
        for dataset in PROJECT.datasets.values()
        for view_set in dataset.view_sets.values()
    ]
    titles += [method.title for method in PROJECT.methods.values()]
    return json.dumps(
        [titles, PROJECT.config.model_dump(mode="json", include=sections)]
    )


def paper_files():
    names = {e.paper for e in PROJECT.config.experiments if e.paper}
    return [f"config/papers/{name}.yaml" for name in sorted(names)]


def experiments_of_figure(figure):
    """List the experiments that a figure, named <kind>-<data set>[-<method>][-<view set>], shows."""
    kind, dataset, *rest = figure.split("-")
    if kind == "keypoint_accuracy":  # of a paper, not of a data set
        return [e for e in EXPERIMENTS if e.paper == dataset]
    experiments = [e for e in EXPERIMENTS if e.dataset == dataset]
    if len(rest) == 2:
        experiments = [e for e in experiments if e.method == rest[0]]
    return [e for e in experiments if not rest or rest[-1] in e.evaluate]


def figure_inputs(wildcards):
    if wildcards.figure == "matrix":
        patterns = layout.ERRORS, layout.MEAN_POSITION, layout.LOSSES
        return [f for p in patterns for f in of_experiments(p, EXPERIMENTS)]
    kind, dataset, *rest = wildcards.figure.split("-")
    experiments = experiments_of_figure(wildcards.figure)
    views = layout.VIEWS.format(dataset=dataset)
    if kind == "landmark_overview":
        subject = PROJECT.datasets[dataset].subjects[0]
        files = [layout.CT, layout.LANDMARKS]
        return [views, *(f.format(dataset=dataset, subject=subject) for f in files)]
    if kind == "dataset_samples":
        return [views, *shards(dataset, *view_sets_for(dataset, "train"))]
    if kind == "training_curves":
        return of_experiments(layout.LOSSES, experiments)
    if kind == "belief_stages":
        model = layout.MODEL.format(
            dataset=dataset, method=rest[0], seed=experiments[0].seeds[0]
        )
        return [views, model, *shards(dataset, rest[-1])]
    if kind == "pose_verification":
        places = [p for p in PRESENT.pose_places() if p["dataset"] == dataset]
        places = [p for p in places if [p["method"], p["view_set"]] == rest]
        tables = [
            f.format(**p) for p in places for f in (layout.POSES, layout.PREDICTIONS)
        ]
        return [views, *tables, *shards(dataset, rest[-1]), *cts_of(dataset, rest[-1])]
    if kind == "contrast":
        return [*contrast_inputs(wildcards), layout.CONTRAST]
    if kind == "sphere_accuracy":
        return [*of_experiments(layout.ERRORS, experiments), *paper_files()]
    if kind == "setup_errors":
        return setup_tables(experiments)
    if kind == "setup_overlays":
        predictions = of_experiments(layout.PREDICTIONS, experiments)
        images = [*shards(dataset, rest[-1]), *cts_of(dataset, rest[-1])]
        return [views, *predictions, *setup_tables(experiments), *images]
    if kind in ("keypoint_accuracy", "cobb_agreement"):
        patterns = layout.ERRORS, layout.MEAN_POSITION, layout.LOSSES
        return [f for p in patterns for f in of_experiments(p, experiments)]
    images = (
        shards(dataset, rest[-1]) if kind in ("overlays", "found_instances") else []
    )
    if kind == "found_instances":
        images += of_experiments(layout.MODEL, experiments)
    baseline = of_experiments(layout.MEAN_POSITION, experiments)
    return [*of_experiments(layout.ERRORS, experiments), *baseline, *images]


def figure_chapter(wildcards):
    """Name the report's chapter: the paper that the figure's one experiment belongs to."""
    if wildcards.figure == "matrix":
        return "Tables"
    if wildcards.figure.startswith("contrast-"):
        return chapter_of_setup(PROJECT)
    papers = {e.paper for e in experiments_of_figure(wildcards.figure)}
    if wildcards.figure.startswith("keypoint_accuracy-"):
        return f"Paper – {read_paper(papers.pop()).short}"
    if len(wildcards.figure.split("-")) < 4 or papers == {None}:
        return f"Data set – {PROJECT.title_of(wildcards.figure.split('-')[1])}"
    return f"Paper – {read_paper(papers.pop()).short}"


def correspondence_chapter(wildcards):
    return f"Paper – {read_paper('correspondence').short}"


def figure_caption(wildcards):
    kind, *rest = wildcards.figure.split("-")
    return {"figure": kind.replace("_", " "), "of": " ".join(rest[1:])}
