"""What is asked for is what is seen: cameras, beads under their landmarks, coarse voxels while moving."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raymark.core.errors import InputError
from raymark.geometry.camera import Camera, Detector, carm_camera
from raymark.viewer import frames as module
from raymark.viewer.frames import LIVE_VOXELS, Frames, angles_of, live_block, resized
from raymark.viewer.shown import Posed
from tests.unit.viewer.examples import asked, beads, points_mm, shown

BEADS = shown()


def camera(primary_deg: float, secondary_deg: float, roll_deg: float = 0.0) -> Camera:
    return carm_camera(
        Detector(90, 130, 2.0), primary_deg=primary_deg, secondary_deg=secondary_deg,
        roll_deg=roll_deg, isocentre_world_mm=np.array([1.0, 2.0, 3.0]),
        source_to_isocentre_mm=700, source_to_detector_mm=1100,
    )  # fmt: skip


@given(st.floats(-179, 179), st.floats(-89, 89), st.floats(-180, 180))
def test_the_angles_told_are_those_of_the_camera(primary_deg, secondary_deg, roll_deg):
    told = angles_of(camera(primary_deg, secondary_deg, roll_deg))
    np.testing.assert_allclose(told, (primary_deg, secondary_deg), atol=1e-6)


@given(st.integers(8, 200), st.floats(-60, 60))
def test_fewer_pixels_have_the_same_borders(longest_px, primary_deg):
    full = camera(primary_deg, 10)
    small = resized(full, longest_px)
    assert max(small.shape_yx) == min(longest_px, 130)
    points = np.random.default_rng(0).uniform(-80, 80, (9, 3))
    shares = [(c.project(points) + 0.5) / c.shape_yx[::-1] for c in (full, small)]
    np.testing.assert_allclose(*shares, atol=1e-9)


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize(
    "view",
    [{}, {"primary_deg": 35.0, "secondary_deg": -20.0}, {"primary_deg": -90.0}, {"flip": True},
     {"roll_deg": 25.0, "field_of_view_share": 0.8}],
)  # fmt: skip
def test_every_bead_lies_under_its_landmark(view, live, monkeypatch):
    monkeypatch.setattr(module, "LIVE_VOXELS", 4e4)  # every second or third voxel
    frames, of = Frames(BEADS), asked(BEADS, live=live, longest_px=400, **view)
    frame = frames.frame(of)
    assert (frame.spacing_mm[0] > 2.0) == live
    # A coarse voxel's middle lies up to half of it beside the bead within.
    beside_mm = np.linalg.norm(frame.spacing_mm - BEADS.volume.spacing_mm) / 2
    allowed_px = 0.5 + beside_mm / frames.told(of, frame)["at_isocentre_mm"]
    if view.get("flip"):  # names of left and right change places; the points do not
        left, right = np.array(frames.told(of, frame)["points_px"])[:2]
        assert left[0] > right[0]
    without = Frames(shown(volume=beads([]))).frame(of).image_yx
    rows, columns = np.indices(without.shape)
    for x, y in frames.told(of, frame)["points_px"]:
        mass = np.where(np.hypot(columns - x, rows - y) < 10, frame.image_yx - without, 0).clip(0)
        centre = [(mass * at).sum() / mass.sum() for at in (columns, rows)]
        assert mass.max() > 0.1
        assert np.hypot(*np.subtract(centre, (x, y))) < allowed_px


def test_coarse_voxels_weigh_as_much(monkeypatch):
    monkeypatch.setattr(module, "LIVE_VOXELS", 4e4)
    images = [Frames(BEADS).frame(asked(BEADS, live=live)).image_yx for live in (False, True)]
    assert abs(images[1].sum() / images[0].sum() - 1) < 0.01


@settings(max_examples=40)
@given(st.tuples(*[st.integers(2, 900)] * 3), st.tuples(*[st.floats(0.3, 5)] * 3))
def test_the_coarse_grid_is_small_enough_and_no_coarser_than_needed(shape, spacing):
    shape, spacing = np.array(shape), np.array(spacing)
    block = live_block(shape, spacing)
    assert np.prod(np.ceil(shape / block)) <= LIVE_VOXELS
    merged = block > 1
    assert ((block - 1) * spacing <= (block * spacing).min() + 1e-9)[merged].all()  # nearly cubes
    finer = block - np.eye(3, dtype=int)[merged]
    assert not merged.any() or (np.prod(np.ceil(shape / finer), axis=1) > LIVE_VOXELS).any()


def test_a_pose_is_seen_with_its_own_camera():
    own = camera(40, 15, 7)
    of = shown(poses=[Posed("shot", own, 1100.0, None)])
    frames, view = Frames(of), asked(of, pose=0, longest_px=130)
    told = frames.told(view, frames.frame(view))
    np.testing.assert_allclose(told["points_px"], own.project(points_mm()), atol=0.01)
    np.testing.assert_allclose((told["primary_deg"], told["secondary_deg"]), (40, 15))
    assert told["pixel_mm"] == pytest.approx(2.0)


def test_depth_and_visibility_are_the_cameras():
    view = asked(BEADS, primary_deg=90.0, field_of_view_share=0.3)
    frames = Frames(BEADS)
    told = frames.landmarks(view, frames.camera(view))
    isocentre = points_mm().mean(axis=0)
    # From the patient's left the detector stands towards -x: what lies there is farther from the source.
    np.testing.assert_allclose(told["depth_mm"], 750 - (points_mm() - isocentre)[:, 0], atol=0.1)
    half_mm = 0.3 * 256 * 1.2 / 2
    expected = np.abs((points_mm() - isocentre)[:, 1] * 1200 / told["depth_mm"]) < half_mm
    high = np.abs((points_mm() - isocentre)[:, 2] * 1200 / told["depth_mm"]) < 0.3 * 200 * 1.2 / 2
    assert told["visible"] == (expected & high).tolist()


def test_a_detector_before_the_isocentre_is_refused():
    with pytest.raises(InputError, match="is not beyond the isocentre"):
        Frames(BEADS).frame(asked(BEADS, source_to_detector_mm=700.0))


@pytest.mark.parametrize("most_px", [1600, 128])
def test_detections_are_compared_with_the_landmarks_of_that_view(most_px, monkeypatch):
    monkeypatch.setattr(module, "MOST_PX", most_px)
    width, height = min(256, most_px), min(200, most_px * 200 // 256)

    def find(xray):
        assert xray.image_yx.shape == (height, width)
        assert xray.pixel_mm == pytest.approx(1.2 * 256 / width)
        middle = [(width - 1) / 2, 0.0], [(height - 1) / 2, 0.0]
        return pd.DataFrame({"landmark": ["left_hip", "navel"], "x_px": middle[0], "y_px": middle[1],
                             "confidence": [0.9, 0.1], "detected": [True, False]})  # fmt: skip

    of = shown(find=find)
    frames, view = Frames(of), asked(of)
    (found,) = frames.detections(view)["found"]
    true = frames.camera(view).project(points_mm()[0])
    assert found["error_px"] == pytest.approx(np.hypot(*(true - (127.5, 99.5))), abs=0.03)
    assert (found["x"], found["y"]) == (0.5, 0.5)
