"""Figures, each made from data alone and written as SVG and PNG in one style.

A figure's name is its kind and what it is of: ``overlays-pelvis-cpm-grid``,
``training_curves-pelvis``.
"""

from raymark.config.project import Project
from raymark.methods import IN_STAGES

# kind: (what it shows, what its name ends in)
FIGURES = {
    "matrix": ("errors of methods by data sets, beside the baseline's", "project"),
    "dataset_samples": ("training images with their landmarks", "dataset"),
    "landmark_overview": ("the landmarks with their names on AP and lateral images", "rendered"),
    "training_curves": ("losses and validation error of every epoch", "dataset"),
    "error_distribution": ("distribution of the errors of every method", "standard set"),
    "overlays": ("true and predicted landmarks over the view sphere", "experiment"),
    "keypoint_accuracy": ("landmarks within a distance, by type and method", "landmarknet"),
    "cobb_agreement": ("Cobb angles of spines, predicted against true", "spine set"),
    "found_instances": ("belief maps of landmark types and the points found", "typed"),
    "belief_error": ("confidence against error", "standard"),
    "belief_stages": ("belief maps stage by stage", "staged"),
    "pose_verification": ("X-rays beside the CT at the recovered pose", "posed"),
    "setup_overlays": ("treatment images on the plan, before and after registration", "setup"),
    "setup_errors": ("distribution of the set-up errors of every registration", "setup"),
    "contrast": ("one view in kilovoltage and megavoltage, and a profile", "contrast"),
    "sphere_accuracy": ("accuracy of every viewing direction", "grid"),
    "belief_sphere": ("confidence of two landmarks over the view sphere", "grid"),
}


def figure_names(project: Project) -> list[str]:
    """List the figures that a configuration calls for.

    Maps of the view sphere need a grid of views. Scenarios, such as a tool in the image, are shown by
    the figures that have images.
    """
    experiments = [(e, v) for e in project.config.experiments for v in e.evaluate]
    grids = [
        (e, v)
        for e, v in experiments
        if e.dataset in project.datasets
        and project.datasets[e.dataset].view_sets[v].sampling.kind == "grid"
    ]
    standard = [
        (e, v)
        for e, v in experiments
        if e.dataset not in project.datasets
        or not project.datasets[e.dataset].view_sets[v].scenario()
    ]
    ends = {
        "project": [""],
        "dataset": [e.dataset for e, _ in experiments],
        "rendered": [e.dataset for e, _ in experiments if e.dataset in project.datasets],
        "standard set": [f"{e.dataset}-{v}" for e, v in standard],
        "spine set": [f"{e.dataset}-{v}" for e, v in standard if _is_spine(project, e.dataset)],
        "standard": [f"{e.dataset}-{e.method}-{v}" for e, v in standard],
        "experiment": [f"{e.dataset}-{e.method}-{v}" for e, v in experiments],
        "staged": [
            f"{e.dataset}-{e.method}-{e.evaluate[0]}"
            for e in project.config.experiments
            if project.methods[e.method].module in IN_STAGES
        ],
        "landmarknet": ["landmarknet"] if project.experiments_with("landmarknet") else [],
        "typed": [
            f"{e.dataset}-{e.method}-{v}"
            for e, v in experiments
            if e.dataset in project.datasets and project.methods[e.method].by_type
        ],
        "posed": [f"{p['dataset']}-{p['method']}-{p['view_set']}" for p in project.pose_places()],
        "setup": [f"{p['dataset']}-{p['method']}-{p['view_set']}" for p in project.setup_places()],
        "contrast": [project.config.contrast.mv] if project.config.contrast else [],
        "grid": [f"{e.dataset}-{e.method}-{v}" for e, v in grids],
    }
    names = [
        f"{kind}-{end}" if end else kind for kind, (_, per) in FIGURES.items() for end in ends[per]
    ]
    return list(dict.fromkeys(names))


def _is_spine(project: Project, dataset: str) -> bool:
    from raymark.landmarks.table import read_landmark_set
    from raymark.metrics.cobb import shows_spine

    if dataset in project.datasets:
        settings = project.datasets[dataset]
        return shows_spine(settings.use_landmarks or read_landmark_set(settings.landmarks).names)
    settings = project.imports.get(dataset)
    return bool(settings) and shows_spine(settings.known_landmarks)
