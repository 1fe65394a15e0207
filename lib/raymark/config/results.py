"""What is made of data sets and methods: trainings, poses, set-up errors and tables."""

from pydantic import Field, model_validator

from raymark.core.sections import Name, Section, Seed


class SetupReference(Section):
    """What an experiment's images are registered to (docs/radiotherapy.md)."""

    reference: Name = Field(
        description="data set whose beam (its `physics`, without noise) renders the planned images"
    )


class Experiment(Section):
    """Train a method on a data set, evaluate it on some of the data set's view sets."""

    dataset: Name = Field(description="name of a data set file")
    method: Name = Field(description="name of a method file")
    seeds: list[Seed] = Field([0], min_length=1, description="one training for each")
    evaluate: list[Name] = Field(min_length=1, description="view sets to predict")
    paper: Name | None = Field(None, description="file under config/papers to print beside ours")
    poses: list[Name] = Field(
        [],
        description="those of the evaluated view sets whose poses are estimated; the capture range is "
        "measured on the first (docs/pose.md)",
    )
    setup: SetupReference | None = Field(
        None, description="measure set-up errors on the evaluated view sets; null: none"
    )

    @model_validator(mode="after")
    def _poses_are_of_what_is_predicted(self):
        for name in self.poses:
            if name not in self.evaluate:
                raise ValueError(f"poses of {name!r} need it among `evaluate`: {self.evaluate}")
        return self


class Pose(Section):
    """The pose of a view from its landmarks, and its refinement against the image."""

    belief_threshold: float = Field(
        0.7, description="landmarks with a confidence above it are used"
    )
    least_landmarks: int = Field(6, ge=6, description="a view with fewer of them has no pose")
    refined_views: int = Field(
        24, ge=0, description="views of a view set whose pose is refined, evenly spread"
    )
    captured_mm: float = Field(2.0, gt=0, description="mTRE below which a refinement has succeeded")
    capture_starts: int = Field(
        10, gt=0, description="displaced starts for each row of the table of the capture range"
    )


class SetupSettings(Section):
    """The set-up error from a treatment image: who is registered, and what counts."""

    registered_views: int | None = Field(
        24, gt=0, description="views of a view set that are registered, evenly spread; null: all"
    )
    inlier_mm: float = Field(
        8.0,
        gt=0,
        description="landmarks agree on a displacement if no farther from it, mm at the isocentre; "
        "below half the distance of two spinous processes",
    )
    least_landmarks: int = Field(
        2, gt=0, description="landmarks that must agree; a view with fewer is not registered"
    )
    within_mm: list[float] = Field([2.0, 5.0], description="set-up errors whose share is told")


class Contrast(Section):
    """The contrast of bone in kilovoltage and megavoltage images (docs/radiotherapy.md)."""

    kv: Name = Field(description="data set whose beam is the kilovoltage one")
    mv: Name = Field(
        description="data set whose beam is the megavoltage one; its patient, detector and views are "
        "what both beams see"
    )
    tabulated: str = Field(
        "config/reference/nist_tissues.csv",
        description="published mass attenuation coefficients: energy_kev, water, soft tissue, bone",
    )
    bone_labels: list[tuple[int, int]] = Field(
        [],
        description="first and last ids of the labels that are bones; without any, what is as dense, "
        "contrast agent too, counts as bone",
    )


class Evaluation(Section):
    """How errors are summarised."""

    sdr_mm: list[float] = Field([2.0, 3.0, 4.0, 6.0, 10.0], description="thresholds of SDR")
    pck_px: list[float] = Field([4.0, 6.0, 8.0, 10.0, 12.0], description="thresholds of PCK")
    accuracy_px: float = Field(15.0, description="error below which a landmark counts as accurate")
    bootstrap: int = Field(2000, gt=0, le=10**6, description="resamplings")
    confidence: float = Field(0.95, gt=0, lt=1, description="level of the intervals")
    permutations: int = Field(
        9999,
        gt=0,
        le=10**7,
        description="drawn exchanges of a paired test, where there are too many to count",
    )


class Matrix(Section):
    """Every method on some data sets, compared with each data set's baseline."""

    datasets: dict[Name, list[Name]] = Field(
        {},
        description="data set: view sets to evaluate. Every configured method that can be is trained "
        "on each; this takes the place of `experiments`",
    )
    views_seen: int | None = Field(
        None,
        gt=0,
        description="the budget: every method of the configuration trains on so many views, none "
        "stops early; null leaves each its own epochs",
    )
    baseline: Name | None = Field(
        None,
        description="method that the others are tested against, where it was trained; null is the "
        "mean position",
    )
