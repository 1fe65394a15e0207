"""A data set: its CTs, patients, views, beam and detector."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from raymark import projectors
from raymark.core.sections import Name, PositiveRange, Range, Section

# Far above what anyone needs: a slip of the keyboard shall not fill the memory.
MOST_VIEWS = 10**7  # of one subject in one view set

PRIMARY = "range: negative is RAO, 0 AP, positive LAO"
SECONDARY = "range: negative is caudal, positive cranial"
ROLL = "range of the rotation about the central ray (docs/geometry.md)"


class Ct(Section):
    """How a CT becomes the volume that is rendered: raised, then cropped, then resampled."""

    spacing_mm: float | None = Field(
        None, gt=0, description="spacing of the voxels along all axes; null keeps the CT's own grid"
    )
    region_labels: list[int | str] = Field(
        [],
        description="crop to the box around these structures of the subject's label map, by name "
        "(docs/landmarks.md) or id; empty keeps everything",
    )
    region_margin_mm: float = Field(
        30.0, ge=0, description="what the cropped box has more than the labels, on each side"
    )
    straighten: bool = Field(
        False,
        description="resample a CT taken with a tilted gantry to a rectangular grid; otherwise it is "
        "refused",
    )
    lowest_hu: int = Field(
        -1000, ge=-32768, le=32767, description="values below it (padding) are raised to it, HU"
    )


class Deformation(Section):
    """A smooth random displacement of the whole body: a sum of cosine waves, weakened where it would fold."""

    amplitude_mm: float = Field(
        6.0, ge=0, description="standard deviation of the displacement along each axis"
    )
    wavelength_mm: float = Field(
        120.0,
        gt=0,
        description="shortest wavelength that takes part; the longest is three times it",
    )


class Cohort(Section):
    """Virtual patients made from each real one: deformed, scaled and bent."""

    count: int = Field(0, ge=0, le=10_000, description="virtual patients per subject")
    deformation: Deformation = Deformation()
    scale: PositiveRange = Field(
        (0.92, 1.08), description="range of the magnification, drawn per axis"
    )
    cobb_deg: Range = Field(
        (0.0, 0.0),
        description="range of the Cobb angle by which the spine is bent sideways, positive to the "
        "patient's right; [0, 0] leaves it",
    )


class DetectorConfig(Section):
    """The flat detector."""

    height_px: int = Field(479, gt=7, le=10_000, description="rows of the image")
    width_px: int = Field(615, gt=7, le=10_000, description="columns of the image")
    pixel_mm: float = Field(0.616, gt=0, description="pitch of the pixels, along both axes")
    principal_point_offset_px: tuple[float, float] = Field(
        (0.0, 0.0),
        description="where the central ray meets the detector, from its centre: x, y in pixels",
    )


class RandomSphere(Section):
    """Views drawn uniformly (by solid angle) on a spherical segment centred on AP."""

    kind: Literal["sphere"]
    count: int = Field(gt=0, le=MOST_VIEWS, description="views per subject")
    primary_deg: Range = Field((-60.0, 60.0), description=PRIMARY)
    secondary_deg: Range = Field((-45.0, 45.0), description=SECONDARY)
    roll_deg: Range = Field((0.0, 0.0), description=ROLL)


class RandomBox(Section):
    """Views drawn uniformly in each angle: with `translation_mm`, random 6-DoF poses."""

    kind: Literal["box"]
    count: int = Field(gt=0, le=MOST_VIEWS, description="views per subject")
    primary_deg: Range = Field((-45.0, 45.0), description=PRIMARY)
    secondary_deg: Range = Field((-45.0, 45.0), description=SECONDARY)
    roll_deg: Range = Field((-45.0, 45.0), description=ROLL)


class Grid(Section):
    """Views at fixed steps of both angles, borders included (Bier 2018: 25 × 19 = 475)."""

    kind: Literal["grid"]
    primary_deg: Range = Field((-60.0, 60.0), description=PRIMARY)
    secondary_deg: Range = Field((-45.0, 45.0), description=SECONDARY)
    step_deg: float = Field(
        5.0, gt=0, description="step of both angles; a whole number of them fills each range"
    )

    @model_validator(mode="after")
    def _steps_end_on_the_borders(self) -> Self:
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
    """Views at equal steps of the primary angle; the end is left out where it is the start again."""

    kind: Literal["orbit"]
    count: int = Field(gt=0, le=MOST_VIEWS, description="views per subject")
    primary_deg: Range = Field(
        (0.0, 360.0), description="start and end of the orbit: 0 is AP, 90 LAO"
    )
    secondary_deg: float = Field(0.0, description="the same for all: negative is caudal")


class RealXrays(Section):
    """The X-rays that were really taken of the subjects of a calibrated data set, all of them."""

    kind: Literal["real"]


class Tools(Section):
    """Metal rods (wires, screws, drill guides) in front of the patient, drawn for each view by chance."""

    metal: Literal["steel", "titanium"] = Field("steel", description="what they are made of")
    count: tuple[int, int] = Field((1, 2), description="fewest and most rods in a view")
    diameter_mm: PositiveRange = Field(
        (2.0, 8.0), description="range of the diameter: from a Kirschner wire to a drill guide"
    )
    length_mm: PositiveRange = Field(
        (120.0, 200.0), description="range of the length, from the tip, near a landmark, outwards"
    )

    @model_validator(mode="after")
    def _counts_ascend(self) -> Self:
        if not 0 <= self.count[0] <= self.count[1] <= 100:
            raise ValueError("count is the fewest first, then the most, at most 100")
        return self


class ViewSet(Section):
    """One set of views: of which patients, from where, with how much variation."""

    title: str | None = Field(None, description="what tables call it; null takes its name")
    of: Literal["train", "validation", "test"] = Field(
        description="the split of the subjects it shows (column `split` of the subject sheet)"
    )
    role: Literal["train", "validation", "evaluate"] = Field(
        description="whether methods train on it, are stopped and chosen by it, or are evaluated on it"
    )
    sampling: RandomSphere | RandomBox | Grid | Orbit | RealXrays = Field(
        discriminator="kind", description="from where the X-rays are taken"
    )
    virtual_patients: bool = Field(True, description="show the subjects' virtual patients too")
    translation_mm: tuple[float, float, float] = Field(
        (0.0, 0.0, 0.0),
        description="largest shift of the isocentre to either side along the patient's right, anterior "
        "and superior; uniform",
    )
    source_to_isocentre_mm: PositiveRange = Field(
        (750.0, 750.0), description="range of the distance from the X-ray source; uniform"
    )
    source_to_detector_mm: PositiveRange = Field(
        (1200.0, 1200.0),
        description="range of the distance from the X-ray source; uniform; all of it beyond the "
        "isocentre's",
    )
    flip_probability: float = Field(
        0.0,
        ge=0,
        le=1,
        description="chance of a mirrored view, left and right landmarks swapped",
    )
    field_of_view_share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of the detector's width and height that the collimator leaves; the "
        "image is cropped to it",
    )
    tools: Tools | None = Field(None, description="metal in the images; null: none")

    @property
    def is_real(self) -> bool:
        """Whether its X-rays were taken, not rendered."""
        return isinstance(self.sampling, RealXrays)

    @model_validator(mode="after")
    def _real_xrays_are_as_they_are(self) -> Self:
        if self.is_real:
            if self.role != "evaluate":
                raise ValueError("real X-rays are evaluated on: their `role` is `evaluate`")
            if given := sorted(self.model_fields_set - {"title", "of", "role", "sampling"}):
                raise ValueError(f"`{given[0]}` says nothing of real X-rays; leave it out")
        return self

    def scenario(self) -> dict[str, Any]:
        """Return what of the image itself departs from the standard; empty where nothing does."""
        values = self.model_dump(mode="json", include={"field_of_view_share", "tools"})
        return {key: value for key, value in values.items() if value not in (1.0, None)}

    @model_validator(mode="after")
    def _detector_is_behind_the_patient(self) -> Self:
        if self.source_to_detector_mm[0] <= self.source_to_isocentre_mm[1]:
            raise ValueError("source_to_detector_mm must be above source_to_isocentre_mm")
        return self


class Physics(Section):
    """The beam, and what the detector makes of it."""

    spectrum: Literal["mono", "kv", "mv"] = Field(
        "kv", description="of one energy, of a tungsten tube, or of a 6 MV linear accelerator"
    )
    tube_kvp: float = Field(
        90.0, ge=40, le=150, description="tube voltage, kV; counts where `spectrum` is kv"
    )
    energy_kev: float = Field(
        60.0, gt=10, description="energy of all photons; counts where `spectrum` is mono"
    )
    filtration_mm_al: float = Field(
        4.0, ge=0, description="filter of the tube, mm of aluminium; counts where `spectrum` is kv"
    )
    photons_per_px: float | None = Field(
        2.0e4, gt=0, description="photons in a pixel behind nothing; null: images without noise"
    )


class Beliefs(Section):
    """Belief maps, a Gaussian about each landmark, stored beside the images; methods make their own."""

    stride: int = Field(8, ge=1, description="image px per cell of the maps, along both axes")
    sigma_px: float = Field(12.0, gt=0, description="standard deviation, image px")


class Dataset(Section):
    """Rendered X-rays: of whom, from where, how they are made."""

    name: Name = Field(description="the file's own name, without .yaml")
    title: str = Field(description="what tables and figures call it")
    subjects: list[str] = Field(
        min_length=1, description="who takes part: ids in the subject sheet, column `subject`"
    )
    leave_out: str | None = Field(
        None,
        description="a patient who is in the split `test` of this data set, all others of its subjects in "
        "`train`, whatever the subject sheet says; null: the sheet's splits",
    )
    landmarks: str = Field(description="a landmark file, e.g. config/recipes/pelvis.yaml")
    use_landmarks: list[str] | None = Field(
        None, description="the landmarks to use, in this order; null takes all of the file"
    )
    isocentre: str | None = Field(
        None,
        description="the landmark about which the source turns; null: the mean of those used",
    )
    ct: Ct = Ct()
    cohort: Cohort = Cohort()
    detector: DetectorConfig = DetectorConfig()
    physics: Physics = Physics()
    beliefs: Beliefs = Beliefs()
    projector: Literal[tuple(projectors.names())] = Field(  # type: ignore[valid-type]
        "shearwarp", description="what renders (docs/geometry.md)"
    )
    views_per_shard: int = Field(
        500, gt=0, le=100_000, description="views of one subject in one file, at most"
    )
    view_sets: dict[Name, ViewSet] = Field(
        min_length=1, description="sets of views, by names of your choice"
    )
