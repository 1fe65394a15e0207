# How much work a job has, for the memory and the time that rules ask for (raymark.workflow.resources).

from raymark.workflow.resources import by_count, by_size, memory, minutes, size_mb

PIXELS = 479 * 615  # of the images whose rates are in docs/measurements


@cache
def view_total(dataset):
    """Count the views of a data set, all its sets together; those of an import are few."""
    if dataset in PROJECT.imports:
        return 0
    settings = PROJECT.datasets[dataset]
    return sum(view_count(settings, name, SUBJECTS) for name in settings.view_sets)


def views_of_dataset(wildcards):
    return view_total(wildcards.dataset)


def views_of_set(wildcards):
    if wildcards.dataset in PROJECT.imports:
        return 0
    settings = PROJECT.datasets[wildcards.dataset]
    return view_count(settings, wildcards.view_set, SUBJECTS)


def share_of_pixels(height_px, width_px):
    """Tell how many images one counts for, by its pixels; a small one is no less than a quarter."""
    return max(height_px * width_px / PIXELS, 0.25)


def images_of_set(wildcards):
    """Count the images of a view set by their pixels: one of four times the pixels is four."""
    if wildcards.dataset in PROJECT.imports:
        return 0
    detector = PROJECT.datasets[wildcards.dataset].detector
    return views_of_set(wildcards) * share_of_pixels(
        detector.height_px, detector.width_px
    )


def images_of_shard(wildcards):
    """Count a shard's images in the same way."""
    views = PROJECT.datasets[wildcards.dataset].views_per_shard
    return images_of_set(wildcards) / max(views_of_set(wildcards), 1) * views


def images_trained(wildcards):
    """Count the images that a training shows over all its epochs, in the same way."""
    dataset, training = wildcards.dataset, PROJECT.methods[wildcards.method].training
    if dataset in PROJECT.imports:
        shape = PROJECT.imports[dataset]
        views = imported_files(wildcards)
    else:
        settings = PROJECT.datasets[dataset]
        shape, sets = settings.detector, settings.view_sets.items()
        names = [name for name, view_set in sets if view_set.role == "train"]
        views = sum(view_count(settings, name, SUBJECTS) for name in names)
    shown = training.views_seen or views * training.epochs
    return shown * share_of_pixels(shape.height_px, shape.width_px)


def pair_minutes(wildcards, input):
    """Tell how long correspondences are trained, at ten pairs of slices a minute."""
    training = correspondence_of(PROJECT).training
    pairs = training.pairs_per_epoch or 5 * sum(map(size_mb, input))  # slices of a CT
    return (
        training.epochs
        * pairs
        * share_of_pixels(training.image_px, training.image_px)
        / 10
    )


def refined_views(wildcards):
    return PROJECT.config.pose.refined_views


def capture_starts(wildcards):
    """Count the registrations of a capture range, which has five bins of starts."""
    return 5 * PROJECT.config.pose.capture_starts


def registered_views(wildcards):
    return PROJECT.config.setup.registered_views or views_of_set(wildcards)


def imported_files(wildcards):
    return len(inputs.files_below(PROJECT.imports[wildcards.dataset].images))


def launcher(wildcards, threads, resources):
    """Return what starts a training's processes, one per GPU, where a profile asks for several.

    Left to itself, srun would start one process on each node, with one core.
    """
    if "mpi" not in resources.keys():
        return ""
    tasks = resources.get("tasks") or resources.nodes * resources.tasks_per_node
    return f"{resources.mpi} --ntasks={tasks} --cpus-per-task={threads}"


def figure_cts(wildcards):
    """List the CTs among what a figure needs, which decide how much memory it takes."""
    ending = Path(layout.CT).name
    return [file for file in figure_needs(wildcards) if file.endswith(ending)]
