from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raymark.config.method import Augmentation, Method
from raymark.core.seeds import generator
from raymark.geometry.camera import Detector, carm_camera
from raymark.methods.base import Batch
from raymark.training.augmentation import augmented, draw, mirrored, rods, similarity

SHAPE_YX = (80, 100)
DEVICE = torch.device("cpu")
WARP = Augmentation(rotation_deg=30, shift_px=10, scale=(0.7, 1.4))
STILL = draw(Augmentation(), SHAPE_YX, generator("still"))


def bead(x_px, y_px, camera=None, world=(0.0, 0.0, 0.0)):
    """A batch of one image: a Gaussian spot at its only landmark."""
    y, x = np.mgrid[: SHAPE_YX[0], : SHAPE_YX[1]]
    spot = np.exp(-((x - x_px) ** 2 + (y - y_px) ** 2) / (2 * 2.5**2))
    return Batch(
        image=torch.tensor(spot, dtype=torch.float32)[None, None],
        landmarks=torch.tensor([[[x_px, y_px]]], dtype=torch.float32),
        visible=torch.tensor([[True]]),
        K=torch.tensor(np.eye(3) if camera is None else camera.K)[None],
        world_to_camera=torch.tensor(np.eye(4) if camera is None else camera.world_to_camera)[None],
        landmarks_world=torch.tensor([[world]]),
    )


def centroid(image_yx):
    y, x = np.mgrid[: image_yx.shape[0], : image_yx.shape[1]]
    return np.array([(x * image_yx).sum(), (y * image_yx).sum()]) / image_yx.sum()


@given(x=st.floats(40, 60), y=st.floats(32, 48), seed=st.integers(0, 10**6))
def test_a_bead_stays_under_its_landmark(x, y, seed):
    moved = augmented(bead(x, y), [draw(WARP, SHAPE_YX, generator(seed))])
    assert moved.visible.item()
    assert centroid(moved.image[0, 0].double().numpy()) == pytest.approx(
        moved.landmarks[0, 0].numpy(), abs=0.05
    )


@given(x=st.floats(30, 70), y=st.floats(20, 60), seed=st.integers(0, 10**6))
def test_a_bead_stays_under_its_landmark_in_a_bent_image(x, y, seed):
    bent = augmented(bead(x, y), [draw(Augmentation(bend_px=6), SHAPE_YX, generator(seed))])
    assert abs(bent.landmarks[0, 0, 0].item() - x) <= 6
    assert bent.landmarks[0, 0, 1].item() == pytest.approx(y, abs=1e-4)
    # A wave bends the bead itself too, by 0.3 px at most.
    found = centroid(bent.image[0, 0].double().numpy())
    assert found == pytest.approx(bent.landmarks[0, 0].numpy(), abs=0.35)


def test_a_method_that_needs_cameras_is_not_bent():
    training = {"augmentation": {"bend_px": 3}}
    with pytest.raises(ValueError, match="no camera sees a bent image"):
        Method(name="m", title="m", module="unet_pel", needs_3d=True, training=training)


def test_a_quarter_turn_moves_right_to_below():
    turn = replace(STILL, matrix=similarity(np.array([49.5, 39.5]), np.pi / 2, 1.0, np.zeros(2)))
    moved = augmented(bead(59.5, 39.5), [turn])
    assert moved.landmarks[0, 0].tolist() == pytest.approx([49.5, 49.5])
    doubled = replace(STILL, matrix=similarity(np.array([49.5, 39.5]), 0.0, 2.0, np.array([1, 0])))
    assert augmented(bead(59.5, 39.5), [doubled]).landmarks[0, 0].tolist() == [70.5, 39.5]


@given(seed=st.integers(0, 10**6), flip=st.booleans())
def test_the_camera_follows_the_image(seed, flip):
    world = (20.0, -10.0, 15.0)
    camera = carm_camera(
        Detector(*SHAPE_YX, pixel_mm=3.0),
        primary_deg=20,
        secondary_deg=-10,
        isocentre_world_mm=np.zeros(3),
        source_to_isocentre_mm=750,
        source_to_detector_mm=1200,
        flip=flip,
    )
    x, y = camera.project(np.array(world))
    moved = augmented(bead(x, y, camera, world), [draw(WARP, SHAPE_YX, generator(seed))])
    followed = replace(camera, K=moved.K[0].numpy()).project(np.array(world))
    assert followed == pytest.approx(moved.landmarks[0, 0].numpy(), abs=1e-4)


def test_nothing_asked_for_changes_nothing():
    before = bead(40.25, 30.5)
    after = augmented(before, [STILL])
    assert torch.allclose(after.image, before.image, atol=1e-6)
    assert after.landmarks.tolist() == before.landmarks.tolist()


def test_a_landmark_pushed_out_is_no_longer_visible_and_none_appears():
    batch = bead(95.0, 40.0)
    pushed = replace(STILL, matrix=similarity(np.zeros(2), 0.0, 1.0, np.array([10.0, 0.0])))
    assert not augmented(batch, [pushed]).visible.item()
    pulled = replace(STILL, matrix=similarity(np.zeros(2), 0.0, 1.0, np.array([-10.0, 0.0])))
    assert augmented(batch, [pulled]).visible.item()
    unseen = replace(batch, visible=torch.tensor([[False]]))
    assert not augmented(unseen, [pulled]).visible.item()


def test_draws_depend_on_their_generator_alone():
    config = Augmentation(rotation_deg=5, contrast=(0.5, 2.0), noise=0.1, tool_probability=0.5)
    first, again, other = (draw(config, SHAPE_YX, generator("a", i)) for i in (1, 1, 2))
    batch = bead(50.0, 40.0)
    assert torch.equal(augmented(batch, [first]).image, augmented(batch, [again]).image)
    assert not torch.equal(augmented(batch, [first]).image, augmented(batch, [other]).image)
    # The tool is the last thing drawn: having one moves nothing else.
    without = draw(config.model_copy(update={"tool_probability": 0.0}), SHAPE_YX, generator("a", 1))
    assert np.array_equal(first.matrix, without.matrix)
    assert first.noise_seed == without.noise_seed


def test_an_image_is_augmented_the_same_alone_and_in_a_batch():
    config = WARP.model_copy(update={"noise": 0.2, "tool_probability": 1.0, "contrast": (0.5, 2.0)})
    draws = [draw(config, SHAPE_YX, generator(i)) for i in range(3)]
    one = bead(50.0, 40.0)
    three = Batch(**{k: torch.cat([v] * 3) for k, v in vars(one).items() if v is not None})
    together = augmented(three, draws)
    for index, single in enumerate(draws):
        assert torch.allclose(augmented(one, [single]).image[0], together.image[index], atol=1e-5)


def test_draws_stay_within_their_ranges():
    config = Augmentation(rotation_deg=10, shift_px=4, scale=(0.8, 1.25), contrast=(0.5, 2.0))
    draws = [draw(config, SHAPE_YX, generator(i)) for i in range(500)]
    linear = np.array([d.matrix[:2, :2] for d in draws])
    scale = np.sqrt(np.linalg.det(linear))
    angle = np.rad2deg(np.arctan2(linear[:, 1, 0], linear[:, 0, 0]))
    centre = np.array([49.5, 39.5])
    shift = np.array([d.matrix[:2, :2] @ centre + d.matrix[:2, 2] - centre for d in draws])
    for values, low, high in [
        (scale, 0.8, 1.25),
        (angle, -10, 10),
        (shift[:, 0], -4, 4),
        (shift[:, 1], -4, 4),
        (np.array([d.gamma for d in draws]), 0.5, 2.0),
    ]:
        assert low <= values.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < values.max() <= high
    assert not any(d.tool_height for d in draws)


def test_contrast_is_a_power_of_the_scaled_image():
    batch = bead(50.0, 40.0)
    batch = replace(batch, image=3.0 + 2.0 * batch.image)
    low, high = batch.image.min(), batch.image.max()
    expected = low + (high - low) * ((batch.image - low) / (high - low)) ** 1.7
    after = augmented(batch, [replace(STILL, gamma=1.7)])
    assert torch.allclose(after.image, expected, atol=1e-5)


def test_noise_has_its_deviation_in_units_of_the_image():
    batch = bead(50.0, 40.0)
    batch = replace(batch, image=7.0 * batch.image)
    after = augmented(batch, [replace(STILL, noise=0.3)])
    noise = (after.image - batch.image) / batch.image.std(correction=0)
    assert noise.std().item() == pytest.approx(0.3, rel=0.03)
    assert noise.mean().item() == pytest.approx(0.0, abs=0.02)


def test_a_tool_is_a_rod_with_tapered_ends():
    ends = np.array([[20.0, 40.0], [70.0, 40.0]])
    tool = replace(STILL, tool_ends=ends, tool_half_width=5.0, tool_height=-2.0)
    rod = rods([tool], SHAPE_YX, DEVICE)[0, 0].numpy()
    assert rod[40, 45] == pytest.approx(-2.0)
    assert rod[43, 45] == pytest.approx(-2.0 * np.sqrt(1 - (3 / 5) ** 2))
    assert rod[40, 25] == pytest.approx(-1.0)  # half way through the first fifth
    assert rod[40, 65] == pytest.approx(-1.0)
    outside = np.ones(SHAPE_YX, bool)
    outside[36:45, 21:70] = False
    assert not rod[outside].any()
    assert not rods([STILL], SHAPE_YX, DEVICE).any()


def test_tools_are_as_frequent_as_asked():
    config = Augmentation(tool_probability=0.3)
    count = sum(draw(config, SHAPE_YX, generator(i)).tool_height != 0 for i in range(1000))
    assert 250 < count < 350


def test_a_mirrored_image_swaps_left_and_right_and_keeps_its_projection():
    camera = carm_camera(
        Detector(*SHAPE_YX, 2.0),
        primary_deg=30,
        secondary_deg=10,
        isocentre_world_mm=np.zeros(3),
        source_to_isocentre_mm=700,
        source_to_detector_mm=1100,
    )
    world = np.array([[20.0, 5.0, -10.0], [-25.0, 0.0, 8.0], [3.0, 0.0, 30.0]])
    points = camera.project(world)
    before = bead(*points[0], camera)
    before = replace(
        before,
        landmarks=torch.tensor(points, dtype=torch.float32)[None],
        visible=torch.tensor([[True, False, True]]),
        landmarks_world=torch.tensor(world)[None],
    )
    draws = [replace(STILL, flip=True)]
    after = mirrored(before, draws, np.array([1, 0, 2]))
    assert after.landmarks[0, 1, 0].item() == pytest.approx(
        SHAPE_YX[1] - 1 - points[0][0], abs=1e-4
    )
    assert centroid(after.image[0, 0].double().numpy()) == pytest.approx(
        after.landmarks[0, 1].numpy(), abs=0.05
    )
    assert after.visible[0].tolist() == [False, True, True]
    in_camera = after.landmarks_world[0] @ after.world_to_camera[0, :3, :3].T
    in_camera = (in_camera + after.world_to_camera[0, :3, 3]) @ after.K[0].T
    projected = in_camera[:, :2] / in_camera[:, 2:]
    assert projected.numpy() == pytest.approx(after.landmarks[0].numpy(), abs=1e-3)
    back = mirrored(after, draws, np.array([1, 0, 2]))
    assert torch.equal(back.image, before.image)
    assert back.landmarks.numpy() == pytest.approx(before.landmarks.numpy(), abs=1e-4)
    assert mirrored(before, [STILL], np.array([1, 0, 2])) is before
