"""One view of a phantom, or of a patient, through a kilovoltage and a megavoltage beam, and how much
its bone stands out: noiseless images of the workflow's own projector and detector."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from raymark.config.dataset import Physics
from raymark.config.project import Project
from raymark.ct import Volume, read_label_map, read_volume
from raymark.geometry.camera import Camera, Detector, carm_camera
from raymark.projectors import projector_class
from raymark.rendering.physics import (
    CORTICAL_BONE_G_PER_CM3,
    CT_EFFECTIVE_KEV,
    MATERIALS,
    EnergyIntegratingDetector,
    densities_from_hu,
    mass_attenuation,
    spectrum_of,
)
from raymark.views.plan import camera_of, detector_of, read_views

SOFT_TISSUE_G_PER_CM3 = 1.06  # ICRU Report 44
PHANTOM_CM, INSERT_CM = 20.0, 1.0
PHANTOM_DETECTOR = Detector(64, 128, 2.0)
BONE_FROM_MM, BONE_UP_TO_MM = 5.0, 1.0  # of solid cortical bone: what counts as bone, and as none
NEAR_MM = 20.0  # a bone pixel's neighbour: in place at the isocentre, and in thickness of tissue
BODY_FROM_MM = 50.0  # of tissue: what counts as the patient


@dataclass(frozen=True)
class Paired:
    """One view through both beams: images (y, x) by beam without noise, −ln of the signal, as they
    are and with soft tissue in the place of the bone; the area densities (material, y, x) in g/cm²
    that its rays pass, and of the material bone that of bones (y, x); mm per px at the isocentre.

    The material bone is what the CT's HU make bone, vessels full of contrast agent too. Bones are
    what of it lies in the labels of bones; all of it where it is not `labelled`.
    """

    title: str
    images_yx: dict[str, np.ndarray]
    boneless_yx: dict[str, np.ndarray]
    g_per_cm2_myx: np.ndarray
    bones_g_per_cm2_yx: np.ndarray
    mm_per_px: float
    labelled: bool = False

    @property
    def bone_mm_yx(self) -> np.ndarray:
        """The thickness of solid cortical bone, in bones, that each ray passes."""
        return 10 * self.bones_g_per_cm2_yx / CORTICAL_BONE_G_PER_CM3

    @property
    def dense_mm_yx(self) -> np.ndarray:
        """The thickness of the material bone, in bones or not, that each ray passes."""
        return 10 * self.g_per_cm2_myx[MATERIALS.index("bone")] / CORTICAL_BONE_G_PER_CM3

    @property
    def tissue_mm_yx(self) -> np.ndarray:
        """The thickness of tissue, soft and bone, that each ray passes."""
        soft = self.g_per_cm2_myx[MATERIALS.index("soft tissue")]
        return 10 * soft / SOFT_TISSUE_G_PER_CM3 + self.dense_mm_yx

    @property
    def metal_yx(self) -> np.ndarray:
        """Whether each ray passes metal, or contrast agent as dense as metal."""
        return self.g_per_cm2_myx[MATERIALS.index("metal")] > 0


def paired_view(
    title: str,
    volume: Volume,
    camera: Camera,
    projector: str,
    beams: Mapping[str, Physics],
    source_to_isocentre_mm: float,
    bones_xyz: np.ndarray | None = None,
) -> Paired:
    """Render a CT once and see it through every beam.

    `bones_xyz` (x, y, z) tells which voxels lie in bones; None: all that is as dense.
    """
    density_mxyz = densities_from_hu(volume.hu_xyz)
    bone, soft = MATERIALS.index("bone"), MATERIALS.index("soft tissue")
    bones = density_mxyz[bone] * (True if bones_xyz is None else bones_xyz)
    density_mxyz = np.concatenate([density_mxyz, bones[None]])
    *integrals, bones_yx = projector_class(projector)(density_mxyz, volume.affine).project(camera)
    boneless = list(integrals)
    boneless[bone] = integrals[bone] - bones_yx
    boneless[soft] = integrals[soft] + bones_yx * SOFT_TISSUE_G_PER_CM3 / CORTICAL_BONE_G_PER_CM3
    integrals_myx = np.stack(integrals)
    return Paired(
        title,
        _log_images(integrals_myx, beams),
        _log_images(np.stack(boneless), beams),
        integrals_myx.astype(float) / 10,
        bones_yx.astype(float) / 10,
        source_to_isocentre_mm / abs(camera.K[0, 0]),
        bones_xyz is not None,
    )


def _log_images(integrals_myx: np.ndarray, beams: Mapping[str, Physics]) -> dict[str, np.ndarray]:
    """Return each beam's −ln(signal), without noise."""
    detectors = {n: EnergyIntegratingDetector(spectrum_of(b), None) for n, b in beams.items()}
    return {
        name: -np.log(detector.transmission(integrals_myx)[0].astype(float))
        for name, detector in detectors.items()
    }


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

    Bone: rays through at least 5 mm of solid bone and at most 1 mm of what is as dense outside bones.
    Its neighbour: the ray through at most 1 mm of either that is nearest in place and in thickness of
    tissue together, no farther than 20 mm. Rays through metal take no part.
    """
    bone_mm, dense_mm = view.bone_mm_yx.ravel(), view.dense_mm_yx.ravel()
    tissue_mm = view.tissue_mm_yx.ravel()
    usable = (tissue_mm >= BODY_FROM_MM) & ~view.metal_yx.ravel()
    y, x = np.divmod(np.arange(bone_mm.size), view.bone_mm_yx.shape[1])
    places_mm = np.stack([x * view.mm_per_px, y * view.mm_per_px, tissue_mm], axis=-1)
    alone = dense_mm - bone_mm <= BONE_UP_TO_MM
    bone = np.flatnonzero(usable & alone & (bone_mm >= BONE_FROM_MM))
    soft = np.flatnonzero(usable & (dense_mm <= BONE_UP_TO_MM))
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
    names = {"kv": project.contrast.kv, "mv": project.contrast.mv}
    return {beam: project.datasets[name].physics for beam, name in names.items()}


def patient_views(project: Project, files: Mapping[str, Any]) -> Iterator[Paired]:
    """Render the first view of a real patient in every evaluated view set, through both beams.

    `files` has the table of `views`, and the `cts` and `labels` of the data set's subjects in order
    (`raymark.datasets.lookup.contrast_files`).
    """
    settings = project.datasets[project.contrast.mv]
    volumes = zip(files["cts"], files["labels"], strict=True)
    volumes_of = dict(zip(settings.subjects, volumes, strict=True))
    table = read_views(files["views"])
    table = table[table["subject"].isin(settings.subjects)]
    for name, view_set in settings.view_sets.items():
        rows = table[table["view_set"] == name]
        if view_set.role != "evaluate" or rows.empty:
            continue
        row = rows.iloc[0]
        ct, labels = volumes_of[row.subject]
        yield paired_view(
            view_set.title or name,
            read_volume(ct),
            camera_of(row, detector_of(settings.detector)),
            settings.projector,
            beams_of(project),
            row.source_to_isocentre_mm,
            bones_of(read_label_map(labels).labels_xyz, project.contrast.bone_labels),
        )


def bones_of(labels_xyz: np.ndarray, ranges: Sequence[tuple[int, int]]) -> np.ndarray | None:
    """Tell which voxels (x, y, z) lie in bones, given the first and last ids of bones' labels.

    None where the label map has no bone.
    """
    bones = [(labels_xyz >= first) & (labels_xyz <= last) for first, last in ranges]
    bones_xyz = np.any(bones, axis=0) if bones else np.zeros_like(labels_xyz, bool)
    return bones_xyz if bones_xyz.any() else None
