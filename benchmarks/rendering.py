"""Images per second, memory and error of every CPU projector: same volume, detector and views.

python benchmarks/rendering.py [--quick] [--out docs/measurements/rendering.md]

Each renderer runs in a process of its own, one after another, so that none inherits another's
memory or threads. Our own projectors take a view per thread, the others bring their threads along.
`--quick` leaves out what takes 10 GB or minutes.
"""

import argparse
import csv
import multiprocessing
import time
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from measurement import report

from raymark.core.threads import in_order, thread_count
from raymark.geometry.camera import Camera, Detector, carm_camera

VOXELS = 256
DETECTOR = Detector(479, 615, 0.6)
SOURCE_TO_ISOCENTRE_MM, SOURCE_TO_DETECTOR_MM = 750.0, 1200.0
FRONTAL = [(0.0, 0.0)]
MIXED = [(-60, -45), (-60, 0), (-35, 40), (-20, -20), (10, 45), (25, -10), (50, 20), (60, 45)]
ELLIPSOIDS = [  # centre in mm, semi-axes in mm, attenuation per mm, material
    ((0, 0, 0), (100, 70, 110), 0.020, 0),
    ((30, 10, 20), (20, 25, 40), 0.030, 1),
    ((-40, -10, -30), (15, 30, 20), -0.010, 0),
    ((5, 30, -60), (30, 12, 9), 0.020, 2),
]
VOXEL_TO_WORLD = np.eye(4)
VOXEL_TO_WORLD[:3, 3] = -(VOXELS - 1) / 2
SHEARWARP = "raymark shear-warp"


@dataclass(frozen=True)
class Case:
    """One row: what to build, on which volume, and how long to measure it."""

    build: callable
    views: list
    volume: str = "one material"
    seconds: float = 0.0
    side_by_side: bool = False
    slow: bool = False


def camera_of(view: tuple[float, float]) -> Camera:
    return carm_camera(
        DETECTOR,
        primary_deg=view[0],
        secondary_deg=view[1],
        isocentre_world_mm=np.zeros(3),
        source_to_isocentre_mm=SOURCE_TO_ISOCENTRE_MM,
        source_to_detector_mm=SOURCE_TO_DETECTOR_MM,
    )


def volume_of(kind: str) -> np.ndarray:
    """Return the ellipsoids (material, x, y, z), each voxel the mean of 27 points in it."""
    density = np.zeros((3, VOXELS, VOXELS, VOXELS), np.float32)
    index = np.arange(VOXELS) - (VOXELS - 1) / 2
    offsets = np.array([-1, 0, 1]) / 3
    for centre, axes, attenuation, material in ELLIPSOIDS:
        boxes = [np.abs(index - c) < a + 1 for c, a in zip(centre, axes, strict=True)]
        inside = np.zeros([box.sum() for box in boxes], np.float32)
        for offset in product(offsets, repeat=3):
            x, y, z = (
                ((index[box] + o - c) / a) ** 2
                for box, o, c, a in zip(boxes, offset, centre, axes, strict=True)
            )
            inside += x[:, None, None] + y[:, None] + z <= 1
        density[material][np.ix_(*boxes)] += attenuation / len(offsets) ** 3 * inside
    if kind == "three materials":
        return density
    density = density.sum(axis=0, keepdims=True)
    return density + 1e-4 if kind == "no empty voxel" else density


def exact_image(camera: Camera) -> np.ndarray:
    """Return the line integrals (row, column) of the ellipsoids."""
    y, x = np.indices(camera.shape_yx)
    rays = np.stack([x, y, np.ones_like(x)], axis=-1) @ camera.pixel_to_ray.T
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    image = np.zeros(camera.shape_yx)
    for centre, axes, attenuation, _ in ELLIPSOIDS:
        ray, source = rays / axes, (camera.source_world_mm - centre) / np.array(axes)
        squared = (ray**2).sum(axis=-1)
        root = np.maximum((ray @ source) ** 2 - squared * (source @ source - 1), 0)
        image += attenuation * 2 * np.sqrt(root) / squared
    return image


def ours(name: str, density_mxyz: np.ndarray):
    from raymark.projectors import projector_class

    return projector_class(name)(density_mxyz, VOXEL_TO_WORLD).project


def samples_of(camera: Camera) -> int:
    """Return how many samples put them about 1 mm apart on every ray, or closer."""
    from raymark.projectors._box import depth_range_mm

    near_mm, far_mm = depth_range_mm((VOXELS,) * 3, VOXEL_TO_WORLD, camera)
    return int(np.ceil(far_mm - near_mm))


def diffdrr(renderer: str, patches: int | None, density_mxyz: np.ndarray):
    """diffdrr with its camera set by our adapter, its own renderer and all else as it comes."""
    from diffdrr.renderers import Trilinear

    from raymark.projectors.diffdrr import DiffDRR

    class AsItComes(DiffDRR):
        def _drr(self, camera):
            drr = super()._drr(camera)
            pixels = camera.height_px * camera.width_px
            drr.patch_size = max(1, round((pixels / patches) ** 0.5)) if patches else None
            if renderer == "trilinear":
                drr.renderer = Trilinear()
                drr.renderer.forward = partial(drr.renderer.forward, n_points=samples_of(camera))
            return drr

    return AsItComes(density_mxyz, VOXEL_TO_WORLD).project


def nanodrr(density_mxyz: np.ndarray):
    """nanodrr with its camera set by our adapter, the whole image in one call, as it comes."""
    from raymark.projectors import nanodrr as adapter

    adapter.CPU_SAMPLES_AT_ONCE = 2**62
    projector = adapter.NanoDRR(density_mxyz, VOXEL_TO_WORLD, device="cpu")

    def project(camera: Camera) -> np.ndarray:
        projector._samples = samples_of(camera)
        return projector.project(camera)

    return project


CASES = {
    SHEARWARP: Case(partial(ours, "shearwarp"), MIXED, seconds=10, side_by_side=True),
    f"{SHEARWARP}, no empty voxel": Case(
        partial(ours, "shearwarp"), MIXED, "no empty voxel", seconds=5, side_by_side=True
    ),
    f"{SHEARWARP}, three materials": Case(
        partial(ours, "shearwarp"), MIXED, "three materials", seconds=5, side_by_side=True
    ),
    "raymark Joseph": Case(partial(ours, "joseph"), MIXED, seconds=5, side_by_side=True),
    "nanodrr": Case(nanodrr, MIXED),
    "diffdrr trilinear, 64 patches": Case(partial(diffdrr, "trilinear", 64), MIXED, slow=True),
    "diffdrr Siddon, as it comes": Case(partial(diffdrr, "siddon", None), [], slow=True),
}


def reset_peak_memory() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def memory_mib(what: str) -> float:
    """Return the process's resident memory: "VmRSS" now, "VmHWM" at most since the reset."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{what}:")[1].split()[0]) / 1024


def timed(project, views: list, seconds: float, threads: int) -> tuple[float, list[np.ndarray]]:
    """Return images per second, the median over rounds through the views, and the last images."""
    cameras, rounds, end = [camera_of(view) for view in views], [], time.perf_counter() + seconds
    while not rounds or time.perf_counter() < end:
        start = time.perf_counter()
        projected = in_order(project, cameras, threads) if threads > 1 else map(project, cameras)
        images = [image[0] for image in projected]
        rounds.append(time.perf_counter() - start)
    return len(views) / float(np.median(rounds)), images


def measure(name: str, connection) -> None:
    """Measure one case and send its row; runs in a process of its own."""
    case = CASES[name]
    density_mxyz = volume_of(case.volume)
    tiny = Camera(np.diag([-900.0, 900.0, 1.0]), camera_of(FRONTAL[0]).world_to_camera, 4, 4)
    case.build(density_mxyz[:, :8, :8, :8].copy())(tiny)  # imports and compiles
    reset_peak_memory()
    before_mib = memory_mib("VmRSS")
    project = case.build(density_mxyz)
    if case.seconds:
        for view in FRONTAL + case.views:
            project(camera_of(view))
    row = {}
    threads = thread_count() if case.side_by_side else 1
    frontal = FRONTAL * (8 if case.side_by_side else 1)
    row["frontal"], images = timed(project, frontal, case.seconds, threads)
    images = images[:1]
    if case.views:
        row["mixed"], more = timed(project, case.views, case.seconds, threads)
        images += more
    row["memory_mib"] = memory_mib("VmHWM") - before_mib
    if case.volume == "one material":
        exact = [exact_image(camera_of(view)) for view in FRONTAL + case.views]
        pairs = zip(images, exact, strict=True)
        errors = [np.abs(image - truth) / truth.max() * 100 for image, truth in pairs]
        row |= {"mean_error": float(np.mean(errors)), "max_error": float(np.max(errors))}
    connection.send(row)


def run(name: str) -> dict:
    """Return the row of one case, empty if its process died, for want of memory most likely."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=measure, args=(name, sender))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        return {}
    finally:
        process.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/measurements/rendering.md"))
    parser.add_argument("--quick", action="store_true", help="without the slow diffdrr")
    arguments = parser.parse_args()
    measured = {
        name: run(name) for name, case in CASES.items() if not (case.slow and arguments.quick)
    }
    fastest, rows = measured[SHEARWARP], []
    for name, row in measured.items():
        texts = {"renderer": name}
        for views in ("frontal", "mixed"):
            texts[f"{views}, images/s"] = text(row.get(views), ".3g")
            ratio = fastest[views] / row[views] if row.get(views) else None
            texts[f"shear-warp is, {views}"] = text(ratio, ".3g", " ×")
        texts["memory added, MiB"] = text(row.get("memory_mib"), ".0f")
        texts["mean error, %"] = text(row.get("mean_error"), ".3f")
        texts["largest error, %"] = text(row.get("max_error"), ".1f")
        rows.append(texts)
    about = (
        f"{DETECTOR.height_px}×{DETECTOR.width_px} images of a {VOXELS}³ volume at 1 mm, samples "
        f"about 1 mm apart; source to isocentre {SOURCE_TO_ISOCENTRE_MM:.0f} mm, to detector "
        f"{SOURCE_TO_DETECTOR_MM:.0f} mm, pixels of {DETECTOR.pixel_mm} mm. Mixed: eight views over "
        "120° × 90°. Set-up and compilation are left out. Errors are against the exact chords of "
        "ellipsoids, relative to each image's maximum; much of them is the voxels'. diffdrr's "
        "Siddon is measured as it comes on the frontal view only: oblique views need more than "
        "20 GiB at once."
    )
    packages = ["numpy", "numba", "torch", "diffdrr", "nanodrr"]
    report("Projectors on a CPU", about, rows, packages, arguments.out)
    with open(arguments.out.with_suffix(".csv"), "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["renderer", *fastest])
        writer.writeheader()
        writer.writerows({"renderer": name, **row} for name, row in measured.items())


def text(value: float | None, form: str, unit: str = "") -> str:
    return "–" if value is None else f"{value:{form}}{unit}"


if __name__ == "__main__":
    main()
