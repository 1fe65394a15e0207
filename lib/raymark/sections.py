"""The sections of a configuration: every key a user can set, described; unknown keys are refused."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]


def _ascending(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError("a range is the lower limit first, then the upper")
    return limits


def _positive(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] <= 0:
        raise ValueError("its limits must be above 0")
    return limits


# Far above what anyone needs: a slip of the keyboard shall not fill the memory.
MOST_VIEWS = 10**7  # of one subject in one view set
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Preset = Literal["demo", "reduced", "paper"]
Range = Annotated[tuple[float, float], AfterValidator(_ascending)]
PositiveRange = Annotated[Range, AfterValidator(_positive)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Ct(Section):
    """How a CT becomes the canonical volume."""

    spacing_mm: float | None = Field(
        None, gt=0, description="resample to this isotropic spacing; null keeps the CT's own grid"
    )
    region_labels: list[int] = Field(
        [], description="crop to the box around these labels; empty keeps everything"
    )
    region_margin_mm: float = Field(30.0, ge=0, description="margin around the cropped box")
    lowest_hu: int = Field(
        -1000, ge=-32768, le=32767, description="HU below this (padding) are raised to it"
    )


class Deformation(Section):
    """A smooth random displacement of the whole volume (a sum of low-order cosine waves)."""

    amplitude_mm: float = Field(
        6.0, ge=0, description="standard deviation of each displacement axis"
    )
    wavelength_mm: float = Field(120.0, gt=0, description="shortest wavelength that takes part")


class Cohort(Section):
    """Virtual patients made from each real one."""

    count: int = Field(0, ge=0, le=10_000, description="virtual patients per subject")
    deformation: Deformation = Deformation()
    scale: PositiveRange = Field((0.92, 1.08), description="range of the scaling, drawn per axis")
    cobb_deg: Range = Field(
        (0.0, 0.0), description="range of the Cobb angle by which the spine is bent; 0 0 leaves it"
    )


class DetectorConfig(Section):
    """The flat detector."""

    height_px: int = Field(479, gt=7, le=10_000, description="rows")
    width_px: int = Field(615, gt=7, le=10_000, description="columns")
    pixel_mm: float = Field(0.616, gt=0, description="pitch, the same along both axes")
    principal_point_offset_px: tuple[float, float] = Field(
        (0.0, 0.0), description="where the central ray meets the detector, from its centre (x, y)"
    )


class RandomSphere(Section):
    """Views drawn uniformly (by solid angle) on a spherical segment centred on AP."""

    kind: Literal["sphere"]
    count: int = Field(gt=0, le=MOST_VIEWS, description="views per subject")
    primary_deg: Range = Field((-60.0, 60.0), description="RAO (negative) to LAO")
    secondary_deg: Range = Field((-45.0, 45.0), description="caudal (negative) to cranial")
    roll_deg: Range = Field((0.0, 0.0), description="about the central ray")


class RandomBox(Section):
    """Views with 6-DoF poses drawn uniformly in each coordinate (paper 2)."""

    kind: Literal["box"]
    count: int = Field(gt=0, le=MOST_VIEWS, description="views per subject")
    primary_deg: Range = Field((-45.0, 45.0), description="RAO (negative) to LAO")
    secondary_deg: Range = Field((-45.0, 45.0), description="caudal (negative) to cranial")
    roll_deg: Range = Field((-45.0, 45.0), description="about the central ray")


class Grid(Section):
    """Views at fixed steps over a segment, borders included (paper 1: 25 × 19 = 475)."""

    kind: Literal["grid"]
    primary_deg: Range = Field((-60.0, 60.0), description="RAO (negative) to LAO")
    secondary_deg: Range = Field((-45.0, 45.0), description="caudal (negative) to cranial")
    step_deg: float = Field(5.0, gt=0, description="step along both angles; ends on the borders")

    @model_validator(mode="after")
    def _steps_end_on_the_borders(self):
        views = 1
        for key in ("primary_deg", "secondary_deg"):
            low, high = getattr(self, key)
            steps = (high - low) / self.step_deg
            if abs(steps - round(steps)) > 1e-6:
                raise ValueError(
                    f"{key}, {low:g} to {high:g}, is not a whole number of steps of step_deg, "
                    f"{self.step_deg:g}"
                )
            views *= steps + 1
        if views > MOST_VIEWS:
            raise ValueError(f"step_deg, {self.step_deg:g}, makes more than {MOST_VIEWS} views")
        return self


class Orbit(Section):
    """Equally spaced views on a circular orbit of the primary angle (end point excluded at 360°)."""

    kind: Literal["orbit"]
    count: int = Field(gt=0, le=MOST_VIEWS, description="views per subject")
    primary_deg: Range = Field((0.0, 360.0), description="start and end of the orbit")
    secondary_deg: float = Field(0.0, description="caudal (negative) to cranial")


class Tools(Section):
    """Metal rods (wires, screws, drill guides) in front of the patient, drawn for each view."""

    metal: Literal["steel", "titanium"] = Field("steel", description="what they are made of")
    count: tuple[int, int] = Field((1, 2), description="fewest and most in a view")
    diameter_mm: PositiveRange = Field(
        (2.0, 8.0), description="from a Kirschner wire to a drill guide"
    )
    length_mm: PositiveRange = Field((120.0, 200.0), description="from the tip outwards")

    @model_validator(mode="after")
    def _counts_ascend(self):
        if not 0 <= self.count[0] <= self.count[1] <= 100:
            raise ValueError("count is the fewest first, then the most, at most 100")
        return self


class ViewSet(Section):
    """One set of views: of which patients, from where, with how much variation."""

    title: str | None = Field(None, description="how tables call it; null takes its name")

    of: Literal["train", "validation", "test"] = Field(
        description="the split of the subjects it shows (column `split` of the subject sheet)"
    )
    role: Literal["train", "validation", "evaluate"] = Field(description="what the set is used for")
    sampling: RandomSphere | RandomBox | Grid | Orbit = Field(
        discriminator="kind", description="how its poses are chosen"
    )
    virtual_patients: bool = Field(True, description="show the subjects' virtual patients too")
    translation_mm: tuple[float, float, float] = Field(
        (0.0, 0.0, 0.0), description="largest shift of the isocentre along world x, y, z (uniform)"
    )
    source_to_isocentre_mm: PositiveRange = Field(
        (750.0, 750.0), description="range of the distance"
    )
    source_to_detector_mm: PositiveRange = Field(
        (1200.0, 1200.0), description="range of the distance"
    )
    flip_probability: float = Field(0.0, ge=0, le=1, description="share of mirrored views")
    field_of_view_share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of the detector's width and height that the collimator leaves; the "
        "image is cropped to it",
    )
    tools: Tools | None = Field(None, description="metal in the image; null: none")

    def scenario(self) -> dict[str, Any]:
        """Return what of the image itself departs from the standard; empty where nothing does."""
        values = self.model_dump(mode="json", include={"field_of_view_share", "tools"})
        return {key: value for key, value in values.items() if value not in (1.0, None)}

    @model_validator(mode="after")
    def _detector_is_behind_the_patient(self):
        if self.source_to_detector_mm[0] <= self.source_to_isocentre_mm[1]:
            raise ValueError("source_to_detector_mm must be above source_to_isocentre_mm")
        return self


class Physics(Section):
    """From line integrals to the X-ray image."""

    spectrum: Literal["mono", "kv", "mv"] = Field(
        "kv", description="monoenergetic, tungsten tube, or 6 MV linear accelerator"
    )
    tube_kvp: float = Field(90.0, ge=40, le=150, description="tube voltage when `spectrum` is kv")
    energy_kev: float = Field(60.0, gt=10, description="photon energy when `spectrum` is mono")
    filtration_mm_al: float = Field(4.0, ge=0, description="tube filter, mm of aluminium")
    photons_per_px: float | None = Field(
        2.0e4, gt=0, description="detected photons of an empty pixel; null switches noise off"
    )


class Beliefs(Section):
    """Belief maps stored beside the images."""

    stride: int = Field(8, ge=1, description="image px per belief cell")
    sigma_px: float = Field(12.0, gt=0, description="standard deviation in image px")


class Dataset(Section):
    """One experiment's images: whose, from where, how they are made."""

    name: Name = Field(description="the file's own name")
    title: str = Field(description="how tables and figures call it")
    subjects: list[str] = Field(min_length=1, description="ids in the subject sheet")
    landmarks: str = Field(description="file of landmark names, flip pairs and recipes")
    use_landmarks: list[str] | None = Field(
        None, description="the landmarks to use, in this order; null takes all of the file"
    )
    isocentre: str | None = Field(
        None, description="landmark at the isocentre of each subject; null: the mean of those used"
    )
    ct: Ct = Ct()
    cohort: Cohort = Cohort()
    detector: DetectorConfig = DetectorConfig()
    physics: Physics = Physics()
    beliefs: Beliefs = Beliefs()
    projector: Literal["shearwarp", "joseph", "nanodrr", "diffdrr", "trilinear"] = Field(
        "shearwarp", description="what renders (docs/geometry.md)"
    )
    views_per_shard: int = Field(
        500, gt=0, le=100_000, description="views of one subject in one file"
    )
    view_sets: dict[Name, ViewSet] = Field(min_length=1, description="by name")


class Augmentation(Section):
    """Random changes of a training image, drawn on the device."""

    rotation_deg: float = Field(0.0, ge=0, description="largest rotation about the middle")
    shift_px: float = Field(0.0, ge=0, description="largest shift along each axis")
    scale: PositiveRange = Field((1.0, 1.0), description="range of the magnification")
    contrast: PositiveRange = Field((1.0, 1.0), description="range of the gamma")
    noise: float = Field(0.0, ge=0, description="standard deviation, in units of the image's own")
    tool_probability: float = Field(0.0, ge=0, le=1, description="chance of an occluding tool")
    flip_probability: float = Field(
        0.0, ge=0, le=1, description="chance of a mirrored image, left and right landmarks swapped"
    )


class Training(Section):
    """The loop that all methods share."""

    epochs: int = Field(30, gt=0, le=10**6, description="passes over the training views")
    views_seen: int | None = Field(
        None,
        gt=0,
        description="views to train on in all, in the place of `epochs`: the whole number of epochs, "
        "at least one, that comes nearest",
    )
    batch: int = Field(1, gt=0, description="views per step, over all devices")
    learning_rate: float = Field(1e-5, gt=0, description="at the start of the schedule")
    optimizer: Literal["adam", "adamw"] = Field("adam", description="the optimiser")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="how the learning rate changes over the epochs"
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        "32-true", description="number format of the arithmetic"
    )
    threads: int = Field(
        2,
        gt=0,
        description="threads of the arithmetic on a CPU; rounding depends on it, so it is set here "
        "and does not follow the number of cores",
    )
    gradient_clip: float | None = Field(None, gt=0, description="largest gradient norm")
    patience: int | None = Field(None, gt=0, description="epochs without a better validation loss")
    diverged_above_share: float = Field(
        0.25,
        gt=0,
        description="a training whose validation RMSE never falls below this share of the image's "
        "diagonal counts as diverged; points drawn anywhere are 0.29 of it from the middle",
    )
    augmentation: Augmentation = Augmentation()


class ByType(Section):
    """Landmarks of one type share a channel, in which several instances are found."""

    at_most: int = Field(8, gt=0, description="instances of a type in one image")
    distance_px: float = Field(
        8.0, gt=0, description="an instance nearer than this to a surer one is dropped, image px"
    )


class Method(Section):
    """One network with its loss and its training."""

    name: Name = Field(description="the file's own name")
    title: str = Field(description="how tables and figures call it")
    module: str = Field(description="module under raymark.methods, e.g. cpm")
    network: dict[str, Any] = Field({}, description="checked by the module's own Config")
    start_from: Name | None = Field(
        None,
        description="method whose model, of the same data set and seed, the training starts from; "
        "null starts from random weights",
    )
    needs_3d: bool = Field(
        False,
        description="the loss needs 3D landmarks and cameras: not for imported images",
    )
    training: Training = Training()
    detection_threshold: float = Field(0.4, description="confidence below this: not detected")
    by_type: ByType | None = Field(
        None,
        description="predict the landmark file's types as instances without names; null: a channel "
        "for each landmark",
    )


class SetupReference(Section):
    """What an experiment's images are registered to (docs/setup-error.md)."""

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
    """The contrast of bone in kilovoltage and megavoltage images (docs/setup-error.md)."""

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
