"""Registration to a template: known warps come back, points return, errors stay in the X-ray's mm."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from raymark import layout
from raymark.core.errors import InputError
from raymark.datasets.imported import affine_of, read_images, read_imported
from raymark.datasets.shards import Shards
from raymark.evaluation.errors import PREDICTION_COLUMNS, evaluate, read_errors
from raymark.geometry.affine2d import Affine, resampled, shown
from raymark.imports import alignment
from raymark.imports.alignment import aligned_by_size, central_image, crop_of, register
from raymark.imports.write import import_2d
from raymark.views.plan import read_views, with_seen_in_training
from tests.unit.imports.examples import settings, shards_of, write_table

# Middle (x, y), half axes, tilt and brightness of ellipsoids that make a head.
ELLIPSOIDS = [
    ((120, 150), (90, 120), 0.0, 1.0),
    ((110, 110), (70, 60), 0.3, 0.6),
    ((150, 200), (30, 45), -0.4, 0.7),
    ((90, 180), (25, 40), 0.5, -0.4),
    ((160, 120), (20, 12), 0.2, 0.9),
    ((120, 90), (10, 10), 0.0, 1.0),
]
SHAPE = (300, 240)
POINTS = np.array([[60.0, 60], [190, 60], [60, 240], [190, 240], [120, 150]])
NAMES = ["a", "b", "c", "d", "e"]
CROP = (256, 208)


def head() -> np.ndarray:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    image = np.zeros(SHAPE)
    for (x0, y0), (long, short), tilt, bright in ELLIPSOIDS:
        u = (x - x0) * np.cos(tilt) + (y - y0) * np.sin(tilt)
        v = -(x - x0) * np.sin(tilt) + (y - y0) * np.cos(tilt)
        image += bright * np.sqrt(np.clip(1 - (u / long) ** 2 - (v / short) ** 2, 0, None))
    return image


def some_warp(number: int) -> Affine:
    """Up to 8° of rotation, 10 % of stretch on each axis, shear and 15 px of shift."""
    rng = np.random.default_rng(number)
    angle = np.deg2rad(rng.uniform(-8, 8))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    stretch = [[rng.uniform(0.9, 1.1), rng.uniform(-0.05, 0.05)], [0, rng.uniform(0.9, 1.1)]]
    matrix_xy, middle = turn @ stretch, np.array([120.0, 150.0])
    return Affine(matrix_xy, middle - matrix_xy @ middle + rng.uniform(-15, 15, 2))


def another_exposure(image: np.ndarray, number: int) -> np.ndarray:
    return 0.2 + 0.7 * image**1.3 + np.random.default_rng(number).normal(0, 0.02, image.shape)


def registered(template: np.ndarray, image: np.ndarray) -> tuple[Affine | None, Affine]:
    crop = crop_of(POINTS, 0.15, CROP)
    fixed, on_template = resampled(template, crop, CROP), shown(template.shape, crop, CROP)
    start = aligned_by_size(image.shape, template.shape, crop)
    size = [round(start.scale * side) for side in image.shape]
    moving = resampled(image, Affine.scaling(start.scale, [0, 0]), size)
    return register(fixed, on_template, moving, start), start


@pytest.mark.parametrize("number", range(4))
def test_a_known_warp_of_another_exposure_is_found_within_a_pixel(number):
    warp = some_warp(number)
    image = another_exposure(resampled(head(), warp, SHAPE), number)
    found, start = registered(head(), image)
    true = crop_of(POINTS, 0.15, CROP)(POINTS)
    assert np.linalg.norm(start(warp(POINTS)) - true, axis=1).max() > 5
    assert np.linalg.norm(found(warp(POINTS)) - true, axis=1).max() < 1.0  # of 256


def test_an_image_of_other_size_is_aligned_by_its_height_first():
    larger = Affine.scaling(1.5, [0.25, 0.25])  # 450 rows
    _, start = registered(head(), resampled(head(), larger, (450, 360)))
    true = crop_of(POINTS, 0.15, CROP)(POINTS)
    np.testing.assert_allclose(start(larger(POINTS)), true, atol=1e-9)


def test_equal_output_whatever_the_number_of_threads():
    image, itk = resampled(head(), some_warp(1), SHAPE), sitk.ProcessObject
    threads = itk.GetGlobalDefaultNumberOfThreads()
    found = []
    for count in (1, 4):
        itk.SetGlobalDefaultNumberOfThreads(count)
        found.append(registered(head(), image)[0])
    itk.SetGlobalDefaultNumberOfThreads(threads)
    np.testing.assert_array_equal(found[0].matrix_xy, found[1].matrix_xy)
    np.testing.assert_array_equal(found[0].shift_px, found[1].shift_px)


def test_what_does_not_converge_has_no_map(monkeypatch):
    far = Affine.scaling(1.0, [5000.0, 5000.0])
    assert register(head(), np.ones(SHAPE, bool), head(), far) is None
    monkeypatch.setattr(alignment, "LARGEST_STRETCH", 1.001)
    assert registered(head(), resampled(head(), some_warp(2), SHAPE))[0] is None
    monkeypatch.undo()
    monkeypatch.setattr(alignment, "_cost", lambda _m, _f, _i, t: max(t.GetParameters()))
    assert registered(head(), resampled(head(), some_warp(2), SHAPE))[0] is None  # "cost" has risen


coordinates = st.floats(-3000, 3000)


@given(st.tuples(coordinates, coordinates), st.integers(0, 100))
def test_points_return_from_a_map_and_maps_compose(point, number):
    first, second = some_warp(number), some_warp(number + 1)
    np.testing.assert_allclose(first.inverse()(first(point)), point, atol=1e-6)
    np.testing.assert_allclose(second.after(first)(point), second(first(point)), atol=1e-6)


def test_the_crop_holds_the_widened_box_as_large_as_it_fits():
    crop = crop_of(POINTS, 0.1, CROP)
    box = np.array([[60 - 13, 60 - 18], [190 + 13, 240 + 18]])  # a tenth of 130 × 180 px
    low, high = crop(box)
    np.testing.assert_allclose(low + high, [207, 255])  # about the middle
    np.testing.assert_allclose((high - low)[1], 256)
    assert (high - low)[0] < 208


def test_the_central_image_is_the_one_nearest_to_the_mean():
    off = [0.0, 30.0, 10.0, 12.0]
    assert central_image([POINTS + shift for shift in off], [300] * 4) == 3  # the mean is 13
    assert central_image([POINTS, 2 * (POINTS + 9), POINTS + 30], [300, 600, 300]) == 1


@pytest.fixture
def heads(tmp_path, monkeypatch):
    """Six heads, the first as it is, the others warped; 0 to 2 to train on, 4 and 5 to test on."""
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    rows = []
    for number in range(6):
        warp = some_warp(number) if number else Affine.scaling(1.0, [0, 0])
        image = another_exposure(resampled(head(), warp, SHAPE), number)
        grey = np.uint8(255 * np.clip(image / image.max(), 0, 1))
        Image.fromarray(grey).save(f"images/h{number}.png")
        for name, (x, y) in zip(NAMES, warp(POINTS), strict=True):
            rows.append([f"h{number}.png", name, x, y])
    write_table("points.csv", ["image", "landmark", "x_px", "y_px"], rows)
    sets = ["train", "train", "train", "validation", "test", "test"]
    rows = [[f"h{number}.png", name] for number, name in enumerate(sets)]
    write_table("split.csv", ["image", "view_set"], rows)


def heads_settings(**registration):
    split = {"kind": "table", "file": "split.csv"}
    return settings(
        height_px=128, width_px=104, registration=registration, split=split, images_per_shard=2
    )


def test_an_import_registers_and_its_list_holds_the_maps(heads):
    images = import_2d(heads_settings(template="h0.png"), "made.yaml").set_index("view")
    assert images["alignment"].tolist() == ["template"] + 5 * ["registered"]
    pd.testing.assert_frame_equal(
        read_images("made").drop(columns="doubts"), images.drop(columns="doubts")
    )
    target = crop_of(POINTS, 0.15, (128, 104))(POINTS)
    for view_set in ("train", "validation", "test"):
        shards = shards_of(view_set)
        arrays = shards.read(np.arange(len(shards)))
        for view, found in zip(shards.views, arrays["landmarks"], strict=True):
            affine = affine_of(images.loc[view])
            number = int(images.loc[view, "file"][1])
            warp = some_warp(number) if number else Affine.scaling(1.0, [0, 0])
            np.testing.assert_allclose(found, affine(warp(POINTS)), atol=1e-4)
            assert np.linalg.norm(found - target, axis=1).max() < 1.0
            back = affine.inverse()(affine(warp(POINTS)))
            np.testing.assert_allclose(back, warp(POINTS), atol=1e-6)
        # All heads are now alike: their images agree where before they did not.
        images_yx = arrays["image"].astype(float)
        assert np.corrcoef(images_yx.reshape(len(shards), -1)).min() > 0.97


def test_registering_leaves_errors_in_the_x_ray_s_mm(heads):
    """Points 3 px right and 4 px below the truth in the file, at 0.2 mm: 1 mm off, whatever the map."""
    own_px = np.array([3.0, 4.0])
    for registration in ({"template": "h0.png"}, None):
        made = heads_settings().model_copy(update={"registration": None})
        import_2d(heads_settings(**registration) if registration else made, "made.yaml")
        images, shards = read_images("made"), shards_of("test")
        rows = []
        for view, subject in zip(shards.views, shards.subjects, strict=True):
            affine = affine_of(images.loc[view])
            own = shards.small["landmarks"][shards.views.index(view)]
            placed = affine(affine.inverse()(own) + own_px)
            for name, (x, y) in zip(shards.landmarks, placed, strict=True):
                rows.append(["made", "oracle", 0, "test", view, subject, name, 0, x, y, 1.0, True])
        pd.DataFrame(rows, columns=PREDICTION_COLUMNS).to_parquet("oracle.parquet")
        imported = read_imported("made")
        views = read_views(layout.VIEWS.format(dataset="made"))
        paths, views = (
            imported.view_sets["test"].shards,
            with_seen_in_training(views, imported.view_sets),
        )
        evaluate("oracle.parquet", paths, views, imported, "errors.parquet")
        errors = read_errors(["errors.parquet"])
        np.testing.assert_allclose(errors["error_isocentre_mm"], 5 * 0.2, rtol=1e-5)
        if registration:  # 5 px of the file are not the same in all directions of the crop
            assert errors["error_px"].max() > 1.02 * errors["error_px"].min()
        own_mm = views.set_index("view").loc[shards.views]
        ratio = own_mm["source_to_isocentre_mm"] / own_mm["source_to_detector_mm"]
        np.testing.assert_allclose(ratio * shards.pixel_mm, images.loc[shards.views, "pixel_mm"])


def test_a_failed_registration_is_told_and_the_image_aligned_by_its_size(heads, monkeypatch):
    monkeypatch.setattr(alignment, "register", lambda *_: None)
    images = import_2d(heads_settings(template="h1.png"), "made.yaml")
    assert images["alignment"].tolist() == ["failed", "template", *4 * ["failed"]]
    crop = crop_of(some_warp(1)(POINTS), 0.15, (128, 104))
    for _, row in images.iterrows():
        np.testing.assert_allclose(affine_of(row).matrix_xy, crop.matrix_xy)
        np.testing.assert_allclose(affine_of(row).shift_px, crop.shift_px)


def test_the_template_is_a_training_image(heads):
    images = import_2d(heads_settings(), "made.yaml").set_index("alignment")
    assert images.loc["template", "view_set"] == "train"
    for name in ("h4.png", "h9.png"):
        with pytest.raises(InputError, match=r"registration.template.*is not a training image"):
            import_2d(heads_settings(template=name), "made.yaml")
    whole = heads_settings().model_copy(update={"split": settings(split={"kind": "whole"}).split})
    with pytest.raises(InputError, match="no training image"):
        import_2d(whole, "made.yaml")


def test_shards_of_other_maps_have_other_digests_and_equal_ones_equal_bytes(heads):
    written = []
    for template in ("h0.png", "h1.png", "h0.png"):
        import_2d(heads_settings(template=template), "made.yaml")
        (path,) = read_imported("made").view_sets["test"].shards
        written.append((Shards([path]).attributes[0]["digest"], Path(path).read_bytes()))
    assert written[0][0] != written[1][0]
    assert written[0] == written[2]
