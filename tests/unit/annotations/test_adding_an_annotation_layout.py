"""docs/adding-an-annotation-layout.md keeps its word: its file, as printed, imports annotated images."""

import json
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from raymark import annotations
from raymark.config import imports
from raymark.core.errors import InputError
from raymark.core.sections import checked
from raymark.imports.write import import_2d
from tests.unit.imports.examples import ROOT, read_rows, settings, shards_of

WHOLE = {"kind": "whole", "view_set": "test"}


@pytest.fixture
def import_model(project_folder, monkeypatch):
    """The settings of an import as a process builds them in which the page's file is there too."""
    page = (ROOT / "docs/adding-an-annotation-layout.md").read_text(encoding="utf-8")
    Path("modules").mkdir()
    Path("modules/mine.py").write_text(re.search(r"```python\n(.*?)```", page, re.S)[1])
    monkeypatch.setattr(annotations, "__path__", [*annotations.__path__, "modules"])
    yield runpy.run_path(imports.__file__)["Import2d"]
    sys.modules.pop("raymark.annotations.mine", None)


@pytest.fixture
def mine(import_model):
    """Settings of the page's layout, and its files: the points of the spreadsheet `points.csv`."""
    Path("labels_of_mine").mkdir()
    shapes = {}
    for image, label, x, y, _ in read_rows("points.csv")[1:]:
        corner = [float(x) + 0.5, float(y) + 0.5]
        shape = {"label": label, "points": [corner], "shape_type": "point"}
        shapes.setdefault(image, []).append(shape)
    for image, points in shapes.items():
        content = {"imagePath": f"../images/{image}", "shapes": points}
        Path("labels_of_mine", f"{Path(image).stem}.json").write_text(json.dumps(content))
    values = settings(split=WHOLE).model_dump(mode="json")
    values["annotations"] = {"layout": "labels_of_mine", "folder": "labels_of_mine"}
    return checked(import_model, values, "made.yaml")


def test_it_imports_what_a_spreadsheet_with_the_same_points_does(mine):
    import_2d(settings(split=WHOLE), "made.yaml")
    expected = shards_of("test")
    import_2d(mine, "made.yaml")
    found = shards_of("test")
    assert len(found) == 12
    assert found.landmarks == expected.landmarks
    assert found.subjects == [f"x{number:02d}" for number in range(12)]
    for key in ("image", "landmarks", "visible"):
        arrays = (shards.read(np.arange(12))[key] for shards in (found, expected))
        np.testing.assert_allclose(*arrays, atol=1e-4, err_msg=key)


def test_names_of_the_settings_are_checked(mine):
    with pytest.raises(
        InputError, match=r"labels_of_mine/x00\.json: the image 'x00\.png' has an unknown"
    ):
        import_2d(mine.model_copy(update={"landmarks": ["tip"]}), "made.yaml")


def marked(points):
    return json.dumps({"imagePath": "x03.png", "shapes": points})


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "is no file of LabelMe"),
        ("[]", "is no file of LabelMe"),
        (marked([{"label": "tip", "points": [[1, 2], [3, 4]]}]), "'tip' is there twice, or no"),
        (marked([{"label": "tip", "points": [[1, 2]]}] * 2), "'tip' is there twice, or no"),
        (marked([{"label": "tip", "points": [[1, None]]}]), "'tip': 'None' is not a number"),
    ],
)
def test_mistakes_are_named(mine, content, problem):
    Path("labels_of_mine/x03.json").write_text(content)
    with pytest.raises(InputError, match=r"labels_of_mine/x03\.json") as error:
        import_2d(mine, "made.yaml")
    assert problem in str(error.value)
    assert not Path("results").exists()


def test_a_folder_without_files_lists_no_image(mine):
    for path in Path("labels_of_mine").glob("*"):
        path.unlink()
    with pytest.raises(InputError, match="labels_of_mine: lists no image"):
        import_2d(mine, "made.yaml")


def test_configuration_and_schema_know_it(mine, import_model):
    assert mine.files == ["images", "labels_of_mine"]
    schema = import_model.model_json_schema()
    assert "labels_of_mine" in schema["properties"]["annotations"]["discriminator"]["mapping"]
    assert "folder" in schema["$defs"]["LabelMe"]["properties"]
    values = settings().model_dump(mode="json")
    for wrong, problem in (
        ({"layout": "labelled"}, "'labelme', 'labels_of_mine', "),
        (
            {"layout": "labels_of_mine", "folder": "labels_of_mine", "file": "x"},
            "'annotations.labels_of_mine.file' is unknown. Allowed here: folder, layout",
        ),
        ({"layout": "labels_of_mine"}, "annotations.labels_of_mine.folder: Field required"),
    ):
        with pytest.raises(InputError, match=r"made\.yaml") as error:
            checked(import_model, values | {"annotations": wrong}, "made.yaml")
        assert problem in str(error.value)
