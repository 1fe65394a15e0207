"""Steps that make data: sources, CTs, landmarks, virtual patients, views, shards."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from raymark import layout
from raymark.workflow.steps.arguments import (
    CalibratedName,
    CalibratedSubjectName,
    DatasetName,
    ImportFile,
    Shard,
    SourceId,
    SubjectId,
    ViewSetName,
)

if TYPE_CHECKING:
    from raymark.config.project import Project


def fetch(project: "Project", source: SourceId) -> None:
    """Bring a declared data file, verified by checksum."""
    from raymark.core.errors import named
    from raymark.patients.fetch import fetch

    declared = named(project.declared, source, "source")
    fetch(declared, layout.SOURCE.format(source=source, file=Path(declared.member).name))


def import_calibrated(
    project: "Project", calibrated: CalibratedName, subject: CalibratedSubjectName
) -> None:
    """Take a subject's CT, labels and landmarks out of a calibrated data set."""
    import numpy as np
    import pandas as pd

    from raymark.core.files import atomic
    from raymark.ct import LabelMap, Volume, write_labels, write_volume
    from raymark.imports.real_xrays import read_subject
    from raymark.landmarks.point_files import XYZ

    settings = project.named(project.calibrated, calibrated, "calibrated data set")
    content = read_subject(settings, subject)
    assert isinstance(content.volume, Volume)  # no layout with other volumes can be configured
    files = {
        what: layout.CALIBRATED.format(calibrated=calibrated, subject=subject, file=file)
        for what, file in layout.CALIBRATED_FILES.items()
    }
    background = np.zeros(content.volume.hu_xyz.shape, np.uint8)
    write_volume(files["ct"], content.volume)
    write_labels(files["labels"], content.labels or LabelMap(background, content.volume.affine))
    rows = [(name, *mm) for name, mm in content.landmarks_mm.items()]
    with atomic(files["landmarks"]) as partial:
        pd.DataFrame(rows, columns=["landmark", *XYZ]).to_csv(partial, index=False)


def ingest(project: "Project", dataset: DatasetName, subject: SubjectId) -> None:
    """Turn a subject's CT and labels into the canonical volume, or say why it is left out."""
    from raymark.core.doubts import warn
    from raymark.core.errors import InputError
    from raymark.core.left_out import write_left_out
    from raymark.ct import ingest
    from raymark.datasets.lookup import rendered, subject_of
    from raymark.datasets.taking_part import write_verdict
    from raymark.workflow import inputs

    files = inputs.ingest(project, dataset, subject)
    settings, scheme = rendered(project, dataset).ct, subject_of(project, subject).label_scheme
    place, refused = {"dataset": dataset, "subject": subject}, ""
    patterns = layout.CT, layout.LABELS, layout.QUALITY
    volume, labels, quality = made = [pattern.format(**place) for pattern in patterns]
    theirs = next(iter(files["labels"]), None)
    try:
        ingest(files["ct"], theirs, settings, volume, labels, quality, subject, scheme)
    except InputError as error:
        refused = str(error)
        warn(f"{subject} is left out of {dataset}", [refused])
        for path in made:
            write_left_out(path, refused)
    write_verdict(layout.VERDICT.format(**place), refused)


def landmarks(project: "Project", dataset: DatasetName, subject: SubjectId) -> None:
    """Import or compute a subject's 3D landmarks."""
    from functools import partial

    from raymark.core.doubts import warn
    from raymark.core.names import flip_pairs
    from raymark.ct import read_ct, read_label_map, read_volume
    from raymark.datasets.lookup import file_of, landmark_names, rendered, subject_of
    from raymark.landmarks.label_checks import check_labels
    from raymark.landmarks.table import (
        check_landmarks,
        compute_landmarks,
        needed_names,
        read_landmark_set,
        read_landmarks,
        structures_of,
        write_landmarks,
    )
    from raymark.workflow import inputs

    if _left_out(dataset, subject, layout.LANDMARKS):
        return
    files = inputs.landmarks(project, dataset, subject)
    landmark_set = read_landmark_set(files["names"])
    volume = read_volume(files["ct"])
    source = files["points"]
    doubts: list[str] = []
    if subject_of(project, subject).landmarks.startswith("recipe:"):
        recipes, labels = read_landmark_set(source), read_label_map(files["labels"])
        users_file = file_of(project, subject_of(project, subject).labels)
        doubts = check_labels(labels, volume, structures_of(recipes), users_file)
        table = compute_landmarks(labels, recipes, subject, users_file)
    else:
        original = partial(read_ct, files["original"]) if "original" in files else None
        table, doubts = read_landmarks(source, subject, landmark_set.others, original)
    used = landmark_names(rendered(project, dataset))
    names = needed_names(table["landmark"], used, landmark_set.names)
    table, more = check_landmarks(table, names, volume, flip_pairs(names), source)
    warn(source, [*doubts, *more])
    path = layout.LANDMARKS.format(dataset=dataset, subject=subject)
    write_landmarks(table, path, [*doubts, *more])


def atlas(project: "Project", dataset: DatasetName, subject: SubjectId) -> None:
    """Carry an atlas's landmarks and labels to a CT that has none."""
    from raymark.config.subjects import atlas_of
    from raymark.core.doubts import warn
    from raymark.core.errors import InputError
    from raymark.core.names import flip_pairs
    from raymark.ct import read_label_map, read_volume, write_labels
    from raymark.datasets.lookup import file_of, landmark_names, rendered, subject_of
    from raymark.datasets.taking_part import refusal
    from raymark.landmarks.table import (
        check_landmarks,
        needed_names,
        read_landmark_set,
        read_landmark_table,
        write_landmarks,
    )
    from raymark.patients.atlas import by_atlas, carried_labels, register_atlas, write_fit
    from raymark.workflow import inputs

    files, row = inputs.atlas(project, dataset, subject), subject_of(project, subject)
    if _left_out(dataset, subject, layout.LANDMARKS, layout.ATLAS_LABELS, layout.ATLAS_FIT):
        return
    if reason := refusal(dataset, atlas_of(row) or ""):
        problem = f"its atlas {atlas_of(row)!r} is left out: {reason}"
        raise InputError(f"subject {subject}", problem, "Name another atlas in the subject sheet")
    volume, laid = read_volume(files["ct"]), read_volume(files["atlas_ct"])
    source, place = file_of(project, row.ct), {"dataset": dataset, "subject": subject}
    warp = register_atlas(laid, volume)
    parent = read_landmark_table(files["atlas_landmarks"])
    table, fit, doubts = by_atlas(warp, laid, volume, parent, subject, atlas_of(row) or "", source)
    known = read_landmark_set(files["names"]).names
    names = needed_names(table["landmark"], landmark_names(rendered(project, dataset)), known)
    table, more = check_landmarks(table, names, volume, flip_pairs(names), source)
    warn(source, [*doubts, *more])
    labels = carried_labels(warp, read_label_map(files["atlas_labels"]), volume)
    write_labels(layout.ATLAS_LABELS.format(**place), labels)
    write_fit(fit, layout.ATLAS_FIT.format(**place))
    write_landmarks(table, layout.LANDMARKS.format(**place), [*doubts, *more])


def virtual_patient(project: "Project", dataset: DatasetName, subject: SubjectId) -> None:
    """Deform a CT with its landmarks, e.g. pelvis-v001."""
    from raymark.core.errors import InputError
    from raymark.ct import read_label_map, read_volume
    from raymark.datasets.lookup import rendered, subject_of
    from raymark.landmarks.table import read_landmark_table
    from raymark.patients.virtual_patients import make_virtual_patient, write_virtual_patient
    from raymark.workflow import inputs

    if subject_of(project, subject).subject == subject:
        raise InputError(
            subject, "is not a virtual patient", f"Ask for {subject}-v001, for example"
        )
    made = layout.CT, layout.LABELS, layout.LANDMARKS, layout.DEFORMATION
    if _left_out(dataset, subject, *made):
        return
    files = inputs.virtual_patient(project, dataset, subject)
    volume, labels = read_volume(files["ct"]), read_label_map(files["labels"])
    table = read_landmark_table(files["landmarks"])
    patient = make_virtual_patient(
        volume.hu_xyz,
        labels.labels_xyz,
        volume.affine,
        table[["x_mm", "y_mm", "z_mm"]].to_numpy(),
        rendered(project, dataset).cohort,
        dataset=dataset,
        subject=subject,
        seed=project.config.seed,
    )
    write_virtual_patient(
        patient,
        table,
        ct=layout.CT.format(dataset=dataset, subject=subject),
        labels=layout.LABELS.format(dataset=dataset, subject=subject),
        landmarks=layout.LANDMARKS.format(dataset=dataset, subject=subject),
        check=layout.DEFORMATION.format(dataset=dataset, subject=subject),
    )


def views(project: "Project", dataset: DatasetName) -> None:
    """Plan every view of a data set and check its splits."""
    from raymark.datasets.lookup import (
        isocentre,
        landmark_points,
        real_view_sets,
        real_views,
        rendered,
        shown_by,
    )
    from raymark.patients.same_ct import check_patients
    from raymark.views.plan import plan_views, write_views
    from raymark.views.sight import check_on_image
    from raymark.workflow import inputs

    settings = rendered(project, dataset)
    files = inputs.views(project, dataset)
    check_patients(dict(zip(settings.subjects, files["quality"], strict=True)), project.sheet)
    shown = shown_by(project, dataset, *settings.view_sets)
    isocentres = {subject: isocentre(settings, subject) for subject in shown}
    real = {
        view_set: real_views(project, dataset, view_set, isocentres)
        for view_set in real_view_sets(settings)
    }
    table = plan_views(settings, project.sheet, isocentres, project.config.seed, real)
    check_on_image(table, settings, {s: landmark_points(settings, s) for s in isocentres})
    write_views(layout.VIEWS.format(dataset=dataset), table)


def render(
    project: "Project",
    dataset: DatasetName,
    view_set: ViewSetName,
    subject: SubjectId,
    shard: Shard,
) -> None:
    """Render one shard of views, or take the subject's real X-rays."""
    from importlib import import_module

    from raymark.config.subjects import calibrated_of
    from raymark.core.digests import text_digest
    from raymark.core.files import sha256_of
    from raymark.core.names import flip_pairs
    from raymark.ct import read_volume
    from raymark.datasets.lookup import (
        landmark_names,
        landmark_points,
        rendered,
        subject_of,
        views_of_shard,
    )
    from raymark.rendering.scene import render_shard, scenario_of
    from raymark.views.sight import check_source_outside
    from raymark.workflow import inputs

    number = {"view_set": view_set, "shard": layout.shard_name(shard)}
    if _left_out(dataset, subject, layout.SHARD, **number):
        return
    settings = rendered(project, dataset)
    if project.named(settings.view_sets, view_set, "view set").is_real:
        place_there = calibrated_of(subject_of(project, subject).ct)
        data = inputs.import_calibrated(project, *place_there)["data"] if place_there else []
        # By its name: what reads X-rays does nothing to rendered shards, whose code this step's digest is of.
        module = import_module("raymark.imports.real_xrays")
        module.write_real_shard(project, settings, view_set, subject, data)
        return
    names = landmark_names(settings)
    place: dict[str, Any] = {"view_set": view_set, "subject": subject, "shard": shard}
    files = inputs.render(project, dataset, **place)
    table = views_of_shard(project, dataset, **place)
    volume = read_volume(files["ct"])
    check_source_outside(table, settings, volume)
    points = landmark_points(settings, subject)
    shown = table.drop(columns=["patient", "split", "shard"])  # nothing of an image
    content = [sha256_of(files["ct"]), points.tobytes().hex(), shown.to_csv(index=False)]
    content += names
    if scenario := scenario_of(settings, table):
        content.append(str(scenario))
    sections = {"detector", "physics", "beliefs", "projector"}
    render_shard(
        volume,
        points,
        names,
        flip_pairs(names),
        table,
        settings,
        layout.SHARD.format(dataset=dataset, subject=subject, **number),
        digest=text_digest(*content, settings.model_dump_json(include=sections)),
    )


def _left_out(dataset: str, subject: str, *patterns: str, **place: str) -> bool:
    """Tell whether a subject's CT was refused; then leave a line that says so in the place of its files."""
    from raymark.config.subjects import parent_of
    from raymark.core.left_out import write_left_out
    from raymark.datasets.taking_part import refusal

    reason = refusal(dataset, parent_of(subject))
    for pattern in patterns if reason else ():
        write_left_out(pattern.format(dataset=dataset, subject=subject, **place), reason)
    return bool(reason)


def import_2d(import_file: ImportFile) -> None:
    """Turn annotated 2D X-rays into shards to train and evaluate on.

    Reads the images and annotations that a file names (config/import/*.yaml) and writes them as shards,
    a table of views and a list of images below results/.
    """
    from raymark.config.imports import read_import
    from raymark.imports.write import import_2d, odd_scales

    images = import_2d(read_import(import_file), import_file)
    for view_set, rows in images.groupby("view_set", sort=True):
        print(f"{view_set}: {len(rows)} images of {rows['patient'].nunique()} patients")
    for row in odd_scales(images).itertuples():
        print(
            f"{row.file}: {row.pixel_mm:.3g} mm per pixel, far from the others': check its points. "
            "It is kept"
        )
