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


class Slices(Section):
    """Which slices take part and how they become images of 1 mm pixels."""

    datasets: list[Name] | None = Field(
        None, description="data sets whose real subjects are used; null takes all of the project"
    )
    window_hu: Range = Field((-200.0, 400.0), description="HU shown as 0 to 1; beyond is clipped")
    body_hu: float = Field(-300.0, description="HU above which a voxel may be of the body")
    least_body_mm2: float = Field(
        5000.0, gt=0, description="connected parts of a slice below this area are not of the body"
    )
    test_share: float = Field(
        0.25,
        gt=0,
        lt=1,
        description="where no subject has the split test: share of each CT's height, at its upper "
        "end, to test on",
    )
    gap_mm: float = Field(20.0, ge=0, description="height left out below such a test slab")
    test_slices: int | None = Field(
        None, gt=0, description="slices to test on per subject, evenly spread; null takes all"
    )


class Transformations(Section):
    """The ranges from which a slice's transformations are drawn, uniformly; 1 px is 1 mm."""

    intensity: float = Field(
        0.2, ge=0, lt=1, description="largest change of brightness (of the maximum) and contrast"
    )
    rotation_deg: float = Field(20.0, ge=0, description="largest rotation about the middle")
    scale: PositiveRange = Field((0.92, 1.08), description="magnification, drawn per axis")
    shear: float = Field(0.05, ge=0, lt=1, description="largest shear")
    displacement_mm: Range = Field(
        (9.0, 15.0), description="median length of an elastic displacement"
    )
    gaussian_mm: PositiveRange = Field(
        (40.0, 80.0), description="standard deviation of each Gaussian of an elastic displacement"
    )


class NetworkConfig(Section):
    """The U-Net branch; its filters double per level."""

    filters: int = Field(16, gt=0, description="filters at full resolution")
    normalisation: Literal["none", "group"] = Field(
        "none", description="between convolution and activation"
    )


class Training(Section):
    """The loop and the losses."""

    epochs: int = Field(50, gt=0, description="how often each slice is shown")
    pairs_per_epoch: int | None = Field(
        None, gt=0, description="slices shown per epoch, drawn by chance; null shows all"
    )
    batch: int = Field(4, gt=0, description="pairs per step")
    learning_rate: float = Field(1e-3, gt=0, description="of Adam")
    weight_decay: float = Field(1e-4, ge=0, description="of Adam")
    image_px: int = Field(512, gt=15, description="side of the window cut from slices for training")
    landmarks: int = Field(400, gt=0, description="K, landmarks sampled per image")
    matching_px: float = Field(2.0, gt=0, description="distance below which landmarks match")
    positive_margin: float = Field(0.1, ge=0, description="descriptors of a match may differ by it")
    negative_margin: float = Field(1.0, gt=0, description="others should differ by it")
    seed: int = Field(0, description="of weights, order and pairs")
    threads: int = Field(2, gt=0, description="threads of the arithmetic on a CPU")
    workers: int = Field(
        0, ge=0, description="processes that prepare pairs; 0: none but the loop's"
    )


class Matching(Section):
    """Inference, and the baselines beside it."""

    probability: float = Field(
        0.5, ge=0, lt=1, description="landmarks below this probability are dropped"
    )
    ratio: float = Field(
        0.8, gt=0, le=1, description="ratio test: nearest over second nearest distance, at most"
    )


class FollowUp(Section):
    """A second scan of a test CT, some time later: made from the first, so that the truth is known."""

    deformation: Deformation = Deformation(amplitude_mm=2.0, wavelength_mm=100.0)
    rotation_deg: float = Field(3.0, ge=0, description="largest rotation of how the patient lies")
    shift_mm: float = Field(15.0, ge=0, description="largest shift along each axis")
    noise_hu: float = Field(15.0, ge=0, description="standard deviation of the added noise")
    contrast_hu: dict[int, float] = Field(
        {}, description="HU by which a contrast agent raises the tissue of a label"
    )
    slices: int = Field(4, gt=0, description="slices to match, evenly spread over the test slices")


class Correspondence(Section):
    """The whole file."""

    slices: Slices = Slices()
    transformations: Transformations = Transformations()
    network: NetworkConfig = NetworkConfig()
    training: Training = Training()
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
    role: Literal["train", "test"],
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


def cts_for(
    role: Literal["train", "test"], project: Project, sheet: dict[str, Subject]
) -> dict[str, str]:
    """Return the paths of the CTs to train or test on, by subject."""
    settings = correspondence_of(project)
    return {
        subject: layout.CT.format(dataset=dataset, subject=subject)
        for dataset, subject in subjects_for(role, settings, project, sheet)
    }


def sections_text(project: Project, *names: str) -> str:
    """Return sections of the settings as JSON: what a step depends on."""
    return correspondence_of(project).model_dump_json(include=set(names))
