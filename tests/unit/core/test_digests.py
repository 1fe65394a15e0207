"""A digest changes with what code does, its own and what it imports, and with nothing else."""

import pytest

from raymark.core import digests
from raymark.core.digests import code_digest


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """Return a function that gives a module another text, for the digests alone."""
    real = digests._path

    def edit(module: str, before: str, after: str) -> None:
        text = real(module).read_text()
        assert before in text
        file = tmp_path / f"{len(list(tmp_path.iterdir()))}.py"
        file.write_text(text.replace(before, after, 1))
        monkeypatch.setattr(digests, "_path", lambda name: file if name == module else real(name))
        digests._meaning.cache_clear()  # what others mean may hang on it

    yield edit
    digests._meaning.cache_clear()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("import numpy as np", "import numpy as np  # for arrays"),
        ("import numpy as np", "\n\n\nimport numpy as np"),
        ('"""', '"""Said in other words. '),
    ],
)
def test_comments_docstrings_and_layout_change_nothing(before, after, edited):
    digest = code_digest("raymark.geometry.camera")
    edited("raymark.geometry.camera", before, after)
    assert code_digest("raymark.geometry.camera") == digest


def test_the_description_of_a_key_changes_nothing_but_its_default_does(edited):
    digest = code_digest("raymark.methods.cpm")
    edited("raymark.methods.cpm", 'description="', 'description="as told, ')
    assert code_digest("raymark.methods.cpm") == digest
    edited("raymark.methods.cpm", "Field(6,", "Field(5,")
    assert code_digest("raymark.methods.cpm") != digest


def test_a_changed_function_changes_what_uses_it_and_nothing_else(edited):
    drawn, trained = (
        code_digest(f"raymark.{name}") for name in ("detection.overlay", "training.batches")
    )
    edited("raymark.core.names", "def readable(", "@(lambda f: f)\ndef readable(")
    assert code_digest("raymark.detection.overlay") != drawn
    assert code_digest("raymark.training.batches") == trained  # it uses others of that module


def test_a_function_is_followed_through_the_package_that_offers_it(edited):
    reading = code_digest("raymark.workflow.steps.data:virtual_patient")
    edited("raymark.ct.dicom", "IRREGULAR = 0.1", "IRREGULAR = 0.2")
    assert code_digest("raymark.workflow.steps.data:virtual_patient") == reading
    edited("raymark.ct.store", "COMPRESSION_LEVEL = 1", "COMPRESSION_LEVEL = 2")
    assert code_digest("raymark.workflow.steps.data:virtual_patient") != reading


STEPS = (
    *("data:ingest", "data:landmarks", "data:virtual_patient", "data:views", "data:render"),
    *("data:import_2d", "experiments:train", "experiments:predict_views", "experiments:evaluate"),
    *("experiments:pose", "experiments:contrast", "products:table", "products:figure"),
)
DEPEND = {  # what is edited: a module, a text in it; and the steps that it decides
    ("raymark.ct.dicom", "IRREGULAR = 0.1"): {"data:ingest", "data:landmarks"},
    ("raymark.ct.tilt", "def straightened("): {"data:ingest", "data:landmarks"},
    ("raymark.ct.labels.place", "SLAB_VOXELS = 2**22"): {"data:ingest"},
    ("raymark.landmarks.slicer", "def read_markups("): {"data:landmarks"},
    ("raymark.landmarks.level_checks", "STEP_RATIO = 1.55"): {"data:landmarks"},
    ("raymark.metrics.cobb", "import numpy as np"): set(),  # only tables and figures of Cobb angles
    ("raymark.patients.deformation", "import numpy as np"): set(),
    ("raymark.rendering.metal_tools", "def "): {"data:render"},
    ("raymark.training.augmentation", "def augment"): {"experiments:train"},
    ("raymark.detection.on_views", "BATCH = 16"): {"experiments:predict_views"},
    ("raymark.pose.solve", "def closed_form("): {"experiments:pose"},
    ("raymark.imports.alignment", "def "): {"data:import_2d"},
    ("raymark.tables._formats", "def write_table("): {"products:table"},
    ("raymark.figures.base", "class FigureRecord"): {"products:figure"},
    ("raymark.workflow.steps.data", "def landmarks("): {"data:landmarks"},
    ("raymark.workflow.inputs", "def pose("): {"experiments:pose"},
    ("raymark.layout", "SHARD = "): set(),
}


@pytest.mark.parametrize(("module", "text"), DEPEND)
def test_an_edit_reruns_the_steps_that_it_decides(module, text, edited):
    def digests_of():
        return {step: code_digest(f"raymark.workflow.steps.{step}") for step in STEPS}

    before = digests_of()
    edited(module, text, changed(text))
    after = digests_of()
    assert {step for step in STEPS if after[step] != before[step]} == DEPEND[module, text]


def changed(text: str) -> str:
    """Write another number, default or decorator where `text` was."""
    if text.startswith("def "):
        return f"@(lambda f: f)\n{text}"
    if text.startswith("class "):
        return f"@(lambda c: c)\n{text}"
    return f"{text}\n_ANOTHER = 1" if text.startswith("import") else text.replace(" = ", " = 1 + ")


def test_digests_are_of_all_modules_named():
    both = code_digest("raymark.core.seeds", "raymark.core.files")
    assert len({both, code_digest("raymark.core.seeds"), code_digest("raymark.core.files")}) == 3
    assert both == code_digest("raymark.core.files", "raymark.core.seeds")


def test_a_module_that_is_not_there_is_told_by_name():
    with pytest.raises(ModuleNotFoundError, match=r"raymark\.methods\.resnet"):
        code_digest("raymark.training.train", "raymark.methods.resnet")
