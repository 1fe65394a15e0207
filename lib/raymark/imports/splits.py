"""Which imported image is for training, for validation, for testing: by patient, leaks refused."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from raymark.annotations.base import Annotation, csv_table
from raymark.config.imports import Folds, Import2d, Official2015, SplitTable, Whole
from raymark.core.doubts import warn
from raymark.core.errors import InputError
from raymark.core.seeds import seed_of
from raymark.imports.xray_file import stem_of

OFFICIAL_2015 = {"train": range(1, 151), "test1": range(151, 301), "test2": range(301, 401)}


SPELT = {"val": "validation", "valid": "validation", "training": "train"}


def split_named(view_set: str) -> str:
    """Return the split a view set belongs to: train, validation, and test for every other name."""
    return view_set if view_set in ("train", "validation") else "test"


def patient_of(settings: Import2d, annotation: Annotation, path: Path) -> str:
    """Return whose image it is; InputError where the pattern does not find the patient."""
    if annotation.patient:
        return annotation.patient
    if settings.patient_pattern is None:
        return stem_of(path)
    found = re.search(settings.patient_pattern, path.name)
    patient = next((group for group in found.groups() if group), None) if found else None
    if patient is None:
        raise InputError(
            path,
            f"patient_pattern {settings.patient_pattern!r} finds no patient in its name",
            "Let the pattern fit every file, or name the patients in the annotations",
        )
    return patient


def split_of(
    settings: Import2d, annotations: Sequence[Annotation], patients: Sequence[str]
) -> list[str | None]:
    """Return each image's view set, None where it is left out; a patient in two splits is refused."""
    view_sets = VIEW_SETS[settings.split.kind](settings.split, annotations, patients)
    view_sets = _without_faulty(settings, annotations, view_sets)
    first: dict[str, tuple[int, str]] = {}
    for index, (patient, view_set) in enumerate(zip(patients, view_sets, strict=True)):
        if view_set is None:
            continue
        before, there = first.setdefault(patient, (index, view_set))
        if split_named(there) != split_named(view_set):
            raise InputError(
                f"data set {settings.name}, split",
                f"patient {patient!r} is in {there!r} with the image "
                f"{annotations[before].image!r} and in {view_set!r} with {annotations[index].image!r}",
                "Keep all images of one patient in one split",
            )
    return view_sets


def _without_faulty(
    settings: Import2d, annotations: Sequence[Annotation], view_sets: Sequence[str | None]
) -> list[str | None]:
    """Leave out of `train` what the settings do not trust; say which of these images are not there."""
    faulty, known = set(settings.not_trained_on), {a.image for a in annotations}
    if "train" in view_sets and (unknown := sorted(faulty - known)):
        others = f" and {len(unknown) - 1} more are" if len(unknown) > 1 else " is"
        doubt = f"{unknown[0]}{others} not annotated: misspelt, or not of these data?"
        warn(f"data set {settings.name}, not_trained_on", [doubt])
    return [
        None if view_set == "train" and annotation.image in faulty else view_set
        for annotation, view_set in zip(annotations, view_sets, strict=True)
    ]


def _folds(split: Folds, _: object, patients: Sequence[str]) -> list[str]:
    if split.fold >= split.folds:
        remedy = f"Use 0 to {split.folds - 1}"
        raise InputError("split.fold", f"there is no fold {split.fold} of {split.folds}", remedy)
    shuffled = sorted(set(patients), key=lambda patient: (seed_of("fold", patient), patient))
    if len(shuffled) < split.folds:
        problem = f"{len(shuffled)} patients cannot make {split.folds} folds"
        raise InputError("split.folds", problem, "Use fewer folds, or import more patients")
    fold_of = {patient: number % split.folds for number, patient in enumerate(shuffled)}
    names = {split.fold: "test", (split.fold + 1) % split.folds: "validation"}
    return [names.get(fold_of[patient], "train") for patient in patients]


def _official(split: Official2015, annotations: Sequence[Annotation], _: object) -> list[str]:
    view_sets = []
    for annotation in annotations:
        digits = re.search(r"\d+", Path(annotation.image).stem)
        number = int(digits[0]) if digits else 0
        named = [name for name, numbers in OFFICIAL_2015.items() if number in numbers]
        if not named:
            problem = f"the image {annotation.image!r} is not numbered from 1 to 400"
            raise InputError(annotation.place, problem, "Use split kind folds or table")
        view_sets += named
    train = [index for index, name in enumerate(view_sets) if name == "train"]
    train.sort(key=lambda index: seed_of("validation", Path(annotations[index].image).stem))
    for index in train[: split.validation]:
        view_sets[index] = "validation"
    return view_sets


def _table(split: SplitTable, annotations: Sequence[Annotation], _: object) -> list[str | None]:
    remedy = "Give every column a value; an empty view_set leaves the image out"
    header, rows = csv_table(split.file, remedy)
    if not {"image", "view_set"} <= set(header):
        problem = f"has the columns {', '.join(header)}"
        raise InputError(f"{split.file}, line 1", problem, "It needs image and view_set")
    known = {annotation.image for annotation in annotations}
    view_set_of: dict[str, str | None] = {}
    for place, cells in rows:
        image, view_set = cells["image"], cells["view_set"]
        if image not in known:
            remedy = "Write the image as the annotations do"
            raise InputError(place, f"the image {image!r} is not annotated", remedy)
        if image in view_set_of:
            remedy = "Keep one of the two lines"
            raise InputError(place, f"the image {image!r} is there twice", remedy)
        if view_set and not re.fullmatch("[a-z0-9][a-z0-9_]*", view_set):
            remedy = "Use small letters, digits and _: train, validation, test"
            raise InputError(f"{place}, column view_set", f"{view_set!r} is not a name", remedy)
        view_set_of[image] = SPELT.get(view_set, view_set) or None
    for annotation in annotations:
        if annotation.image not in view_set_of:
            remedy = "Add a line for it; an empty view_set leaves it out"
            raise InputError(split.file, f"has no line for {annotation.image!r}", remedy)
    return [view_set_of[annotation.image] for annotation in annotations]


def _whole(split: Whole, annotations: Sequence[Annotation], _: object) -> list[str]:
    return [split.view_set] * len(annotations)


VIEW_SETS: dict[str, Callable[..., list]] = {
    "folds": _folds,
    "table": _table,
    "official-2015": _official,
    "whole": _whole,
}
