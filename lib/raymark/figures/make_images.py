"""The figures that show images: of data sets, of networks' belief maps, of CTs rendered again."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from raymark import layout
from raymark.config.dataset import Dataset, DetectorConfig
from raymark.config.project import Project
from raymark.core.drawing import cran_caud, rao_lao
from raymark.core.seeds import generator
from raymark.datasets.lookup import dataset_of, landmark_names, shards_of, shards_with_role
from raymark.datasets.shards import Shards
from raymark.evaluation.errors import read_errors, read_predictions, truth_of
from raymark.figures.cobb import main_angles
from raymark.figures.landmarks import dataset_samples, landmark_overview
from raymark.figures.make_results import errors_of, seeds_of
from raymark.figures.overlays import one_view_each, overlays, pick_views
from raymark.figures.pose import Verified, pose_verification
from raymark.figures.stages import Example, belief_stages
from raymark.geometry.camera import Camera
from raymark.landmarks.table import read_landmark_set, read_landmark_table
from raymark.metrics.cobb import cobb_by_view, shows_spine
from raymark.views.plan import evenly, read_views

SAMPLES = 24
VERIFIED = 3
STAGED = 48  # views among which belief per stage is looked at
RESOLVED, WITHDRAWN = 2, 1  # rows of belief that improves, and of belief that is given up
OVERVIEW = {"AP": 0.0, "Lateral": 90.0}  # primary angle, degrees
OVERVIEW_PX = 480
OVERVIEW_ROOM = 2.1  # magnification, and a border
ISOCENTRE = ["isocentre_x_mm", "isocentre_y_mm", "isocentre_z_mm"]


def _dataset_samples(project: Project, dataset: str, stem) -> None:
    """Draw training views that chance picks, the same ones every time."""
    view_sets = dataset_of(project, dataset).view_sets
    training = [name for name, view_set in view_sets.items() if view_set.role == "train"]
    views = read_views(layout.VIEWS.format(dataset=dataset))
    views = views[views["view_set"].isin(training)].sort_values("view")
    chosen = generator("samples", dataset).permutation(len(views))[:SAMPLES]
    views = views.iloc[np.sort(chosen)]
    shards = Shards(shards_with_role(project, dataset, "train"))
    points = truth_of(shards).rename(columns={"x_true_px": "x_px", "y_true_px": "y_px"})
    dataset_samples(views, _images(shards, views["view"]), points, stem)


def _landmark_overview(project: Project, dataset: str, stem) -> None:
    """Render the first subject from the front and from its left, large enough for all landmarks."""
    from raymark.ct import read_volume
    from raymark.rendering.scene import Scene

    settings = project.datasets[dataset]
    subject, names = settings.subjects[0], landmark_names(settings)
    place = {"dataset": dataset, "subject": subject}
    table = read_landmark_table(layout.LANDMARKS.format(**place)).set_index("landmark")
    world_mm = table.loc[names, ["x_mm", "y_mm", "z_mm"]].to_numpy()
    settings = _overview_settings(settings, world_mm)
    scene = Scene(read_volume(layout.CT.format(**place)), world_mm, names, [], settings)
    images, points = {}, {}
    for title, primary_deg in OVERVIEW.items():
        view = _overview_view(read_views(layout.VIEWS.format(dataset=dataset)), primary_deg)
        view[ISOCENTRE] = (world_mm.min(axis=0) + world_mm.max(axis=0)) / 2
        rendered = scene.render(view)
        images[title] = rendered["image"]
        points[title] = pd.DataFrame(rendered["landmarks"], columns=["x_px", "y_px"])
        points[title].insert(0, "landmark", names)
    landmark_overview(images, points, stem)


def _overview_settings(settings: Dataset, world_mm: np.ndarray) -> Dataset:
    """Give a data set a noiseless detector that is as large as its landmarks need."""
    width_mm, depth_mm, height_mm = np.ptp(world_mm, axis=0) * OVERVIEW_ROOM
    width_mm = max(width_mm, depth_mm, height_mm / 2)
    pixel_mm = max(width_mm, height_mm) / OVERVIEW_PX
    detector = DetectorConfig(
        height_px=round(height_mm / pixel_mm),
        width_px=round(width_mm / pixel_mm),
        pixel_mm=pixel_mm,
    )
    quiet = settings.physics.model_copy(update={"photons_per_px": None})
    plain = {
        name: view_set.model_copy(update={"field_of_view_share": 1.0, "tools": None})
        for name, view_set in settings.view_sets.items()
    }
    changes = {"detector": detector, "physics": quiet, "view_sets": plain}
    return settings.model_copy(update=changes)


def _overview_view(planned: pd.DataFrame, primary_deg: float) -> pd.Series:
    view = planned.iloc[0].copy()
    view["primary_deg"], view["secondary_deg"], view["roll_deg"] = primary_deg, 0.0, 0.0
    view["flip"] = False
    return view


def _overlays(project: Project, dataset: str, method: str, view_set: str, stem) -> None:
    """Draw the first training's predictions: a view of each rendered subject, where there are several
    and no grid of views; else views over the sphere."""
    errors = errors_of(project, dataset, method, view_set, every_seed=False)
    settings = dataset_of(project, dataset)
    views = errors[["view", "subject", "primary_deg", "secondary_deg"]]
    if dataset not in project.datasets:
        views = pick_views(views.drop(columns="subject"))
    elif settings.view_sets[view_set].sampling.kind == "grid" or views["subject"].nunique() == 1:
        first = views["subject"] == views["subject"].min()
        views = pick_views(views[first].drop(columns="subject"))
    else:
        views = one_view_each(views)
    names, angles = landmark_names(settings), {}
    if shows_spine(names):
        shown = errors[errors["view"].isin(views["view"])]
        angles = main_angles(cobb_by_view(shown, names, settings.detector.height_px))
    shards = Shards(shards_of(project, dataset, view_set))
    overlays(views, _images(shards, views["view"]), errors, stem, angles)


def _belief_stages(project: Project, dataset: str, method: str, view_set: str, stem) -> None:
    """Draw two landmarks that later stages put right, and one outside the image that they give up.

    They are chosen, by the rules of `raymark.detection.by_stage`, among evenly spread views of the first training.
    """
    from raymark.detection.by_stage import most_resolved, most_withdrawn, stages_of
    from raymark.training.model_files import load_model

    seed = seeds_of(project, dataset, method, view_set)[0]
    network, _ = load_model(layout.MODEL.format(dataset=dataset, method=method, seed=seed))
    shards = Shards(shards_of(project, dataset, view_set))
    stages = stages_of(network, shards, evenly(range(len(shards)), STAGED))
    near_px = project.config.evaluation.accuracy_px
    chosen = most_resolved(stages, near_px, RESOLVED)
    chosen += most_withdrawn(stages, project.methods[method].detection_threshold, WITHDRAWN)
    views = read_views(layout.VIEWS.format(dataset=dataset)).set_index("view")
    examples = []
    for place, landmark in chosen:
        number = stages.numbers[place]
        view = views.loc[shards.views[number]]
        shown = shards.small["visible"][number, landmark]
        examples.append(
            Example(
                shards.landmarks[landmark],
                f"{rao_lao(view['primary_deg'])}, {cran_caud(view['secondary_deg'])}",
                shards.read(np.array([number]))["image"][0],
                stages.beliefs[place, :, landmark],
                network.stride,
                stages.points_px[place, :, landmark],
                shards.small["landmarks"][number, landmark] if shown else None,
            )
        )
    visible = np.isfinite(stages.error_px[:, 0])
    medians = [np.median(error[visible]) for error in stages.error_px.swapaxes(0, 1)]
    belief_stages(examples, np.array(medians), int(visible.sum()), stem)


def _found_instances(project: Project, dataset: str, method: str, view_set: str, stem) -> None:
    """Draw what the first training finds on the first of the views that show most."""
    from raymark.figures.instances import found_instances, looked_for

    seed = seeds_of(project, dataset, method, view_set)[0]
    place = {"dataset": dataset, "method": method, "seed": seed}
    errors = read_errors([layout.ERRORS.format(**place, view_set=view_set)])
    shards = Shards(shards_of(project, dataset, view_set))
    types = read_landmark_set(project.datasets[dataset].landmarks).types
    found_instances(looked_for(layout.MODEL.format(**place), shards, errors, types), stem)


def _pose_verification(project: Project, dataset: str, method: str, view_set: str, stem) -> None:
    """Draw views of the first training whose pose was refined, spread over the view set."""
    from raymark.pose.estimate import read_poses

    seed = seeds_of(project, dataset, method, view_set)[0]
    place = {"dataset": dataset, "method": method, "seed": seed, "view_set": view_set}
    poses = read_poses([layout.POSES.format(**place)]).set_index(["view", "stage"]).sort_index()
    predictions = read_predictions(layout.PREDICTIONS.format(**place)).set_index("view")
    views = read_views(layout.VIEWS.format(dataset=dataset)).set_index("view")
    refined = poses.xs("refined", level="stage").index if "refined" in poses.index.levels[1] else []
    chosen = pd.Series(evenly(list(refined), VERIFIED))
    shards = Shards(shards_of(project, dataset, view_set))
    settings = project.datasets[dataset]
    images = _images(shards, chosen) if len(chosen) else {}
    verified = []
    for view, image in images.items():
        K = shards.small["K"][shards.views.index(view)]
        rows = poses.loc[view].loc[["robust", "refined"]]
        cameras = [
            Camera(K, np.reshape(pose, (4, 4)), *image.shape) for pose in rows["world_to_camera"]
        ]
        seen = predictions.loc[view]
        seen = seen[seen["confidence"] > project.config.pose.belief_threshold]
        rendered = _rendered(settings, rows["subject"].iloc[0], cameras)
        used_px = seen[["x_px", "y_px"]].to_numpy(float)
        plan = views.loc[view]
        title = f"{rao_lao(plan['primary_deg'])}, {cran_caud(plan['secondary_deg'])}"
        verified.append(Verified(title, image, used_px, *rendered, tuple(rows["mtre_mm"])))
    pose_verification(verified, stem)


def _rendered(settings: Dataset, subject: str, cameras: list[Camera]) -> list[np.ndarray]:
    """Render a subject's CT without noise, (y, x) for each camera."""
    from raymark.ct import read_volume
    from raymark.rendering.scene import Scene

    quiet = settings.physics.model_copy(update={"photons_per_px": None})
    volume = read_volume(layout.CT.format(dataset=settings.name, subject=subject))
    settings = settings.model_copy(update={"physics": quiet})
    scene = Scene(volume, np.zeros((0, 3)), [], [], settings)
    noise = generator("none")
    return [scene.detection.log_image(scene.projector.project(c), noise) for c in cameras]


def _setup_overlays(project: Project, dataset: str, method: str, view_set: str, stem) -> None:
    """Draw views of the first training's table of set-up errors, spread over it."""
    from raymark.figures.setup import COLUMNS, compared_views, setup_overlays

    place = {"dataset": dataset, "method": method, "view_set": view_set}
    seed = next(p["seed"] for p in project.setup_places() if place.items() <= p.items())
    setup_overlays(compared_views(project, place | {"seed": seed}), COLUMNS, stem)


def _contrast(project: Project, dataset: str, stem) -> None:
    from raymark.figures.contrast import contrast
    from raymark.radiotherapy.contrast_views import patient_views

    names = project.config.contrast
    titles = {"kv": project.title_of(names.kv), "mv": project.title_of(names.mv)}
    contrast(patient_views(project)[0], titles, stem)


def _images(shards: Shards, views: pd.Series) -> dict[str, np.ndarray]:
    """Read the images (y, x) of some views by their names."""
    place = {view: number for number, view in enumerate(shards.views)}
    images = shards.read(np.array([place[view] for view in views]))["image"]
    return dict(zip(views, images, strict=True))


MAKERS: dict[str, Callable] = {
    "dataset_samples": _dataset_samples,
    "landmark_overview": _landmark_overview,
    "overlays": _overlays,
    "belief_stages": _belief_stages,
    "found_instances": _found_instances,
    "pose_verification": _pose_verification,
    "setup_overlays": _setup_overlays,
    "contrast": _contrast,
}
