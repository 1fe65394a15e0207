"""Real X-rays with known poses through the whole workflow, from a small file in DeepFluoro's layout."""

import h5py
import numpy as np
import pandas as pd
import pytest

from raymark.ct import Volume, read_volume
from raymark.datasets.shards import Shards
from raymark.geometry.camera import Camera
from raymark.geometry.camera import project as projected
from raymark.pose.drr import log_xray
from tests.unit.imports.test_deepfluoro import EXTRINSIC
from tests.workflow.conftest import CONFIG, DATASET, make_project

PX, RIM_PX, PIXEL_MM, DISTANCE_MM = 64, 50, 3.0, 1020.0
MIDDLE_PX = (PX + 2 * RIM_PX - 1) / 2
FOCAL_PX = DISTANCE_MM / PIXEL_MM
TARGETS = [
    f"results/tables/{name}.html" for name in ("methods", "landmarks", "data", "pose", "cts")
]
LPS = np.diag([-1.0, -1, 1, 1])
# Landmarks by the file's names: six, as a pose needs them.
POINTS = {
    "ASIS-l": (-34.0, 6, 30),
    "ASIS-r": (34.0, 2, 28),
    "FH-l": (-30.0, -8, -22),
    "FH-r": (30.0, -12, -26),
    "IOF-l": (-12.0, 14, 4),
    "IOF-r": (14.0, 20, -4),
}
OURS = [
    f"{side}_{name}"
    for name in ("asis", "femoral_head", "inferior_obturator")
    for side in ("left", "right")
]


def ct_of(number: int) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return HU (x, y, z), the affine to RAS mm and landmarks of one specimen: balls in water."""
    affine = np.diag([4.0, 4, 4, 1])
    affine[:3, 3] = -62
    world = np.stack(np.meshgrid(*[np.arange(32) * 4.0 - 62] * 3, indexing="ij"), -1)
    hu = np.where(np.hypot(world[..., 0], world[..., 1]) < 50, 40.0, -1000.0)
    points = {name: np.array(xyz) + number * np.array([0, 1, 2.0]) for name, xyz in POINTS.items()}
    for size, point in enumerate(points.values()):
        hu = np.where(np.linalg.norm(world - point, axis=-1) < 7 + size, 900.0 + 60 * size, hu)
    return hu, affine, points


def write_specimen(group: h5py.Group, number: int) -> None:
    """Write CT, labels, landmarks and three X-rays rendered at poses that the file tells."""
    hu, affine, points = ct_of(number)
    lps = LPS @ affine
    for place, voxels in {"vol": hu, "vol-seg/image": (hu > 500).astype(np.uint8)}.items():
        grid = group.create_group(place)
        grid["dir-mat"], grid["spacing"] = np.sign(lps[:3, :3]), np.full((3, 1), 4.0)
        grid["origin"], grid["pixels"] = lps[:3, 3:], voxels.T.astype(np.float32)
    for name, point in points.items():
        group[f"vol-landmarks/{name}"] = (LPS[:3, :3] @ point)[:, None]
    for image, (turn_deg, shift_mm) in enumerate([(-12, 6.0), (4, -8.0), (15, 3.0)]):
        write_xray(
            group.create_group(f"projections/{image:03d}"), hu, affine, points, turn_deg, shift_mm
        )


def write_xray(view, hu, affine, points, turn_deg: float, shift_mm: float) -> None:
    """Write an X-ray as the file has it: raw, bone dark, its pose from the isocentre's frame to LPS.

    It is upside down, and its voxels lie by their corners: both as in the original.
    """
    turn = np.deg2rad(turn_deg)
    upright = np.eye(4)  # source behind the patient, image y down
    upright[:3, :3] = np.array([[-1, 0, 0], [0, 0, -1], [0, 1, 0]]) @ np.array(
        [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    )
    upright[:3, 3] = shift_mm, 4, 750
    K = np.array([[-FOCAL_PX, 0, MIDDLE_PX], [0, FOCAL_PX, MIDDLE_PX], [0, 0, 1]])
    side = PX + 2 * RIM_PX
    corner = np.eye(4)
    corner[:3, 3] = [-2, -2, 2]
    log = log_xray(Volume(hu.astype(np.int16), affine), Camera(K, upright @ corner, side, side))
    view["image/pixels"] = (1000 * np.exp(-np.asarray(log)))[::-1, ::-1].astype(np.float32)
    theirs = np.diag([-1.0, -1, 1, 1]) @ upright
    view["gt-poses/cam-to-pelvis-vol"] = np.linalg.inv(
        np.linalg.inv(EXTRINSIC) @ np.diag([-1.0, 1, -1, 1]) @ theirs @ LPS
    )
    view["rot-180-for-up"] = 1
    for name, point in points.items():
        x, y = projected(K, upright, point)
        view[f"gt-landmarks/{name}"] = [[side - 1 - x], [side - 1 - y]]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = make_project(tmp_path_factory.mktemp("deepfluoro") / "project")
    names = ["17-1882", "18-1109"]
    with h5py.File(project.folder / "small.h5", "w") as file:
        file["proj-params/intrinsic"] = [
            [-FOCAL_PX, 0, MIDDLE_PX], [0, -FOCAL_PX, MIDDLE_PX], [0, 0, 1],
        ]  # fmt: skip
        file["proj-params/extrinsic"] = EXTRINSIC
        file["proj-params/pixel-col-spacing"] = PIXEL_MM
        for number, name in enumerate(names):
            write_specimen(file.create_group(name), number)
    place = "calibrated:{source}/{name}"
    for source in ("small", "absent"):
        file = f"{source}.h5"
        project.write(f"{source}.yaml", {"name": source, "layout": "deepfluoro", "file": file})
    rows = ["subject\tpatient\tct\tlandmarks\tlabels\tsplit"]
    for source in ("small", "absent"):
        for name in names:
            at, subject = place.format(source=source, name=name), f"{source}-{name}"
            files = [f"{at}/{f}" for f in ("ct.nii.gz", "landmarks.csv", "labels.nii.gz")]
            rows.append("\t".join([subject, subject, *files, "train"]))
    (project.folder / "subjects.tsv").write_text("\n".join(rows) + "\n")
    project.write("landmarks.yaml", {"landmarks": [{"name": name} for name in OURS]})
    project.write("fluoro.yaml", dataset("fluoro", [f"small-{name}" for name in names]))
    project.write("elsewhere.yaml", dataset("elsewhere", [f"absent-{name}" for name in names]))
    asked = {"method": "narrow", "evaluate": ["real"], "poses": ["real"]}
    project.write(
        "config.yaml",
        CONFIG
        | {
            "datasets": ["fluoro.yaml", "elsewhere.yaml"],
            "calibrated": ["small.yaml", "absent.yaml"],
            "leave_out": {"fluoro": ["small-17-1882"], "elsewhere": ["absent-17-1882"]},
            "methods": ["narrow.yaml"],
            "experiments": [asked | {"dataset": name} for name in ("fluoro", "elsewhere")],
            "pose": {"belief_threshold": 0.0, "refined_views": 3},
        },
    )
    return project


def dataset(name: str, subjects: list[str]) -> dict:
    learnt = {key: DATASET["view_sets"][key] for key in ("train", "validation")}
    real = {"title": "real X-rays", "of": "test", "role": "evaluate", "sampling": {"kind": "real"}}
    return DATASET | {
        "name": name,
        "subjects": subjects,
        "detector": {"height_px": PX, "width_px": PX, "pixel_mm": PIXEL_MM},
        "cohort": {},
        "views_per_shard": 8,
        "view_sets": learnt | {"real": real},
    }


def test_real_xrays_go_through_the_whole_chain_and_absent_ones_are_told(project):
    done = project.snakemake(*TARGETS)
    told = "elsewhere_absent_17_1882, real: data not present: absent.h5 is not there"
    assert (done.stdout + done.stderr).count(told) == 1
    place = "results/{}/fluoro_small_17_1882/"
    methods = pd.read_csv(project.folder / "results/tables/methods.csv")
    assert set(methods["view_set_title"]) == {"real X-rays"}
    assert methods.loc[methods["dataset"] == "fluoro_small_17_1882", "views"].tolist() == [3, 3]
    poses = pd.read_parquet(project.folder / (place.format("poses") + "narrow/0/real.parquet"))
    assert set(poses["view"]) == {f"real-small-17-1882-{n:03d}" for n in range(3)}
    check_that_the_ct_lies_in_the_images(project.folder / "results")
    for table in ("pose", "data", "landmarks"):
        text = (project.folder / f"results/tables/{table}.md").read_text()
        assert "real X-rays" in text
        assert "absent.h5 is not there" in text


def check_that_the_ct_lies_in_the_images(results) -> None:
    """A DRR of the ingested CT at a shard's pose is the X-ray; half a voxel beside it fits less."""
    volume = read_volume(results / "volumes/fluoro_small_17_1882/small-17-1882/ct.nii.gz")
    shard = next(results.glob("shards/fluoro_small_17_1882/real/*/*.zarr.zip"))
    shards = Shards([shard])
    views = shards.read(np.arange(len(shards)))
    beside = np.eye(4)
    beside[:3, 3] = 2
    for image, K, pose in zip(views["image"], views["K"], views["world_to_camera"], strict=True):
        here, there = (
            np.corrcoef(log_xray(volume, Camera(K, at, PX, PX)).ravel(), image.ravel())[0, 1]
            for at in (pose, pose @ beside)
        )
        assert here > 0.999
        assert here > there
