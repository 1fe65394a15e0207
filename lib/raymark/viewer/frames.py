"""The X-ray that a page asks for, and where landmarks lie on it.

While something is moved frames must follow at once: the CT is then taken in coarser voxels, means of its
own. What stands still is rendered on the CT's own grid.
"""

import io
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from PIL import Image
from pydantic import Field

from raymark.config.dataset import DetectorConfig, Physics
from raymark.core.errors import InputError
from raymark.core.names import flip_pairs
from raymark.core.sections import Section
from raymark.geometry.camera import Camera, carm_camera, inside
from raymark.imports.stored_image import Xray
from raymark.pose.body import pooled
from raymark.pose.pictures import grey
from raymark.projectors.shearwarp import ShearWarp
from raymark.rendering.physics import EnergyIntegratingDetector, densities_from_hu, spectrum_of
from raymark.rendering.scene import mirror_order
from raymark.viewer.shown import Shown
from raymark.views.plan import detector_of

LIVE_VOXELS = 2.5e6  # so many follow a hand on one core
JPEG_QUALITY = 92
MOST_PX = 1600  # along an image's longer side: what a screen shows


class Asked(Section):
    """What a page wants to see: a C-arm's view, or that of a pose by its number."""

    primary_deg: float = Field(ge=-180, le=180)
    secondary_deg: float = Field(ge=-90, le=90)
    roll_deg: float = Field(0.0, ge=-180, le=180)
    isocentre_mm: tuple[float, float, float]
    source_to_isocentre_mm: float = Field(gt=0, le=10_000)
    source_to_detector_mm: float = Field(gt=0, le=10_000)
    flip: bool = False
    field_of_view_share: float = Field(1.0, ge=0.05, le=1)
    detector: DetectorConfig
    physics: Physics
    pose: int | None = Field(None, ge=0)
    longest_px: int = Field(300, ge=16, le=MOST_PX)
    live: bool = False


@dataclass(frozen=True)
class Frame:
    """A log X-ray (row, column), its camera on `shape_full_yx` pixels of the detector."""

    image_yx: np.ndarray
    camera: Camera
    full: Camera
    spacing_mm: np.ndarray


class Frames:
    """Renders what is asked of one CT."""

    def __init__(self, shown: Shown):
        self.shown = shown
        names = list(shown.names)
        self._mirrored = mirror_order(names, flip_pairs(names))

    @cached_property
    def _fine(self) -> tuple[ShearWarp, np.ndarray]:
        volume = self.shown.volume
        return ShearWarp(densities_from_hu(volume.hu_xyz), volume.affine), volume.spacing_mm

    @cached_property
    def _coarse(self) -> tuple[ShearWarp, np.ndarray]:
        fine, spacing_mm = self._fine
        block = live_block(np.array(self.shown.volume.hu_xyz.shape), spacing_mm)
        if (block == 1).all():
            return fine, spacing_mm
        # Air all around the last voxels, so that whole blocks hold all of them.
        rest = -np.array(self.shown.volume.hu_xyz.shape) % block
        padded = np.pad(fine.density_mxyz, [(0, 0), *((0, n) for n in rest)])
        affine = self.shown.volume.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ ((block - 1) / 2)
        affine[:3, :3] *= block
        return ShearWarp(pooled(padded, np.array([1, *block])), affine), spacing_mm * block

    def frame(self, asked: Asked) -> Frame:
        """Render a view; InputError where no X-ray can be taken so."""
        full = self.camera(asked)
        camera = resized(full, asked.longest_px)
        projector, spacing_mm = self._coarse if asked.live else self._fine
        integrals = projector.project(camera)
        image = _detection(asked.physics).log_image(integrals, np.random.default_rng(0))
        return Frame(image.astype(np.float32), camera, full, spacing_mm)

    def camera(self, asked: Asked) -> Camera:
        """Return the camera of a view, on all pixels of its detector."""
        if asked.pose is not None:
            if asked.pose >= len(self.shown.poses):
                raise InputError(
                    "pose", f"there is none of number {asked.pose}", "Load the page again"
                )
            return self.shown.poses[asked.pose].camera
        if asked.source_to_detector_mm <= asked.source_to_isocentre_mm:
            raise InputError(
                "Detector distance",
                "is not beyond the isocentre",
                "Make it larger than the source's",
            )
        return carm_camera(
            detector_of(asked.detector, asked.field_of_view_share),
            primary_deg=asked.primary_deg,
            secondary_deg=asked.secondary_deg,
            roll_deg=asked.roll_deg,
            isocentre_world_mm=np.array(asked.isocentre_mm),
            source_to_isocentre_mm=asked.source_to_isocentre_mm,
            source_to_detector_mm=asked.source_to_detector_mm,
            flip=asked.flip,
        )

    def landmarks(self, asked: Asked, camera: Camera) -> dict[str, Any]:
        """Return where the landmarks lie: x, y in px of `camera`, depth in mm, whether on the image.

        On a mirrored image the names of left and right change places, as on rendered ones.
        """
        mirrored = asked.flip and asked.pose is None
        world = self.shown.points_mm[self._mirrored] if mirrored else self.shown.points_mm
        points_px = camera.project(world)
        depth_mm = world @ camera.world_to_camera[2, :3] + camera.world_to_camera[2, 3]
        return {
            "points_px": [p if np.isfinite(p).all() else None for p in points_px.round(2).tolist()],
            "depth_mm": depth_mm.round(1).tolist(),
            "visible": inside(points_px, camera.shape_yx).tolist(),
        }

    def told(self, asked: Asked, frame: Frame) -> dict[str, Any]:
        """Return what a page writes beside a frame. The angles are those of the camera itself."""
        camera, full = frame.camera, frame.full
        primary_deg, secondary_deg = angles_of(camera)
        distance_mm = self.source_to_detector_mm(asked)
        centre = camera.world_to_camera[2] @ [*asked.isocentre_mm, 1.0]
        pixel_mm = distance_mm / full.K[1, 1]
        return {
            "primary_deg": primary_deg,
            "secondary_deg": secondary_deg,
            "height_px": camera.height_px,
            "width_px": camera.width_px,
            "detector_px": [full.width_px, full.height_px],
            "pixel_mm": pixel_mm,
            "at_isocentre_mm": pixel_mm * centre / distance_mm,
            "voxel_mm": [round(float(side), 2) for side in frame.spacing_mm],
            **self.landmarks(asked, camera),
        }

    def source_to_detector_mm(self, asked: Asked) -> float:
        if asked.pose is None:
            return asked.source_to_detector_mm
        return self.shown.poses[asked.pose].source_to_detector_mm

    def detections(self, asked: Asked) -> dict[str, Any]:
        """Return what the model finds in a view: points in shares of the image, confidence, and
        errors in px of the detector.

        It sees the image without noise, of a detector with more pixels a smaller one.
        """
        if self.shown.find is None:
            raise InputError("model", "was not given", "Start again with --model")
        frame = self.frame(asked.model_copy(update={"longest_px": MOST_PX, "live": False}))
        pixel_mm = self.source_to_detector_mm(asked) / frame.camera.K[1, 1]
        table = self.shown.find(Xray(frame.image_yx, pixel_mm))
        truth = dict(
            zip(self.shown.names, self.landmarks(asked, frame.camera)["points_px"], strict=True)
        )
        width, height = frame.camera.width_px, frame.camera.height_px
        per_px = frame.full.width_px / width
        found = []
        for row in table[table["detected"]].itertuples():
            true, error_px = truth.get(row.landmark), None
            if true is not None:
                error_px = per_px * float(np.hypot(row.x_px - true[0], row.y_px - true[1]))
            place = {"x": (row.x_px + 0.5) / width, "y": (row.y_px + 0.5) / height}
            found.append({"landmark": row.landmark, "confidence": row.confidence, **place}
                         | {"error_px": error_px})  # fmt: skip
        return {"found": found, "of": len(table)}


def angles_of(camera: Camera) -> tuple[float, float]:
    """Return the primary and secondary angle in degrees of any camera (`carm_rotation`'s)."""
    beam = camera.world_to_camera[2, :3]
    primary_deg = np.rad2deg(np.arctan2(-beam[0], beam[1]))
    return float(primary_deg), float(np.rad2deg(np.arcsin(np.clip(beam[2], -1, 1))))


def resized(camera: Camera, longest_px: int) -> Camera:
    """Return a view on fewer pixels, `longest_px` along its longer side: borders onto borders."""
    scale = min(1.0, longest_px / max(camera.shape_yx))
    height, width = (max(1, round(scale * side)) for side in camera.shape_yx)
    y, x = height / camera.height_px, width / camera.width_px
    to_small = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])
    return Camera(to_small @ camera.K, camera.world_to_camera, height, width)


def live_block(shape_xyz: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """Return how many voxels (3,) become one, so that at most `LIVE_VOXELS` are left: nearly cubes."""
    block = np.ones(3, dtype=int)
    while np.prod(np.ceil(shape_xyz / block)) > LIVE_VOXELS:
        block[np.argmin(block * spacing_mm)] += 1
    return block


@lru_cache(maxsize=64)
def _detection(physics: Physics) -> EnergyIntegratingDetector:
    """Return the detector of a beam, without noise."""
    return EnergyIntegratingDetector(spectrum_of(physics), None)


def jpeg(picture: np.ndarray) -> bytes:
    """Return grey (y, x) or colours (y, x, 3), 0 to 1, as JPEG."""
    file = io.BytesIO()
    pixels = np.rint(255 * picture).astype(np.uint8)
    Image.fromarray(pixels).save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return file.getvalue()


def picture(image_yx: np.ndarray) -> bytes:
    """Return a log X-ray as JPEG, bone bright."""
    return jpeg(grey(image_yx))
