import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from raymark.correspondence.follow_up import align, match_follow_up
from raymark.correspondence.training import train
from raymark.ct import Volume, write_volume
from tests.unit.correspondence.examples import TINY, textured

# From a point of the first scan to the same anatomy in the second, RAS mm.
MOVED = np.array(
    [
        [1.03, 0.05, 0.0, 6.0],
        [-0.05, 0.98, 0.02, -4.0],
        [0.0, -0.02, 1.02, 5.0],
        [0, 0, 0, 1],
    ]
)


def scans() -> tuple[Volume, Volume]:
    """An ellipsoid full of texture, and the same patient lying otherwise."""
    random = np.random.default_rng(0)
    shape, spacing = (64, 56, 40), np.array([3.0, 3.0, 4.0])
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -spacing * (np.array(shape) - 1) / 2
    texture = ndimage.gaussian_filter(random.normal(size=shape), 2)
    grid = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3] + affine[:3, 3]
    inside = (grid**2 / np.array([80, 65, 70]) ** 2).sum(-1) < 1
    hu = np.where(inside, 150 * texture / texture.std(), -1000)
    back = np.linalg.inv(affine) @ np.linalg.inv(MOVED) @ affine
    moved = ndimage.affine_transform(
        hu, back[:3, :3], back[:3, 3], order=1, mode="constant", cval=-1000
    )
    return tuple(Volume(np.round(v).astype(np.int16), affine) for v in (hu, moved))


def test_alignment_finds_the_affine_map():
    first, second = scans()
    aligned = align(first, second)
    corners = np.array([[x, y, z, 1] for x in (-60, 60) for y in (-50, 50) for z in (-50, 50)])
    off_mm = np.linalg.norm((corners @ (aligned.first_to_second - MOVED).T)[:, :3], axis=1)
    assert off_mm.max() < 1.5  # half a voxel
    assert aligned.volume.hu_xyz.shape == first.hu_xyz.shape


@pytest.fixture(scope="module")
def follow_up(tmp_path_factory):
    folder = tmp_path_factory.mktemp("follow_up")
    first, second = scans()
    write_volume(folder / "first.nii.gz", first)
    write_volume(folder / "second.nii.gz", second)
    changed = {"epochs": 1, "pairs_per_epoch": 2, "image_px": 32, "landmarks": 9}
    tiny = TINY.model_copy(update={"training": TINY.training.model_copy(update=changed)})
    tiny = tiny.model_copy(
        update={"matching": tiny.matching.model_copy(update={"probability": 0.0})}
    )
    train(tiny, [textured(1, side=48)], folder, "a")
    args = folder / "model.safetensors", folder / "first.nii.gz", folder / "second.nii.gz"
    return folder, match_follow_up(*args, folder / "out", slice_count=2)


def test_matches_are_written_and_drawn(follow_up):
    folder, matches = follow_up
    assert len(matches) > 20
    assert matches["slice_mm"].nunique() == 2
    for name in ("matches.csv", "matches.png", "matches.svg"):
        assert (folder / "out" / name).stat().st_size > 500


def test_world_points_are_those_of_each_scan(follow_up):
    folder, matches = follow_up
    first = nib.load(folder / "first.nii.gz")
    pixel = matches.iloc[0]
    columns, rows, _ = first.shape
    voxel = [columns - 1 - pixel.x1_px / 3, rows - 1 - pixel.y1_px / 3, pixel.slice_mm / 4, 1]
    expected = (first.affine @ voxel)[:3]
    np.testing.assert_allclose(pixel[["x1_mm", "y1_mm", "z1_mm"]].to_numpy(float), expected)
    # Where both pixels are the same, the two world points are the affine map apart.
    same = matches[(matches.x1_px == matches.x2_px) & (matches.y1_px == matches.y2_px)]
    assert len(same)
    world1 = np.column_stack([same[["x1_mm", "y1_mm", "z1_mm"]], np.ones(len(same))])
    off = (world1 @ MOVED.T)[:, :3] - same[["x2_mm", "y2_mm", "z2_mm"]]
    assert np.linalg.norm(off, axis=1).max() < 2
