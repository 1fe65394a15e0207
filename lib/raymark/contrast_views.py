"""One view of a phantom, or of a patient, through a kilovoltage and a megavoltage beam, and how much
its bone stands out: noiseless images of the workflow's own projector and detector."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from raymark import layout
from raymark.config import Project
from raymark.ct import Volume, read_volume
from raymark.geometry import Camera, Detector, carm_camera
from raymark.physics import (
    CORTICAL_BONE_G_PER_CM3,
    CT_EFFECTIVE_KEV,
    MATERIALS,
    EnergyIntegratingDetector,
    densities_from_hu,
    mass_attenuation,
    spectrum_of,
)
from raymark.render import projector_class
from raymark.sections import Physics
from raymark.views import camera_of, detector_of, read_views

SOFT_TISSUE_G_PER_CM3 = 1.06  # ICRU Report 44
PHANTOM_CM, INSERT_CM = 20.0, 1.0
PHANTOM_DETECTOR = Detector(64, 128, 2.0)
BONE_FROM_MM, BONE_UP_TO_MM = 10.0, 1.0  # of solid cortical bone: what counts as bone, and as none
NEAR_MM = 20.0  # a bone pixel's neighbour: in place at the isocentre, and in thickness of tissue
BODY_FROM_MM = 50.0  # of tissue: what counts as the patient


@dataclass(frozen=True)
class Paired:
    """One view through both beams: images (y, x) by beam without noise, −ln of the signal; the area
    densities (material, y, x) in g/cm² that its rays pass; mm per px at the isocentre."""

    title: str
    images_yx: dict[str, np.ndarray]
    g_per_cm2_myx: np.ndarray
    mm_per_px: float

    @property
    def bone_mm_yx(self) -> np.ndarray:
        """The thickness of solid cortical bone that each ray passes."""
        return 10 * self.g_per_cm2_myx[MATERIALS.index("bone")] / CORTICAL_BONE_G_PER_CM3

    @property
    def tissue_mm_yx(self) -> np.ndarray:
        """The thickness of tissue, soft and bone, that each ray passes."""
        soft = self.g_per_cm2_myx[MATERIALS.index("soft tissue")]
        return 10 * soft / SOFT_TISSUE_G_PER_CM3 + self.bone_mm_yx


def paired_view(
    title: str,
    volume: Volume,
    camera: Camera,
    projector: str,
    beams: Mapping[str, Physics],
    source_to_isocentre_mm: float,
) -> Paired:
    """Render a CT once and see it through every beam."""
    render = projector_class(projector)(densities_from_hu(volume.hu_xyz), volume.affine)
    integrals_myx = render.project(camera)
    images_yx = {}
    for name, physics in beams.items():
        detector = EnergyIntegratingDetector(spectrum_of(physics), None)
        signal_yx, _ = detector.transmission(integrals_myx)
        images_yx[name] = -np.log(signal_yx.astype(float))
    mm_per_px = source_to_isocentre_mm / abs(camera.K[0, 0])
    return Paired(title, images_yx, integrals_myx.astype(float) / 10, mm_per_px)


def phantom_view(projector: str, beams: Mapping[str, Physics]) -> Paired:
    """Render 20 cm of water, 1 cm of it replaced by cortical bone on the patient's left side."""
    ct_kev = np.array([CT_EFFECTIVE_KEV])
    bone, water = (mass_attenuation(material, ct_kev)[0] for material in ("bone", "water"))
    voxel_mm, shape_xyz = 2.0, np.array([100, 10 * PHANTOM_CM / 2, 40]).astype(int)
    hu_xyz = np.zeros(shape_xyz, np.int16)
    middle, half = shape_xyz[1] // 2, round(10 * INSERT_CM / voxel_mm / 2)
    insert = np.s_[10:40, middle - half : middle - half + round(10 * INSERT_CM / voxel_mm)]
    hu_xyz[insert] = round(1000 * (CORTICAL_BONE_G_PER_CM3 * bone / water - 1))
    affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    affine[:3, 3] = -voxel_mm * (shape_xyz - 1) / 2
    camera = carm_camera(
        PHANTOM_DETECTOR,
        primary_deg=0,
        secondary_deg=0,
        isocentre_world_mm=np.zeros(3),
        source_to_isocentre_mm=1000,
        source_to_detector_mm=1500,
    )
    return paired_view("phantom", Volume(hu_xyz, affine), camera, projector, beams, 1000)


def phantom_contrast(phantom: Paired) -> tuple[dict[str, float], int]:
    """Return each beam's contrast of the insert against its mirror image, and how many px it has.

    Rays through either side pass equally obliquely, so all but the insert cancels.
    """
    solid = np.isclose(phantom.bone_mm_yx, 10 * INSERT_CM, rtol=0.01)
    mirrored = {name: image - image[:, ::-1] for name, image in phantom.images_yx.items()}
    return {name: float(image[solid].mean()) for name, image in mirrored.items()}, int(solid.sum())


def neighbours(view: Paired) -> tuple[np.ndarray, np.ndarray]:
    """Pair every bone pixel with the soft-tissue pixel most like it: two arrays (pair,) of px.

    Bone: rays through at least 10 mm of solid bone. Its neighbour: the ray through at most 1 mm of
    bone that is nearest in place and in thickness of tissue together, no farther than 20 mm.
    """
    bone_mm, tissue_mm = view.bone_mm_yx.ravel(), view.tissue_mm_yx.ravel()
    metal = view.g_per_cm2_myx[MATERIALS.index("metal")].ravel()
    usable = (tissue_mm >= BODY_FROM_MM) & (metal == 0)
    y, x = np.divmod(np.arange(bone_mm.size), view.bone_mm_yx.shape[1])
    places_mm = np.stack([x * view.mm_per_px, y * view.mm_per_px, tissue_mm], axis=-1)
    bone = np.flatnonzero(usable & (bone_mm >= BONE_FROM_MM))
    soft = np.flatnonzero(usable & (bone_mm <= BONE_UP_TO_MM))
    if not (len(bone) and len(soft)):
        return bone[:0], soft[:0]
    apart_mm, nearest = cKDTree(places_mm[soft]).query(places_mm[bone])
    near = apart_mm <= NEAR_MM
    return bone[near], soft[nearest[near]]


def neighbour_contrast(view: Paired) -> tuple[dict[str, float], int]:
    """Return each beam's mean contrast of bone pixels against their neighbours, and the pairs."""
    bone, soft = neighbours(view)
    images = {name: image.ravel() for name, image in view.images_yx.items()}
    if not len(bone):
        return dict.fromkeys(images, np.nan), 0
    return {name: float((i[bone] - i[soft]).mean()) for name, i in images.items()}, len(bone)


def beams_of(project: Project) -> dict[str, Physics]:
    """Return the two beams that the configuration compares."""
    names = project.config.contrast
    return {name: project.datasets[getattr(names, name)].physics for name in ("kv", "mv")}


def patient_views(project: Project) -> list[Paired]:
    """Render the first view of a real patient in every evaluated view set, through both beams."""
    settings = project.datasets[project.config.contrast.mv]
    table = read_views(layout.VIEWS.format(dataset=settings.name))
    table = table[table["subject"].isin(settings.subjects)]
    shown = []
    for name, view_set in settings.view_sets.items():
        rows = table[table["view_set"] == name]
        if view_set.role != "evaluate" or rows.empty:
            continue
        row = rows.iloc[0]
        volume = read_volume(layout.CT.format(dataset=settings.name, subject=row.subject))
        camera = camera_of(row, detector_of(settings.detector))
        shown.append(
            paired_view(
                settings.view_sets[name].title or name,
                volume,
                camera,
                settings.projector,
                beams_of(project),
                row.source_to_isocentre_mm,
            )
        )
    return shown
