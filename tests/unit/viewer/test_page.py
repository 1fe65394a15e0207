"""The page in a real browser: what is dragged is what is seen, beads lie under their rings, keys work."""

import re
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import yaml

from raymark.geometry.camera import Detector, carm_camera, carm_rotation
from raymark.imports.stored_image import Xray
from raymark.viewer.shown import Posed
from tests.unit.viewer.browser import CHROMIUM, Browser
from tests.unit.viewer.examples import VOXELS, points_mm, served, shown

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
AT_REST = "typeof frame !== 'undefined' && frame && !frame.live && newest === changes && (plan || pose !== null)"
STAGE = "JSON.stringify(document.querySelector('#stage').getBoundingClientRect())"


def found(xray: Xray) -> pd.DataFrame:
    """A model that finds one landmark in the image's middle."""
    middle = (np.array(xray.image_yx.shape[::-1]) - 1) / 2
    return pd.DataFrame({"landmark": ["promontory"], "x_px": middle[:1], "y_px": middle[1:],
                         "confidence": [0.9], "detected": [True]})  # fmt: skip


def posed() -> Posed:
    camera = carm_camera(Detector(80, 100, 3.0), primary_deg=40, secondary_deg=15,
                         isocentre_world_mm=points_mm()[2], source_to_isocentre_mm=700,
                         source_to_detector_mm=1100)  # fmt: skip
    return Posed("shot.png", camera, 1100.0, np.indices((80, 100)).sum(axis=0).astype(np.float32))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with (
        served(shown(poses=[posed()], find=found)) as server,
        Browser(tmp_path_factory.mktemp("browser")) as browser,
    ):
        browser.open(server.address)
        browser.until(AT_REST)
        yield browser
        assert browser.complaints == []


@pytest.fixture(autouse=True)
def from_the_front(page):
    page.js("document.activeElement.blur(), pose = null, Object.assign(view, structuredClone(known.start)),"
            "choose(null), changed()")  # fmt: skip
    page.until(AT_REST)


def asked_and_seen(page) -> tuple[list[float], list[float], list[float], str]:
    """What the fields, the request and the frame's own camera say of the angles; the words on it."""
    fields = page.js("['primary', 'secondary'].map((n) => +$(`[data-key=${n}_deg]`).value)")
    view = page.js("[view.primary_deg, view.secondary_deg]")
    stage = page.js("[+$('#stage').dataset.primary, +$('#stage').dataset.secondary]")
    return fields, view, stage, page.js("$('#angles').textContent")


def middle(page, element: str) -> tuple[float, float]:
    box = page.js(
        f"(b => [b.x + b.width / 2, b.y + b.height / 2])($('{element}').getBoundingClientRect())"
    )
    return box[0], box[1]


def test_what_is_dragged_is_what_is_seen(page):
    x, y = middle(page, "#stage")
    page.drag((x, y), (x - 100, y + 40))
    page.until(AT_REST)
    fields, view, stage, words = asked_and_seen(page)
    assert fields == view == [35.0, 14.0]  # 0.35° a pixel; the front goes to the patient's right
    np.testing.assert_allclose(stage, view, atol=1e-6)
    assert re.split(r"\s{2,}", words) == ["LAO 35.0°", "CRAN 14.0°"]


@pytest.mark.parametrize("angles", [(0, 0), (40, -15), (-100, 20)])
def test_a_bead_is_bright_under_its_ring(page, angles):
    page.js(f"turn({angles[0]}, {angles[1]})")
    page.until(AT_REST)
    for number in range(len(VOXELS)):
        x, y = page.js(f"onStage(...frame.points_px[{number}])")
        pixels = page.js(
            f"[...$('#xray').getContext('2d').getImageData({round(x)} - 20, {round(y)} - 20, 41, 41).data]"
        )
        grey = np.array(pixels).reshape(41, 41, 4)[..., 0]
        row, column = np.argwhere(grey >= grey.max() - 3).mean(axis=0) - 20
        px_on_stage = page.js("placed().width / frame.width_px")
        assert np.hypot(round(x) + column - x, round(y) + row - y) < px_on_stage


def test_keys_turn_and_fields_keep_theirs(page):
    for key, shift in (("ArrowRight", False), ("ArrowRight", True), ("ArrowDown", True)):
        page.key(key, shift)
    page.until(AT_REST)
    assert asked_and_seen(page)[1] == [11, -10]
    page.js("$('[data-key=roll_deg]').focus()")
    page.key("ArrowUp")
    page.until(AT_REST)
    assert page.js("[view.primary_deg, view.secondary_deg, view.roll_deg]") == [11, -10, 1]
    page.js("document.activeElement.blur()")
    page.key("0")
    page.key("m")
    page.until(AT_REST)
    assert page.js("[view.primary_deg, view.flip, frame.points_px[0][0] < frame.points_px[1][0]]") == [
        0, True, False]  # fmt: skip


def test_a_planned_view_is_reached_by_a_click_and_by_keys(page):
    box = page.js("(b => [b.x, b.y])($('#sphere').getBoundingClientRect())")
    seen = page.js("(p => [p.x, p.y])(globe().seen(direction(20, 10)))")
    page.click(box[0] + seen[0], box[1] + seen[1])
    page.until(AT_REST)
    assert asked_and_seen(page)[1] == [20, 10]
    page.key(".")
    page.until(AT_REST)
    assert asked_and_seen(page)[1] == [30, 10]


def test_the_globe_has_the_convention_of_the_cameras(page):
    rng = np.random.default_rng(0)
    for primary, secondary in rng.uniform(-80, 80, (5, 2)):
        mine = page.js(f"direction({primary}, {secondary})")
        np.testing.assert_allclose(mine, carm_rotation(primary, secondary)[2], atol=1e-9)
        # What is seen beside the middle is where a turn towards it leads.
        page.js(f"Object.assign(view, {{primary_deg: {primary}, secondary_deg: {secondary}}})")
        right, up = page.js(f"[globe().seen(direction({primary} + 5, {secondary})).x - globe().width / 2,"
                            f"globe().height / 2 - globe().seen(direction({primary}, {secondary} + 5)).y]")  # fmt: skip
        assert right > 0
        assert up > 0


def test_slices_go_to_the_landmark_that_is_chosen(page):
    page.js("$('#landmarks').rows[2].click()")
    assert page.js("at") == list(VOXELS["promontory"])
    assert page.js("$('figure[data-kind=axial] figcaption').textContent") == "axial 34 of 44"
    page.js("$('figure[data-kind=axial] canvas').focus()")
    page.key("ArrowUp")
    assert page.js("at[2]") == 34
    assert page.js("view.secondary_deg") == 0


def test_what_is_copied_is_the_view_set(page):
    page.call(
        "Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"]
    )
    page.js("turn(-20, 0)")
    page.until(AT_REST)
    page.key("c")
    page.until("$('#copy').textContent === 'Copied'")
    copied = yaml.safe_load(page.js("navigator.clipboard.readText()"))
    assert copied["view_sets"]["from_page"]["sampling"]["primary_deg"] == [-20, -20]


def test_distance_and_detector_change_the_image_as_they_should(page):
    places = []
    for distance_mm in (1200, 1500):
        page.js(f"view.source_to_detector_mm = {distance_mm}, changed()")
        page.until(AT_REST)
        left, right = page.js("frame.points_px.slice(0, 2)")
        places.append(right[0] - left[0])
    assert places[1] / places[0] == pytest.approx(1500 / 1200, rel=1e-3)
    page.js("view.source_to_detector_mm = 500, changed()")
    page.until("!$('#problem').hidden")
    assert "is not beyond the isocentre" in page.js("$('#problem').textContent")
    page.complaints.clear()  # the browser notes the refusal


def test_a_registered_xray_lies_under_the_rendered_one_at_its_pose(page):
    page.js("goToPose(0)")
    page.until(AT_REST + " && found")
    fields, _, stage, _ = asked_and_seen(page)
    np.testing.assert_allclose(stage, (40, 15), atol=1e-6)
    assert fields == [40, 15]
    page.until("$('#real').naturalWidth === 100")
    assert page.js("[$('#real').hidden, $('#real').style.opacity]") == [False, "0.5"]
    page.key("ArrowRight")  # from there on it is a C-arm again
    page.until(AT_REST)
    assert asked_and_seen(page)[1:3] == ([41, 15], pytest.approx([41, 15]))
    assert page.js("$('#real').hidden")


def test_detections_stand_beside_the_truth_of_the_view_at_rest(page):
    page.until("found")
    x, y = page.js("frame.points_px[2]")
    error_px = float(page.js("$('#landmarks').rows[2].cells[2].textContent"))
    assert error_px == pytest.approx(np.hypot(x - 127.5, y - 99.5), abs=0.06)
    assert page.js("$('#landmarks').rows[0].cells[2].textContent") == "not found"


def test_nothing_lies_over_anything_else(page):
    boxes = page.js("['#controls', 'main', '#lists', 'header'].map((s) => (b => [b.left, b.top, b.right, b.bottom])"
                    "($(s).getBoundingClientRect()))")  # fmt: skip
    for a, b in pairwise([*boxes[:3]]):
        assert a[2] <= b[0] + 0.5
    assert all(box[1] >= boxes[3][3] - 0.5 for box in boxes[:3])
    assert page.js("document.documentElement.scrollWidth <= innerWidth")
    fields = page.js(
        "all('.field > span').map((s) => [s.scrollHeight, parseFloat(getComputedStyle(s).lineHeight)])"
    )
    assert all(height < 1.5 * line for height, line in fields if line)
