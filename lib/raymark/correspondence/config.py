"""The settings of the correspondence pipeline: one file, read with the main file's preset."""

from typing import Literal

from pydantic import Field

from raymark import layout
from raymark.config.dataset import Deformation
from raymark.config.presets import read_preset
from raymark.config.project import Project
from raymark.config.subjects import Subject
from raymark.core.errors import InputError
from raymark.core.sections import Name, PositiveRange, Range, Section, checked

Role = Literal["train", "test"]  # of a slice
KINDS = ("intensity", "affine", "elastic")  # of transformations of a slice


class Slices(Section):
    """Which axial slices take part and how they become images of 1 mm pixels."""

    datasets: list[Name] | None = Field(
        None, description="names of the data sets whose real subjects are used; null takes all"
    )
    window_hu: Range = Field((-200.0, 400.0), description="the range shown, from black to white")
    body_hu: float = Field(-300.0, description="what is not above it is not of the body")
    least_body_mm2: float = Field(
        5000.0, gt=0, description="connected parts of a slice of less area are not of the body"
    )
    test_share: float = Field(
        0.25,
        gt=0,
        lt=1,
        description="where no subject has the split test: share of each CT's height, at its upper end, "
        "to test on; the rest is trained on",
    )
    gap_mm: float = Field(20.0, ge=0, description="height below such a test slab that is left out")
    test_slices: int | None = Field(
        None, gt=0, description="slices of a subject to test on, at most, evenly spread; null: all"
    )


class Transformations(Section):
    """The ranges from which a slice's transformations are drawn, uniformly; 1 px is 1 mm."""

    intensity: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="largest change of brightness, as a share of the way from black to white, and of "
        "contrast, as a share of itself",
    )
    rotation_deg: float = Field(
        20.0, ge=0, description="largest rotation about the middle, either way"
    )
    scale: PositiveRange = Field((0.92, 1.08), description="range of the scaling, drawn per axis")
    shear: float = Field(
        0.05, ge=0, lt=1, description="largest shear, either way: px along x per px of y"
    )
    displacement_mm: Range = Field(
        (9.0, 15.0), description="range of an elastic transformation's median displacement"
    )
    gaussian_mm: PositiveRange = Field(
        (40.0, 80.0),
        description="range of the standard deviation of the Gaussians that it is a sum of",
    )


class NetworkConfig(Section):
    """The U-Net that both images of a pair go through; its filters double on each of five levels."""

    filters: int = Field(16, gt=0, description="filters of the first level, at full resolution")
    normalisation: Literal["none", "group"] = Field(
        "none", description="normalisation between a convolution and its activation"
    )


class CorrespondenceTraining(Section):
    """The training of the network that matches slices, and its losses."""

    epochs: int = Field(
        50, gt=0, description="passes over the slices, or `pairs_per_epoch` of them"
    )
    pairs_per_epoch: int | None = Field(
        None, gt=0, description="slices of an epoch, drawn by chance; null: each once"
    )
    batch: int = Field(4, gt=0, description="pairs per step; a pair is a slice and its copy")
    learning_rate: float = Field(1e-3, gt=0, description="that of Adam")
    weight_decay: float = Field(1e-4, ge=0, description="that of Adam")
    image_px: int = Field(
        512, gt=15, description="side of the square cut from a slice; 1 px is 1 mm"
    )
    landmarks: int = Field(
        400,
        gt=0,
        description="landmarks sampled per image, at most one per 8 × 8 px (K in the paper)",
    )
    matching_px: float = Field(
        2.0, gt=0, description="landmarks of a pair match where they lie closer together than this"
    )
    positive_margin: float = Field(
        0.1,
        ge=0,
        description="distance of a match's descriptors, of unit length, that costs nothing",
    )
    negative_margin: float = Field(
        1.0, gt=0, description="distance from which other descriptors cost nothing"
    )
    seed: int = Field(0, description="decides weights, order and pairs")
    threads: int = Field(
        2,
        gt=0,
        description="threads of the arithmetic on a CPU, in matching too; rounding depends on it",
    )
    workers: int = Field(
        0, ge=0, description="further processes that prepare pairs; results do not depend on it"
    )


class Matching(Section):
    """How two slices are matched: by the network, and by SIFT beside it."""

    probability: float = Field(
        0.5, ge=0, lt=1, description="the network's landmarks need a probability above it"
    )
    ratio: float = Field(
        0.8,
        gt=0,
        le=1,
        description="SIFT's ratio test: the nearest descriptor's distance is below so much of the "
        "second nearest's",
    )


class FollowUpDeformation(Deformation):
    """How the body has changed its shape between the two scans: a sum of cosine waves."""

    amplitude_mm: float = Field(
        2.0, ge=0, description="standard deviation of the displacement along each axis"
    )
    wavelength_mm: float = Field(
        100.0,
        gt=0,
        description="shortest wavelength that takes part; the longest is three times it",
    )


class FollowUp(Section):
    """A second scan of a test CT, some time later: made from the first, so that the truth is known."""

    deformation: FollowUpDeformation = FollowUpDeformation()
    rotation_deg: float = Field(
        3.0,
        ge=0,
        description="largest rotation of how the patient lies about each axis, either way",
    )
    shift_mm: float = Field(
        15.0, ge=0, description="largest shift of the patient along each axis, either way"
    )
    noise_hu: float = Field(15.0, ge=0, description="standard deviation of the added noise")
    contrast_hu: dict[int, float] = Field(
        {}, description="by how much a contrast agent raises a label's tissue: HU by the label's id"
    )
    slices: int = Field(
        4, gt=0, description="slices of a CT to match, evenly spread over those to test on"
    )


class Correspondence(Section):
    """The matching of CT slices (docs/measurements/correspondence.md)."""

    slices: Slices = Slices()
    transformations: Transformations = Transformations()
    network: NetworkConfig = NetworkConfig()
    training: CorrespondenceTraining = CorrespondenceTraining()
    matching: Matching = Matching()
    follow_up: FollowUp = FollowUp()


def read_correspondence(path: str, preset: str) -> Correspondence:
    """Read the file with the values of `preset` laid over its own."""
    return checked(Correspondence, read_preset(path, preset), path)


def correspondence_of(project: Project) -> Correspondence:
    """Read the file that a project names; InputError where it names none."""
    path = project.config.correspondence
    if path is None:
        remedy = "Add `correspondence: config/correspondence.yaml` to it"
        raise InputError("the configuration", "has no `correspondence`", remedy)
    return read_correspondence(path, project.config.preset)


def subjects_for(
    role: Role,
    settings: Correspondence,
    project: Project,
    sheet: dict[str, Subject],
) -> list[tuple[str, str]]:
    """List (data set, subject) to train or test on; a CT that several data sets use counts once.

    Where no subject has the split test, both roles share the subjects of the split train:
    `raymark.correspondence.slices.apart` then keeps their slices apart.
    """
    names = settings.slices.datasets
    names = list(project.datasets) if names is None else names
    place = f"{project.config.correspondence}, slices.datasets"
    unknown = [name for name in names if name not in project.datasets]
    if unknown:
        known = f"Known: {', '.join(project.datasets)}"
        raise InputError(place, f"{unknown[0]!r} is not known", known)
    dataset_of: dict[str, str] = {}
    for name in names:
        for subject in project.datasets[name].subjects:
            dataset_of.setdefault(subject, name)
    by_split = {
        split: [(d, s) for s, d in dataset_of.items() if sheet[s].split == split]
        for split in ("train", "test")
    }
    if not by_split["train"]:
        remedy = "Give some subjects of these data sets the split train"
        raise InputError(place, "no subject to train on", remedy)
    return by_split[role] or by_split["train"]


def has_unseen_patients(settings: Correspondence, project: Project, sheet: dict) -> bool:
    """Tell whether whole patients are kept for testing, not only a slab of each."""
    args = settings, project, sheet
    return subjects_for("test", *args) != subjects_for("train", *args)


def cts_for(role: Role, project: Project, sheet: dict[str, Subject]) -> dict[str, str]:
    """Return the paths of the CTs to train or test on, by subject."""
    settings = correspondence_of(project)
    return {
        subject: layout.CT.format(dataset=dataset, subject=subject)
        for dataset, subject in subjects_for(role, settings, project, sheet)
    }


def shown_settings(project: Project) -> str:
    """Return, as JSON, what the table and the figures of the matches show of the configuration."""
    return project.shown_settings() + sections_text(project, "slices", "transformations")


def sections_text(project: Project, *names: str) -> str:
    """Return sections of the settings as JSON: what a step depends on."""
    return correspondence_of(project).model_dump_json(include=set(names))
