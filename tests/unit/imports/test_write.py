"""Imported images: landmarks stay on what they mark, splits keep patients apart, mistakes are named."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from raymark import layout
from raymark.cli import main
from raymark.config.imports import Import2d, read_import
from raymark.datasets.imported import read_imported
from raymark.datasets.shards import Shards, check_shard
from raymark.detection.on_views import predict
from raymark.evaluation.errors import evaluate, evaluate_mean_position, read_errors
from raymark.geometry.affine2d import Affine, resampled
from raymark.geometry.camera import project
from raymark.imports.write import import_2d
from raymark.metrics.cephalometry import LANDMARKS as CEPHALOMETRIC
from raymark.metrics.cobb import corner_names
from raymark.training.train import train
from raymark.views.plan import SCHEMA, read_views, with_seen_in_training
from tests.unit.imports.examples import (
    NAMES,
    ROOT,
    blobs,
    read_rows,
    settings,
    shards_of,
    write_table,
)
from tests.unit.training.examples import method


def peak_near(image_yx, point, reach=4):
    """The centre of brightness about a point (x, y), in px."""
    x0, y0 = np.round(point).astype(int) - reach
    window = image_yx[y0 : y0 + 2 * reach + 1, x0 : x0 + 2 * reach + 1].astype(float)
    window = np.clip(window - 0.5 * window.max(), 0, None)
    y, x = np.mgrid[: window.shape[0], : window.shape[1]]
    return np.array([(window * x).sum(), (window * y).sum()]) / window.sum() + [x0, y0]


@pytest.mark.parametrize("target_yx", [(80, 64), (120, 30), (301, 203)])
def test_landmarks_lie_on_what_they_mark(target_yx):
    """Smaller, cropped and enlarged: a blob's centre goes where its coordinates go."""
    shape_yx, point = (150, 95), np.array([47.3, 101.6])
    scale = target_yx[0] / shape_yx[0]
    shift = (np.array(target_yx[::-1]) - 1) / 2 - scale * (np.array(shape_yx[::-1]) - 1) / 2
    image = resampled(blobs([point], shape_yx), Affine.scaling(scale, shift), target_yx)
    assert image.shape == target_yx
    reach = round(6 * scale) + 1
    np.testing.assert_allclose(
        peak_near(image, point * scale + shift, reach), point * scale + shift, atol=0.06
    )


def test_padding_is_dark_and_the_image_s_own_range_is_kept():
    image = np.full((50, 20), 90.0)
    image[:25] = 40
    found = resampled(image, Affine.scaling(2.0, [30.5, 0.5]), (100, 100))
    assert (found[:, :30] == 0).all()
    assert (found[:, 70:] == 0).all()
    assert (found[:48, 30:70] == 0).all()
    assert (found[52:, 30:70] == 1).all()


def test_an_import_is_shards_views_and_a_list_of_images(project_folder):
    table = import_2d(settings(), "made.yaml")
    views = read_views(layout.VIEWS.format(dataset="made"))
    assert views.columns.tolist() == SCHEMA.names
    assert sorted(views["view_set"].unique()) == ["test", "train", "validation"]
    assert views.groupby("patient")["split"].nunique().max() == 1
    points = {(r[0], r[1]): (float(r[2]), float(r[3])) for r in read_rows("points.csv")[1:]}
    for view_set, imported in read_imported("made").view_sets.items():
        assert imported.role == {"test": "evaluate"}.get(view_set, view_set)
        for path in imported.shards:
            check_shard(path)
        shards = Shards(imported.shards)
        assert shards.landmarks == NAMES
        assert shards.flip_pairs == [("left_blob", "right_blob")]
        assert max(len(a["view"]) for a in shards.attributes) <= 3
        arrays = shards.read(np.arange(len(shards)))
        files = [file for a in shards.attributes for file in a["file"]]
        listed = table.set_index("view").loc[shards.views]
        assert [Path(file).name for file in listed["file"]] == files
        assert listed["patient"].tolist() == shards.subjects
        for index, row in enumerate(listed.itertuples()):
            for name, found, seen in zip(
                NAMES, arrays["landmarks"][index], arrays["visible"][index], strict=True
            ):
                expected = np.array(points[files[index], name]) * row.scale
                expected += [row.shift_x_px, row.shift_y_px]
                np.testing.assert_allclose(found, expected, atol=1e-4)
                assert seen
            peak = peak_near(arrays["image"][index], arrays["landmarks"][index, 2], 2)
            np.testing.assert_allclose(peak, arrays["landmarks"][index, 2], atol=1.0)


def test_millimetres_and_the_stand_in_geometry(project_folder):
    table = import_2d(settings(), "made.yaml").set_index("view")
    views = read_views(layout.VIEWS.format(dataset="made")).set_index("view")
    shards = shards_of()
    assert shards.pixel_mm == pytest.approx(table["pixel_mm"].median())
    arrays = shards.read(np.arange(len(shards)))
    for index, view in enumerate(shards.views):
        pixel_mm = 0.2 / table.loc[view, "scale"]
        assert table.loc[view, "pixel_mm"] == pytest.approx(pixel_mm)
        row = views.loc[view]
        scaled = shards.pixel_mm * row.source_to_isocentre_mm / row.source_to_detector_mm
        assert scaled == pytest.approx(pixel_mm)
        # 10 mm to the patient's left is on the image's right, that many px from the middle.
        seen = project(
            arrays["K"][index], arrays["world_to_camera"][index], [[0, 0, 0], [-10, 0, 0]]
        )
        np.testing.assert_allclose(seen[0], [31.5, 39.5], atol=1e-6)
        left = 10 if seen[1, 0] > seen[0, 0] else -10
        np.testing.assert_allclose(seen[1] - seen[0], [left / pixel_mm, 0], atol=1e-3)
    assert np.isnan(arrays["landmarks_world"]).all()


def test_a_known_distance_gives_the_millimetres(project_folder):
    scale = {"kind": "distance", "mm": 50, "between": (["left_blob"], ["right_blob", "tip"])}
    table = import_2d(settings(scale=scale), "made.yaml").set_index("view")
    shards = shards_of()
    for view, points in zip(shards.views, shards.small["landmarks"], strict=True):
        length_px = np.linalg.norm(points[0] - points[1:].mean(axis=0))
        assert length_px * table.loc[view, "pixel_mm"] == pytest.approx(50, rel=1e-5)


def test_equal_input_gives_equal_bytes(project_folder):
    def written():
        import_2d(settings(), "made.yaml")
        return {path: path.read_bytes() for path in Path("results").rglob("*") if path.is_file()}

    first = written()
    assert len(first) >= 5
    assert written() == first


def test_what_is_cropped_off_is_not_visible(project_folder):
    import_2d(settings(width_px=16), "made.yaml")
    arrays = shards_of().small
    outside = (arrays["landmarks"][..., 0] < -0.5) | (arrays["landmarks"][..., 0] > 15.5)
    assert outside.any()
    np.testing.assert_array_equal(arrays["visible"], ~outside)


def test_training_prediction_and_evaluation_run_unchanged(project_folder):
    import_2d(settings(), "made.yaml")
    imported = read_imported("made")
    views = read_views(layout.VIEWS.format(dataset="made"))
    views = with_seen_in_training(views, imported.view_sets)
    model = train(method("unet", epochs=1), shards_of(), shards_of("validation"), "model", 0)
    predict(model, shards_of("test"), "predictions.parquet", "made", "test")
    evaluate("predictions.parquet", imported.view_sets["test"].shards, views, imported, "e.parquet")
    evaluate_mean_position(
        imported.view_sets["train"].shards,
        imported.view_sets["test"].shards,
        views,
        imported,
        "mean.parquet",
    )
    errors = read_errors(["e.parquet", "mean.parquet"])
    assert len(errors) == 2 * 3 * len(shards_of("test"))
    assert not errors["seen_in_training"].any()
    table = pd.read_csv(layout.IMPORTED_IMAGES.format(dataset="made")).set_index("view")
    own_mm = errors["error_px"] * table.loc[errors["view"], "pixel_mm"].to_numpy()
    np.testing.assert_allclose(errors["error_isocentre_mm"], own_mm, rtol=1e-9)


def test_every_fold_is_tested_once(project_folder):
    tested = []
    for fold in range(3):
        split = {"kind": "folds", "folds": 3, "fold": fold}
        table = import_2d(settings(split=split), "made.yaml")
        tested += table[table["view_set"] == "test"]["file"].tolist()
    assert len(tested) == len(set(tested)) == 12


def test_a_table_of_splits_names_sets_and_leaves_images_out(project_folder):
    sets = ["train"] * 4 + ["validation"] * 2 + ["hospital_b"] * 4 + ["", ""]
    rows = [[f"x{n:02d}.png", view_set] for n, view_set in enumerate(sets)]
    write_table("split.csv", ["image", "view_set"], rows)
    import_2d(settings(split={"kind": "table", "file": "split.csv"}), "made.yaml")
    found = read_imported("made").view_sets
    assert {name: view_set.role for name, view_set in found.items()} == {
        "hospital_b": "evaluate",
        "train": "train",
        "validation": "validation",
    }
    assert len(shards_of("hospital_b")) == 4


def test_the_public_spine_layout(project_folder):
    Path("spine").mkdir()
    rng = np.random.default_rng(1)
    files = [f"sunhl-1th-02-Jan-2017-{n // 2} {'AB'[n % 2]} AP.png" for n in range(8)]
    fractions = rng.uniform(0.1, 0.9, (8, 136)).round(5)
    for file in files:
        Image.fromarray(blobs([(5, 5)], (200, 80))).save(f"spine/{file}")
    Path("filenames.csv").write_text("".join(f"{file}\n" for file in files))
    np.savetxt("landmarks.csv", fractions, fmt="%.5f", delimiter=",")
    example = read_import(ROOT / "config/import/spine_ap.yaml")
    layout_of = {"layout": "spine-ap", "landmarks": "landmarks.csv", "filenames": "filenames.csv"}
    changed = {"name": "made", "images": "spine", "annotations": layout_of, "height_px": 100}
    changed |= {"split": {"kind": "whole"}}
    import_2d(Import2d.model_validate(example.model_dump() | changed), "made.yaml")
    shards = shards_of("test")
    assert shards.landmarks == corner_names()
    assert ("t1_superior_left", "t1_superior_right") in shards.flip_pairs
    assert len(shards.flip_pairs) == 34
    assert shards.subjects == [str(n // 2) for n in range(8)]
    # A share of 1 is the image's far border: half the height, 40 of 300 px wide in the middle.
    expected = np.stack([fractions[:, :68] * 40 + 130, fractions[:, 68:] * 100], -1) - 0.5
    np.testing.assert_allclose(shards.small["landmarks"], expected, atol=1e-3)


def test_the_challenge_s_layout_averages_its_readers(project_folder):
    points = np.random.default_rng(2).uniform(10, 90, (2, 19, 2)).round()
    for folder in ("RawImage/TrainingData", "RawImage/Test1Data", "senior", "junior"):
        Path(folder).mkdir(parents=True)
    for number in range(1, 401):
        where = "TrainingData" if number <= 150 else "Test1Data"
        image = Image.fromarray(blobs([(20, 20)], (100, 100)))
        image.save(f"RawImage/{where}/{number:03d}.bmp")
        for reader, marked in zip(("senior", "junior"), points, strict=True):
            lines = [f"{x:.0f},{y:.0f}" for x, y in marked] + ["1"] * 8
            Path(reader, f"{number:03d}.txt").write_text("\n".join(lines))
    example = read_import(ROOT / "config/import/cephalometric_2015.yaml").model_dump()
    readers = {"layout": "cephalometric-2015", "readers": ["senior", "junior"]}
    changed = {"name": "made", "images": "RawImage", "annotations": readers}
    changed |= {"height_px": 100, "width_px": 100, "registration": None}  # blobs have no anatomy
    table = import_2d(Import2d.model_validate(example | changed), "made.yaml")
    counts = table["view_set"].value_counts().to_dict()
    assert counts == {"train": 135, "validation": 15, "test1": 150, "test2": 100}
    shards = shards_of("test2")
    assert shards.landmarks == list(CEPHALOMETRIC)
    assert shards.flip_pairs == []
    assert shards.pixel_mm == pytest.approx(0.1)
    np.testing.assert_allclose(shards.small["landmarks"][0], points.mean(axis=0), atol=1e-4)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "config/import").glob("*.yaml")), ids=lambda p: p.stem
)
def test_the_examples_are_valid_and_named_like_their_files(path):
    assert read_import(path).name == path.stem


def test_the_command_line_imports_and_other_steps_find_it_by_name(project_folder, capsys):
    values = settings().model_dump(mode="json")
    Path("made.yaml").write_text(yaml.safe_dump(values))
    assert main(["import-2d", "made.yaml"]) == 0
    assert "train: 4 images of 2 patients" in capsys.readouterr().out
    Path("config").symlink_to(ROOT / "config")
    assert main(["mean-position", "made", "test"]) == 0
    errors = read_errors([layout.MEAN_POSITION.format(dataset="made", view_set="test")])
    assert len(errors) == 3 * len(shards_of("test"))
    assert main(["mean-position", "made", "tset"]) == 1
    assert "Known: test, train, validation" in capsys.readouterr().err
    assert main(["mean-position", "mad", "test"]) == 1
    assert "data set 'mad': is not known" in capsys.readouterr().err


def test_the_command_line_names_a_wrong_key(project_folder, capsys):
    Path("made.yaml").write_text(yaml.safe_dump(settings().model_dump(mode="json") | {"hight": 3}))
    assert main(["import-2d", "made.yaml"]) == 1
    assert "the key 'hight' is unknown" in capsys.readouterr().err


def test_an_image_of_an_odd_scale_is_told(project_folder, capsys):
    scale = {"kind": "distance", "mm": 50, "between": [["left_blob"], ["right_blob"]]}
    rows = read_rows("points.csv")
    rows[2][2:4] = [float(rows[1][2]) + 0.5, rows[1][3]]
    write_table("points.csv", rows[0], rows[1:])
    Path("made.yaml").write_text(yaml.safe_dump(settings(scale=scale).model_dump(mode="json")))
    assert main(["import-2d", "made.yaml"]) == 0
    assert "x00.png: 150 mm per pixel, far from the others'" in capsys.readouterr().out


@pytest.mark.skipif(
    "RAYMARK_SPINE_AP" not in os.environ,
    reason="set RAYMARK_SPINE_AP to the folder of the public AP spine data",
)
def test_the_public_spine_data_imports(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, count = Path(os.environ["RAYMARK_SPINE_AP"]), 40
    files = {name: f"{name}.csv" for name in ("landmarks", "filenames")}
    for file in files.values():
        lines = (folder / file).read_text().splitlines(keepends=True)
        Path(file).write_text("".join(lines[:count]))
    example = read_import(ROOT / "config/import/spine_ap.yaml").model_dump()
    changed = {"images": str(folder / "images"), "annotations": {"layout": "spine-ap", **files}}
    import_2d(Import2d.model_validate(example | changed), "spine_ap.yaml")
    imported = read_imported("spine_ap")
    shards = Shards([path for view_set in imported.view_sets.values() for path in view_set.shards])
    assert len(shards) == count
    assert shards.small["visible"].all()
    assert 0.8 < shards.pixel_mm < 1.2  # a spine of half a metre on 512 rows
