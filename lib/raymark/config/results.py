"""What is made of data sets and methods: trainings, poses, set-up errors and tables."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from raymark.core.sections import Name, Section, Seed


class SetupReference(Section):
    """What an experiment's images are registered to (docs/radiotherapy.md)."""

    reference: Name = Field(
        description="data set whose beam (its `physics`, without noise) renders the planned images"
    )


class Experiment(Section):
    """Train a method on a data set, evaluate it on some of the data set's view sets."""

    dataset: Name = Field(description="`name` of a data set or an import")
    method: Name = Field(description="`name` of a method")
    seeds: list[Seed] = Field(
        [0], min_length=1, description="of weights, order and augmentation: one training for each"
    )
    evaluate: list[Name] = Field(
        [],
        description="view sets of the data set to predict and to evaluate, none that it is trained or "
        "chosen by; empty: it is trained, no more",
    )
    paper: Name | None = Field(
        None, description="name of the paper file to print beside ours; null: none"
    )
    poses: list[Name] = Field(
        [],
        description="those of `evaluate` whose poses are estimated too (docs/pose.md)",
    )
    capture_range: list[Name] = Field(
        [],
        description="view sets of the data set from which it is measured how far off a pose may start "
        "for its refinement to succeed: minutes, whatever the method",
    )
    setup: SetupReference | None = Field(
        None, description="measure set-up errors on the evaluated view sets; null: none"
    )

    @model_validator(mode="after")
    def _poses_are_of_what_is_predicted(self) -> Self:
        for name in self.poses:
            if name not in self.evaluate:
                raise ValueError(f"poses of {name!r} need it among `evaluate`: {self.evaluate}")
        return self


class Pose(Section):
    """The pose of a view from its landmarks, and its refinement against the image."""

    belief_threshold: float = Field(
        0.7, description="only landmarks with a confidence above it are used"
    )
    least_landmarks: int = Field(6, ge=6, description="a view with fewer of these has no pose")
    refined_views: int = Field(
        24, ge=0, description="views of a view set whose pose is refined, at most, evenly spread"
    )
    captured_mm: float = Field(
        2.0,
        gt=0,
        description="a refinement has succeeded where the landmarks' mean distance from their true "
        "places (mTRE) ends below it",
    )
    capture_starts: int = Field(
        10, gt=0, description="displaced starts for each row of the table of the capture range"
    )


class SetupSettings(Section):
    """The set-up error from a treatment image: what is registered, and what counts (docs/radiotherapy.md)."""

    registered_views: int | None = Field(
        24,
        gt=0,
        description="views of a view set that are registered, at most, evenly spread; null: all",
    )
    inlier_mm: float = Field(
        8.0,
        gt=0,
        description="landmarks agree on a displacement if theirs is no farther from it, mm at the "
        "isocentre; less than half the distance of two spinous processes",
    )
    least_landmarks: int = Field(
        2, gt=0, description="a view in which fewer landmarks agree is not registered"
    )
    within_mm: list[float] = Field(
        [2.0, 5.0],
        description="for each, tables tell the share of views with at most this set-up error",
    )


class Contrast(Section):
    """The contrast of bone in kilovoltage and megavoltage images (docs/radiotherapy.md)."""

    kv: Name = Field(description="data set whose beam is the kilovoltage one")
    mv: Name = Field(
        description="data set whose beam is the megavoltage one; its patient, detector and views are "
        "what both beams see"
    )
    tabulated: str = Field(
        "config/reference/nist_tissues.csv",
        description="CSV of published mass attenuation coefficients, cm²/g, with the columns energy_kev, "
        "water, soft tissue and bone",
    )
    bone_labels: list[tuple[int, int]] = Field(
        [],
        description="first and last ids of the labels that are bones, for each run of them; empty: all "
        "that is as dense counts as bone, contrast agent too",
    )


class Evaluation(Section):
    """How errors are summarised."""

    sdr_mm: list[float] = Field(
        [2.0, 3.0, 4.0, 6.0, 10.0],
        description="thresholds of the success detection rate: share of visible landmarks with at most "
        "this error at the detector",
    )
    pck_px: list[float] = Field(
        [4.0, 6.0, 8.0, 10.0, 12.0],
        description="thresholds of the percentage of correct keypoints: share of visible landmarks that "
        "are detected with at most this error, image px",
    )
    accuracy_px: float = Field(
        15.0,
        description="a detected landmark of less error counts as accurate (Bier 2018), image px",
    )
    bootstrap: int = Field(
        2000, gt=0, le=10**6, description="resamplings that an interval is made from"
    )
    confidence: float = Field(
        0.95, gt=0, lt=1, description="level of the intervals; 1 minus it, that of the tests"
    )
    permutations: int = Field(
        9999,
        gt=0,
        le=10**7,
        description="exchanges that a paired test draws, where there are too many to count them all",
    )


class Matrix(Section):
    """Every method on some data sets, compared with each data set's baseline."""

    datasets: dict[Name, list[Name]] = Field(
        {},
        description="view sets to evaluate, by `name` of a data set or an import: each configured "
        "method that can be is trained on it. Takes the place of `experiments` where it is not empty",
    )
    views_seen: int | None = Field(
        None,
        gt=0,
        description="the budget: every method trains on so many views, and none stops early; null: each "
        "has its own epochs",
    )
    baseline: Name | None = Field(
        None,
        description="`name` of the method that the others are tested against; where it was not trained, "
        "or diverged, and with null, it is the mean position",
    )


class TableChoice(Section):
    """What of a table is printed (docs/tables.md). Its CSV keeps everything."""

    columns: list[str] = Field(
        [],
        description="columns to print, in this order, by their names in the table's CSV; empty: all that "
        "it prints by itself",
    )
    rows: dict[str, list[str | bool | int | float]] = Field(
        {},
        description="by the name of any column of the CSV: print only rows that have one of these values "
        "there",
    )
    digits: dict[str, Annotated[int, Field(ge=0, le=9)]] = Field(
        {}, description="decimals to print, by the name of a printed column of numbers"
    )
